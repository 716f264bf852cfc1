import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

const script = `
  import { readFileSync } from 'node:fs';
  import { keepProcessSmall, releaseMemory, releaseMemoryWhenIdle } from '@heddle/sys/node/memory';
  const resident = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  keepProcessSmall();
  using watch = releaseMemoryWhenIdle();
  let garbage = Array.from({ length: 300_000 }, (_, i) => ({ i, text: 'x' + i }));
  const full = resident();
  garbage = undefined;
  releaseMemory();
  console.log(full, resident());
`;

test('unused memory is returned to the kernel, and no timer keeps the process alive', () => {
  const args = ['--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, args, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
    timeout: 20_000,
  });
  const [full, after] = output.split(' ').map(Number);
  assert.ok(full! - after! > 10_000, output);
});
