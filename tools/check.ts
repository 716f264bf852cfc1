// The gate: format, lint, types, layers, generated files, words, commits. All checks run; the
// output of a failed one is printed completely.
import { spawn } from 'node:child_process';
import { exitNotRun } from './clang.ts';
import { root } from './files.ts';

const steps: readonly [string, readonly string[]][] = [
  ['format and lint', ['biome', 'ci', '--colors=off', '--error-on-warnings', '.']],
  ['types', ['tsc', '-p', 'tsconfig.json']],
  ['types of the portable core', ['tsc', '-p', 'tsconfig.core.json']],
  ['types of the web page', ['node', 'tools/web-types.ts']],
  ['layers', ['node', 'tools/layers.ts']],
  ['generated files', ['node', 'tools/fresh.ts']],
  ['words', ['node', 'tools/wording.ts']],
  ['commits', ['node', 'tools/commits.ts']],
  ['C', ['node', 'tools/c-code.ts']],
];

function run([name, [command, ...args]]: (typeof steps)[number]): Promise<boolean> {
  return new Promise((resolve) => {
    const started = performance.now();
    let output = '';
    const child = spawn(`${root}node_modules/.bin/${command}`, args, { cwd: root });
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    child.on('error', (error) => {
      output += error.message;
    });
    child.on('close', (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const isOk = code === 0 || code === exitNotRun;
      const outcome = code === exitNotRun ? 'not run' : isOk ? 'ok    ' : 'FAILED';
      console.log(`${outcome} ${name} (${seconds} s)`);
      if (code !== 0) console.log(output);
      resolve(isOk);
    });
  });
}

const results = await Promise.all(steps.map(run));
process.exitCode = results.every(Boolean) ? 0 : 1;
