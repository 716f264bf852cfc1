import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinuxBpf, loadObject, type ObjectSpec, readObject } from '@heddle/ebpf';
import { corePoison } from '@heddle/ebpf/internal';
import { nodePlatform } from '@heddle/sys/node';
import { objects, sizes } from '../../testing/world.ts';
import { configuredSocket } from '../configured-objects.ts';
import type { DatapathOptions } from '../datapath-options.ts';
import type { KernelFields } from '../generated/abi.ts';
import { kernelFields } from './kernel-fields.ts';

const platform = nodePlatform(() => {});
const bpf = new LinuxBpf(platform);
const PROBE_READ_KERNEL = 113;

/** Returns the object with a helper that no kernel has in place of the one that reads the kernel's memory. */
function withoutReads(spec: ObjectSpec): { readonly spec: ObjectSpec; readonly replaced: number } {
  let replaced = 0;
  const programs = new Map(
    Array.from(spec.programs, ([name, program]) => {
      const instructions = program.instructions.slice();
      const view = new DataView(instructions.buffer);
      for (let at = 0; at < instructions.length; at += 8) {
        const isHelper = instructions[at] === 0x85 && instructions[at + 1] === 0;
        if (!isHelper || view.getInt32(at + 4, true) !== PROBE_READ_KERNEL) continue;
        view.setInt32(at + 4, corePoison, true);
        replaced++;
      }
      return [name, { ...program, instructions }] as const;
    }),
  );
  return { spec: { ...spec, programs }, replaced };
}

const load = (kernel: KernelFields) => {
  const options = { sizes, netnsCookie: 1n } as DatapathOptions;
  const configured = configuredSocket(readObject(objects('socket')), options, kernel);
  const { spec, replaced } = withoutReads(configured);
  assert.ok(replaced > 0, 'the programs read the kernel’s memory');
  loadObject(bpf, spec)[Symbol.dispose]();
};

test('socket programs load where programs may not read kernel memory', () => {
  const fields = kernelFields(platform, bpf);
  assert.equal(fields.known, 1, 'this kernel lets programs read its memory');
  assert.throws(() => load(fields), /invalid func|unknown func/);
  load({ ...fields, known: 0 });
});
