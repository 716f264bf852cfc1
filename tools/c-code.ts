// Checks the C sources: their format, and that each object uses all functions that its headers
// have. With --write it formats them instead.
import { spawnSync } from 'node:child_process';
import { clangVersion, exitNotRun, installed } from './clang.ts';
import { projectFiles, root } from './files.ts';
import { type Compiled, objectSets } from './objects.ts';

const [format, clang] = [`clang-format-${clangVersion}`, `clang-${clangVersion}`];
const missing = [format, clang].filter((command) => !installed(command));
if (missing.length > 0) {
  console.log(`${missing.join(' and ')} not found (on Debian: apt install ${missing.join(' ')})`);
  process.exit(exitNotRun);
}

/** Runs a command whose output lists the errors. */
function passes(command: string, ...args: readonly string[]): boolean {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) console.log(`${stdout}${stderr}`.trimEnd());
  return status === 0;
}

/** Returns true when a program uses all functions of its sources. */
function usesAll({ source, compile }: Compiled): boolean {
  // clang does not report the inline functions of headers, so they are not inline here.
  const everyFunction = ['-Wunused-function', '-Dinline=', '-fsyntax-only'];
  return passes(clang, ...compile, ...everyFunction, source);
}

const sources = projectFiles('.c', '.h');
const results = process.argv.includes('--write')
  ? [passes(format, '-i', ...sources)]
  : [
      passes(format, '--dry-run', '-Werror', ...sources),
      ...objectSets.flatMap((set) => set.compiled().map(usesAll)),
    ];
process.exitCode = results.every(Boolean) ? 0 : 1;
