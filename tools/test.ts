// Runs all tests, or those whose path contains one of the arguments. Without the privileges or the
// kernel that Heddle needs, it runs the tests that need neither.
import { spawnSync } from 'node:child_process';
import { preflight } from '@heddle/control/preflight';
import { projectFiles, root } from './files.ts';

const wanted = process.argv.slice(2);
const all = projectFiles('.test.ts').filter(
  (file) => wanted.length === 0 || wanted.some((part) => file.includes(part)),
);
if (all.length === 0) {
  console.error(`heddle test: no test file has ${wanted.join(' or ')} in its path`);
  process.exit(2);
}
const missing = preflight();
const files = missing ? all.filter((file) => !file.endsWith('.kernel.test.ts')) : all;
if (missing) {
  // In CI no test may be left out.
  if (process.env.CI === 'true' || files.length === 0) {
    console.error(`heddle test: ${missing.message}`);
    process.exit(missing.exitCode);
  }
  const left = all.length - files.length;
  console.error(
    `heddle test: ${left} of ${all.length} files are left out, as they need the kernel: ${missing.message}`,
  );
}
// The kernel tests share one machine's cgroups and CPUs with each other: two files at a time.
const result = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=600000', ...files],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = result.status ?? 1;
