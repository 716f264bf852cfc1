// All tests, or those whose path contains one of the arguments.
import { spawnSync } from 'node:child_process';
import { preflight } from '@heddle/cli/preflight';
import { projectFiles, root } from './files.ts';

const missing = preflight();
if (missing) {
  console.error(`heddle test: ${missing.message}`);
  process.exit(missing.exitCode);
}
const wanted = process.argv.slice(2);
const files = projectFiles('.test.ts').filter(
  (file) => wanted.length === 0 || wanted.some((part) => file.includes(part)),
);
if (files.length === 0) {
  console.error(`heddle test: no test file has ${wanted.join(' or ')} in its path`);
  process.exit(2);
}
// The kernel tests share one machine's cgroups and CPUs with each other: two files at a time.
const result = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=600000', ...files],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = result.status ?? 1;
