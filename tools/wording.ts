// Finds phrases that this project does not use, because readers stumble over them. CONTRIBUTING.md
// has the glossary. `node tools/wording.ts [PATH...]` lists each occurrence below the paths.
import { readFileSync } from 'node:fs';
import { projectFiles, root } from './files.ts';

interface Phrase {
  readonly pattern: RegExp;
  readonly instead: string;
  /** The number of occurrences that remain to be rewritten. It only goes down. */
  readonly remaining?: number;
}

export const phrases: readonly Phrase[] = [
  { pattern: /\bin(to)? force\b/gi, instead: 'programmed' },
  {
    pattern: /\bfrom outside\b(?! (the|a|an|this|its)\b)/gi,
    instead: 'external, or from outside the cluster',
    remaining: 1,
  },
  { pattern: /\bstands? for (a )?clients?\b/gi, instead: 'SNAT port' },
  { pattern: /\bkernel half\b/gi, instead: 'BPF programs' },
  { pattern: /\bleads? out\b/gi, instead: 'network interface', remaining: 2 },
  { pattern: /\b(none|one) of (ours|mine)\b/gi, instead: 'not for Heddle' },
  { pattern: /\b(is|are|was|were) told\b/gi, instead: 'receives' },
  { pattern: /\bhears?\b/gi, instead: 'observes', remaining: 10 },
  { pattern: /\btells?\b/gi, instead: 'reports, shows' },
  { pattern: /\bgoes by (the|its|his)\b/gi, instead: 'follows, uses' },
  { pattern: /\bwhoever\b/gi, instead: 'name the subject' },
  { pattern: /(\/\*|\/\/|^\s*\*) .*\b(some|any|no)body\b/gim, instead: 'name the subject' },
  { pattern: /[;.] (undefined|absent|empty): /gi, instead: 'or undefined if, the default is' },
  { pattern: /\bspared?\b/gi, instead: 'inherited, kept' },
  { pattern: /\bin vain\b/gi, instead: 'without result' },
  { pattern: /\bgives? way\b/gi, instead: 'evicts' },
  { pattern: /\bturns? round\b/gi, instead: 'reflects, reverses' },
  { pattern: /\bspoil(s|t|ed)?\b/gi, instead: 'corrupts', remaining: 10 },
  { pattern: /\bpatience\b/gi, instead: 'timeout, limit' },
  {
    pattern: /\/\*\*\s+(\*\s+)?(Of|As|What|Whether|Who|Whom|Whose|Where|When|Why|How|Which)\s/g,
    instead: 'a sentence or a noun phrase that names the thing',
  },
];

export interface Occurrence {
  readonly line: number;
  readonly phrase: Phrase;
  readonly text: string;
}

/** Returns the occurrences of `among` in a text. */
export function occurrences(text: string, among: readonly Phrase[] = phrases): Occurrence[] {
  const found: Occurrence[] = [];
  for (const phrase of among) {
    for (const { index } of text.matchAll(phrase.pattern)) {
      const line = text.slice(0, index).split('\n').length;
      found.push({ line, phrase, text: text.split('\n')[line - 1]!.trim() });
    }
  }
  return found;
}

/** Returns a sentence for each phrase that occurs more often than allowed. */
export function excess(counts: ReadonlyMap<Phrase, number>): string[] {
  return [...counts]
    .filter(([{ remaining = 0 }, count]) => count > remaining)
    .map(([{ pattern, instead, remaining = 0 }, count]) => {
      const allowed = remaining === 0 ? '' : `, ${remaining} of them old ones`;
      return `${pattern.source}: ${count} occurrences${allowed}; write: ${instead}`;
    });
}

function main(paths: readonly string[]): void {
  const files = projectFiles('.ts', '.mjs', '.c', '.h', '.md', '.svelte', '.yaml').filter(
    (file) =>
      !/\/(generated|testdata)\/|^tools\/wording|^CONTRIBUTING/.test(file) &&
      (paths.length === 0 || paths.some((path) => file.startsWith(path))),
  );
  const counts = new Map<Phrase, number>(phrases.map((phrase) => [phrase, 0]));
  const lines = new Map<Phrase, string[]>(phrases.map((phrase) => [phrase, []]));
  for (const file of files) {
    for (const { line, phrase, text } of occurrences(readFileSync(root + file, 'utf8'))) {
      counts.set(phrase, counts.get(phrase)! + 1);
      lines.get(phrase)!.push(`${file}:${line}: ${text} (write: ${phrase.instead})`);
    }
  }
  if (paths.length > 0) {
    for (const line of [...lines.values()].flat()) console.log(line);
    return;
  }
  const wrong = excess(counts);
  for (const line of wrong) console.error(line);
  if (wrong.length === 0) return;
  for (const [phrase, count] of counts) {
    if (count > (phrase.remaining ?? 0)) console.error(lines.get(phrase)!.slice(-5).join('\n'));
  }
  console.error('`node tools/wording.ts PATH` lists all of them below a path.');
  process.exitCode = 1;
}

if (import.meta.main) main(process.argv.slice(2));
