import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { allFeatures } from '@heddle/agent/features';
import { isManifestName, type SourceProblem } from '@heddle/agent/source';
import { validateManifests } from '@heddle/agent/validate';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type OutputFormat, printJson, printLine, styled } from '../print.ts';

/** `heddle validate`: checks a folder as the agent reads it. Exits with 1 if something is wrong. */
export function validate(dir: string, { output }: { readonly output: OutputFormat }): void {
  const names = manifestsIn(dir, 'validate');
  const files = names.map((name) => ({ name, bytes: readFileSync(join(dir, name)) }));
  const { objects, rows, problems, notes } = validateManifests(allFeatures, files);
  const valid = problems.length === 0;
  if (!valid) process.exitCode = exitCodes.failed;
  if (output === 'json') {
    printJson({ valid, files: names, objects, rows, problems, notes });
    return;
  }
  for (const note of notes) printLine(styled('dim', `note     ${text(note)}`));
  for (const problem of problems) printLine(`${styled('red', 'problem')}  ${text(problem)}`);
  const kinds = new Map(
    allFeatures.flatMap((feature) => feature.kinds.map(({ name, kind }) => [name, kind])),
  );
  const found = Object.entries(objects)
    .filter(([, number]) => number > 0)
    .map(([name, number]) => counted(number, kinds.get(name)!))
    .join(', ');
  const verdict = valid ? styled('green', 'valid') : styled('red', 'not valid');
  const what = valid ? '' : ` (${counted(problems.length, 'problem')})`;
  printLine(
    `${verdict}${what}: ${found || 'no objects'} in ${counted(names.length, 'file')} of ${dir}`,
  );
}

/**
 * Returns the sorted names of the manifests in a folder. Throws a Failure whose message starts with
 * `verb`.
 */
export function manifestsIn(dir: string, verb: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const cause =
      code === 'ENOENT'
        ? 'there is no such folder'
        : code === 'ENOTDIR'
          ? 'it is no folder (name the folder that holds the manifests)'
          : (error as Error).message;
    throw new Failure(exitCodes.failed, `${verb} ${dir}: ${cause}`);
  }
  const names = entries
    .filter((name) => isManifestName(name) && statSync(join(dir, name)).isFile())
    .sort();
  if (names.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `${verb} ${dir}: the folder holds no manifest (files that end in .yaml, .yml or .json)`,
    );
  }
  return names;
}

function text({ file, line, message }: SourceProblem): string {
  return line > 0 ? `${file}:${line}: ${message}` : `${file}: ${message}`;
}

function counted(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
