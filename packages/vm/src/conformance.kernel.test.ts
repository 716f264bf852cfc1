import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { conformanceCases } from '../testing/conformance-cases.ts';
import { evaluate } from '../testing/run.ts';

test('the kernel passes the conformance tests of the machine', () => {
  const bpf = new LinuxBpf(nodePlatform(() => {}));
  for (const { what, instructions, result } of conformanceCases()) {
    assert.equal(`${what}: ${evaluate(bpf, instructions)}`, `${what}: ${result}`);
  }
});
