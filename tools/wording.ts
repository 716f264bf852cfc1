// Finds phrases that this project does not use, because readers stumble over them. CONTRIBUTING.md
// has the glossary. `node tools/wording.ts [PATH...]` checks all files, or those below the paths.
import { readFileSync } from 'node:fs';
import { projectFiles, root } from './files.ts';

interface Phrase {
  readonly pattern: RegExp;
  readonly instead: string;
}

export const phrases: readonly Phrase[] = [
  { pattern: /\bin(to)? force\b/gi, instead: 'programmed' },
  {
    pattern: /\bfrom outside\b(?!-\d| (the|a|an|this|its)\b)/gi,
    instead: 'external, or from outside the cluster',
  },
  { pattern: /\bstands? for (a )?clients?\b/gi, instead: 'SNAT port' },
  { pattern: /\bkernel half\b/gi, instead: 'BPF programs' },
  { pattern: /\bleads? out\b/gi, instead: 'network interface' },
  { pattern: /\b(none|one) of (ours|mine)\b/gi, instead: 'not for Heddle' },
  { pattern: /\b(is|are|was|were|be|been|isn't) told\b/gi, instead: 'receives' },
  { pattern: /\bhear(s|d)?\b/gi, instead: 'observes' },
  { pattern: /\btells?\b/gi, instead: 'reports, shows' },
  { pattern: /\bgoes by (the|its|his)\b/gi, instead: 'follows, uses' },
  { pattern: /\bwhoever\b/gi, instead: 'name the subject' },
  { pattern: /(\/\*|\/\/|^\s*\*) .*\b(some|any|no)body\b/gim, instead: 'name the subject' },
  { pattern: /[;.] (undefined|absent|empty): /gi, instead: 'or undefined if, the default is' },
  { pattern: /\bspared?\b/gi, instead: 'inherited, kept' },
  { pattern: /\bin vain\b/gi, instead: 'without result' },
  { pattern: /\bgives? way\b/gi, instead: 'evicts' },
  { pattern: /\bturns? round\b/gi, instead: 'reflects, reverses' },
  { pattern: /\bspoil(s|t|ed)?\b/gi, instead: 'corrupts' },
  { pattern: /\bpatience\b/gi, instead: 'timeout, limit' },
  {
    pattern: /\/\*\*\s+(\*\s+)?(Of|As|What|Whether|Who|Whom|Whose|Where|When|Why|How|Which)\s/g,
    instead: 'a sentence or a noun phrase that names the thing',
  },
];

export interface Occurrence {
  readonly line: number;
  readonly phrase: Phrase;
  /** The text that matches the pattern. */
  readonly words: string;
  /** The line, without the spaces around it. */
  readonly text: string;
}

/** Returns the occurrences of all phrases in a text. */
export function occurrences(text: string): Occurrence[] {
  const lines = text.split('\n');
  return phrases.flatMap((phrase) =>
    [...text.matchAll(phrase.pattern)].map(({ 0: words, index }) => {
      const line = text.slice(0, index).split('\n').length;
      return { line, phrase, words, text: lines[line - 1]!.trim() };
    }),
  );
}

function main(paths: readonly string[]): void {
  const files = projectFiles(
    '.ts',
    '.mjs',
    '.c',
    '.h',
    '.md',
    '.svelte',
    '.yaml',
    '.json',
    '.txt',
  ).filter(
    (file) =>
      !/\/(generated|testdata)\/|^tools\/wording|^CONTRIBUTING/.test(file) &&
      (paths.length === 0 || paths.some((path) => file.startsWith(path))),
  );
  for (const file of files) {
    for (const { line, phrase, words, text } of occurrences(readFileSync(root + file, 'utf8'))) {
      const phraseFound = words.trim().replace(/\s+/g, ' ');
      console.error(`${file}:${line}: "${phraseFound}"; write: ${phrase.instead}\n    ${text}`);
      process.exitCode = 1;
    }
  }
}

if (import.meta.main) main(process.argv.slice(2));
