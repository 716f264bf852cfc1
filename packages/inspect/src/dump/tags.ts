import { createHash } from 'node:crypto';
import { type ObjectSpec, type ProgramSpec, RelocationError } from '@heddle/ebpf';
import { completeInstructions, kernelSurroundings, type Surroundings } from '@heddle/ebpf/internal';
import { NotSupported, type Platform } from '@heddle/sys';

/** The tags that the programs of an object may have, by the name of the program. */
export type ProgramTags = Readonly<Record<string, readonly string[]>>;

/** Surroundings for programs that need nothing of a kernel. */
const noKernel: Surroundings = {
  mapFd: () => 0,
  kernelBtf: () => {
    throw new NotSupported('kernel types', 'when the kernel is at hand');
  },
  symbolAddress: () => undefined,
};

/** Returns the tags that the running kernel gives the programs of an object, without programs that it can't load. */
export function objectTags(platform: Platform, spec: ObjectSpec): ProgramTags {
  const kernel = kernelSurroundings({ platform }, () => 0);
  const tags: Record<string, readonly string[]> = {};
  for (const [name, program] of spec.programs) {
    const found = programTags(spec, program, kernel);
    if (found) tags[name] = found;
  }
  return tags;
}

/**
 * Returns the tags that a kernel gives a program of an object: the first 8 bytes of a hash over the instructions
 * in which maps are left out (kernel/bpf/core.c, bpf_prog_calc_tag), SHA-256 from Linux 6.18 on, SHA-1
 * before. Undefined where the kernel lacks what the program needs, and, without a kernel, for a program
 * whose instructions depend on the kernel's types.
 */
export function programTags(
  spec: Pick<ObjectSpec, 'btf'>,
  program: ProgramSpec,
  kernel = noKernel,
): readonly string[] | undefined {
  let code: Uint8Array;
  try {
    code = completeInstructions(spec, program, kernel);
  } catch (error) {
    if (error instanceof NotSupported || error instanceof RelocationError) return undefined;
    throw error;
  }
  for (const { kind, at } of program.references) {
    // The low and the high word of the 16-byte load.
    if (kind === 'map' || kind === 'data') {
      code.fill(0, at * 8 + 4, at * 8 + 8).fill(0, at * 8 + 12, at * 8 + 16);
    }
  }
  return ['sha256', 'sha1'].map((name) => createHash(name).update(code).digest('hex').slice(0, 16));
}
