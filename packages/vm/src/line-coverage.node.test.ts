import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadObject, readObject } from '@heddle/ebpf';
import { LineCoverage } from './line-coverage.ts';
import { VmBpf } from './vm-bpf.ts';

test('LineCoverage counts the source lines that a program ran', () => {
  const path = new URL('../../ebpf/testdata/packets.o', import.meta.url);
  const spec = readObject(new Uint8Array(readFileSync(path)));
  const bpf = new VmBpf();
  const coverage = new LineCoverage();
  bpf.machine.observer = coverage.observe;
  using object = loadObject(bpf, spec);
  assert.deepEqual(coverage.lines(), []);
  const [program] = object.programs.values();
  for (let i = 0; i < 3; i++) program!.testRun({ data: new Uint8Array(64) });
  const lines = coverage.lines();
  assert.ok(lines.length > 0);
  const known = new Set(
    spec.programs.get(program!.name)!.lines.map(({ file, line }) => `${file}:${line}`),
  );
  for (const { file, line, count } of lines) {
    assert.ok(known.has(`${file}:${line}`));
    assert.ok(count >= 1);
  }
  assert.equal(Math.min(...lines.map(({ count }) => count)), 3, 'the first line ran each time');
});
