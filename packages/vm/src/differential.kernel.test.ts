import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { compareOne } from '../testing/differential.ts';
import { VmBpf } from './vm-bpf.ts';

// HEDDLE_DIFFERENTIAL_RUNS=1000000 is the long run; HEDDLE_DIFFERENTIAL_SEED starts elsewhere.
const runs = Number(process.env.HEDDLE_DIFFERENTIAL_RUNS ?? 6000);
const firstSeed = Number(process.env.HEDDLE_DIFFERENTIAL_SEED ?? 1);
const packets = 20;

test(`${runs} runs of random programs have equal results in the kernel and in the machine`, () => {
  const kernel = new LinuxBpf(nodePlatform(() => {}));
  // Half of the runs are interpreted, half translated.
  const machine = new VmBpf({ translateAfter: packets / 2 });
  for (let seed = firstSeed; seed < firstSeed + runs / packets; seed++) {
    assert.equal(compareOne(kernel, machine, seed, packets), undefined);
  }
});
