import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conformanceCases } from '../testing/conformance-cases.ts';
import { evaluate } from '../testing/run.ts';
import { VmBpf } from './vm-bpf.ts';

for (const [how, translateAfter] of [
  ['interpreted', Number.POSITIVE_INFINITY],
  ['translated', 0],
] as const) {
  test(`each instruction has the result of RFC 9669, ${how}`, () => {
    const bpf = new VmBpf({ translateAfter });
    let count = 0;
    for (const { what, instructions, result } of conformanceCases()) {
      assert.equal(`${what}: ${evaluate(bpf, instructions)}`, `${what}: ${result}`);
      count++;
    }
    assert.ok(count > 500);
  });
}
