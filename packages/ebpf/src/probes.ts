import { encodeCString, errno, NotSupported, SysError } from '@heddle/sys';
import type { Bpf, ProgramLoadOptions } from './bpf.ts';
import { BtfKind } from './btf-types.ts';
import {
  attachSince,
  batchSince,
  type Feature,
  helperSince,
  iteratorSince,
  kfuncSince,
  linkSince,
  mapSince,
  programSince,
} from './feature-tables.ts';
import { BpfMap } from './map.ts';
import type { MapSpec } from './spec.ts';
import { attachTypes, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, mapTypes, programTypes } from './uapi.ts';

export type { Feature } from './feature-tables.ts';

const cache = new WeakMap<Bpf, Features>();

/**
 * Returns the features of the kernel behind `bpf`. Each is tried once per process.
 */
export function features(bpf: Bpf): Features {
  let known = cache.get(bpf);
  if (!known) {
    known = new Features(bpf);
    cache.set(bpf, known);
  }
  return known;
}

/** The features of a kernel. */
export class Features {
  readonly #bpf: Bpf;
  readonly #known = new Map<Feature, boolean>();

  constructor(bpf: Bpf) {
    this.#bpf = bpf;
  }

  /**
   * Returns whether the kernel has the feature. Throws SysError when it can't try it: EPERM without the
   * capabilities.
   */
  has(feature: Feature): boolean {
    let answer = this.#known.get(feature);
    if (answer === undefined) {
      answer = probe(this.#bpf, feature);
      this.#known.set(feature, answer);
    }
    return answer;
  }

  /** Throws NotSupported, with the first version that has the feature, when the kernel lacks it. */
  require(feature: Feature): void {
    if (!this.has(feature)) throw new NotSupported(feature, featureSince(feature));
  }
}

/** Returns the first kernel version with a feature, e.g. `6.6`. */
export function featureSince(feature: Feature): string {
  const [kind, name = '', helper = ''] = feature.split('/');
  switch (kind) {
    case 'map':
      return mapSince[name as keyof typeof mapSince];
    case 'program':
      return programSince[name as keyof typeof programSince];
    case 'attach':
      return attachSince[name as keyof typeof attachSince][1];
    case 'helper':
      return helperSince[helper as keyof typeof helperSince][1];
    case 'link':
      return linkSince[name as keyof typeof linkSince];
    case 'iter':
      return iteratorSince[name as keyof typeof iteratorSince];
    case 'batch':
      return batchSince[name as keyof typeof batchSince];
    default:
      return kfuncSince[name] ?? `with ${name}`;
  }
}

function probe(bpf: Bpf, feature: Feature): boolean {
  const [kind, name = '', helper = ''] = feature.split('/');
  switch (kind) {
    case 'map':
      return probeMap(bpf, name as keyof typeof mapSince);
    case 'program':
      return probeProgram(bpf, name as keyof typeof programTypes);
    case 'attach': {
      const [type] = attachSince[name as keyof typeof attachSince];
      return probeProgram(bpf, type, attachTypes[name as keyof typeof attachTypes]);
    }
    case 'helper':
      return probeHelper(
        bpf,
        name as keyof typeof programTypes,
        helperSince[helper as keyof typeof helperSince][0],
      );
    case 'link':
      return probeLink(bpf, name as keyof typeof linkSince);
    case 'iter':
      return probeIterator(bpf, name);
    case 'batch':
      return probeBatch(bpf, name as keyof typeof batchSince);
    default:
      return kernelFunctionId(bpf, name) !== 0;
  }
}

/** Errors of a kernel that lacks the feature. */
const refusals: ReadonlySet<number> = new Set([errno.EINVAL, errno.ENOTSUPP, errno.EOPNOTSUPP]);

const keyless = { keySize: 0 };
const local = { keySize: 4, valueSize: 4, maxEntries: 0, flags: BPF_F_NO_PREALLOC };

/** The differences from a map of four-byte keys and values with one element. */
const shapes: { readonly [type in keyof typeof mapSince]?: Partial<MapSpec> } = {
  stack_trace: { valueSize: 8 },
  lpm_trie: { keySize: 8, flags: BPF_F_NO_PREALLOC },
  cgroup_storage: { keySize: 16, maxEntries: 0 },
  percpu_cgroup_storage: { keySize: 16, maxEntries: 0 },
  queue: keyless,
  stack: keyless,
  bloom_filter: keyless,
  sk_storage: local,
  inode_storage: local,
  task_storage: local,
  cgrp_storage: local,
  arena: { keySize: 0, valueSize: 0, flags: BPF_F_MMAPABLE },
};

function specFor(bpf: Bpf, type: keyof typeof mapSince): MapSpec {
  const ring = type === 'ringbuf' || type === 'user_ringbuf';
  const nested = type === 'array_of_maps' || type === 'hash_of_maps';
  return {
    name: 'heddle_probe',
    type: mapTypes[type],
    keySize: ring ? 0 : 4,
    valueSize: ring ? 0 : 4,
    maxEntries: ring ? bpf.pageSize : 1,
    flags: 0,
    keyTypeId: 1,
    valueTypeId: 1,
    extra: 0n,
    pinByName: false,
    inner: nested ? specFor(bpf, 'hash') : undefined,
    contents: undefined,
    readOnly: false,
    ...shapes[type],
  };
}

function probeMap(bpf: Bpf, type: keyof typeof mapSince): boolean {
  // Local storage can't be created without BTF.
  const btf = shapes[type] === local ? bpf.btfLoad(intBtf()) : undefined;
  try {
    using _map = BpfMap.create(bpf, specFor(bpf, type), btf);
    return true;
  } catch (error) {
    if (error instanceof SysError && refusals.has(error.errno)) return false;
    throw error;
  } finally {
    if (btf !== undefined) bpf.close(btf);
  }
}

function probeBatch(bpf: Bpf, type: keyof typeof batchSince): boolean {
  using map = BpfMap.create(bpf, specFor(bpf, type));
  using inner = type === 'hash_of_maps' ? BpfMap.create(bpf, specFor(bpf, 'hash')) : undefined;
  const value = new Uint8Array(map.valueBytes);
  if (inner) new DataView(value.buffer).setUint32(0, inner.fd, true);
  const { error } = bpf.mapUpdateBatch(map.fd, new Uint8Array(map.info.keySize), value, 1);
  if (error && !refusals.has(error.errno)) throw error;
  return error === undefined;
}

/** BTF with one type: `int`. */
function intBtf(): Uint8Array {
  const words = new Uint32Array([0x0001eb9f, 24, 0, 16, 16, 8, 1, 1 << 24, 4, 0x01000020, 0, 0]);
  const bytes = new Uint8Array(words.buffer);
  bytes.set([0x69, 0x6e, 0x74], 41);
  return bytes;
}

/** r0 = 0; exit */
const returnZero = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/** Attach types without which a program of the type can't be loaded. */
const defaultAttachType: { readonly [type in keyof typeof programTypes]?: number } = {
  cgroup_sock_addr: attachTypes.cgroup_inet4_connect,
  cgroup_sockopt: attachTypes.cgroup_getsockopt,
  sk_lookup: attachTypes.sk_lookup,
  tracing: attachTypes.trace_raw_tp,
  lsm: attachTypes.lsm_mac,
  netfilter: 45,
};

function program(
  type: keyof typeof programTypes,
  attachType = defaultAttachType[type],
  instructions: readonly number[] = returnZero,
): ProgramLoadOptions {
  return {
    name: 'heddle_probe',
    type: programTypes[type],
    instructions: new Uint8Array(instructions),
    license: 'GPL',
    expectedAttachType: attachType,
    flags: type === 'syscall' ? 1 << 4 : 0,
    // The type with id 1 is no valid target, so for these program types only the verifier's log shows the support.
    attachBtfId: type === 'tracing' || type === 'lsm' ? 1 : 0,
  };
}

/** Returns undefined when the program loads, else the error and the log of the verifier. */
function tryLoad(bpf: Bpf, options: ProgramLoadOptions): { code: string; log: string } | undefined {
  const log = new Uint8Array(4096);
  try {
    bpf.close(bpf.programLoad({ ...options, log }));
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const end = log.indexOf(0);
    const text = String.fromCharCode(...log.subarray(0, end < 0 ? log.length : end));
    // The verifier fails with EPERM for some programs, always with a log. Without one, a capability is missing.
    if (error.code === 'EPERM' && text === '') throw error;
    return { code: error.code, log: text };
  }
}

/** The kernel refuses a type that it lacks before the verifier writes a log. */
function probeProgram(bpf: Bpf, type: keyof typeof programTypes, attachType?: number): boolean {
  const failure = tryLoad(bpf, program(type, attachType));
  return failure === undefined || failure.log !== '';
}

/** Calls the helper with arguments that are not set: the verifier refuses these, or the helper. */
function probeHelper(bpf: Bpf, type: keyof typeof programTypes, helper: number): boolean {
  const call = [0x85, 0, 0, 0, helper & 0xff, helper >> 8, 0, 0, ...returnZero];
  const failure = tryLoad(bpf, program(type, undefined, call));
  if (failure === undefined) return true;
  if (failure.log === '') return false;
  return !/(unknown|invalid) func |program of this type cannot use helper/.test(failure.log);
}

/** No descriptor and no network interface has this number. */
const NOWHERE = 0x7fffffff;
/** XDP_FLAGS_DRV_MODE */
const NATIVE = 1 << 2;

/**
 * Targets where attaching must fail: a missing cgroup, a missing interface, and native XDP on the loopback
 * interface (always 1), whose driver has none.
 */
const linkAttempts = {
  cgroup: ['cgroup_skb', attachTypes.cgroup_inet_ingress, NOWHERE, 0],
  xdp: ['xdp', attachTypes.xdp, 1, NATIVE],
  tcx: ['sched_cls', attachTypes.tcx_ingress, NOWHERE, 0],
  netkit: ['sched_cls', attachTypes.netkit_primary, NOWHERE, 0],
} as const;

/** A kernel that has this kind of link fails for the missing target. Others fail with EINVAL at once. */
function probeLink(bpf: Bpf, kind: keyof typeof linkSince): boolean {
  if (kind === 'iter') return probeProgram(bpf, 'tracing', attachTypes.trace_iter);
  const [type, attachType, target, flags] = linkAttempts[kind];
  const fd = bpf.programLoad(program(type, kind === 'xdp' ? attachType : undefined));
  try {
    bpf.close(bpf.linkCreate({ program: fd, target, attachType, flags }));
    return true;
  } catch (error) {
    if (!(error instanceof SysError) || error.code === 'EPERM') throw error;
    return error.code !== 'EINVAL';
  } finally {
    bpf.close(fd);
  }
}

/**
 * Loads an iterator that does nothing. Hardened kernels refuse iterators over maps with EPERM also to
 * processes with all capabilities, and accept iterators over sockets from them.
 */
function probeIterator(bpf: Bpf, target: string): boolean {
  const attachBtfId = kernelFunctionId(bpf, `bpf_iter_${target}`);
  if (attachBtfId === 0) return false;
  try {
    bpf.close(bpf.programLoad({ ...program('tracing', attachTypes.trace_iter), attachBtfId }));
    return true;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code !== 'EPERM') return false;
    // Without the capabilities, the kernel refuses an iterator over sockets as well.
    const tcp = kernelFunctionId(bpf, 'bpf_iter_tcp');
    bpf.close(bpf.programLoad({ ...program('tracing', attachTypes.trace_iter), attachBtfId: tcp }));
    return false;
  }
}

const BPF_FUNC_btf_find_by_name_kind = 167;
const BPF_FUNC_sys_close = 168;

/**
 * Returns the id of a kernel function in the kernel's BTF; 0 when there is none. The kernel finds the name
 * itself (helper of Linux 5.14), so that no megabytes of BTF are read. Functions of modules are left out.
 */
function kernelFunctionId(bpf: Bpf, name: string): number {
  const text = encodeCString(name);
  const stack = Math.ceil(text.length / 4) * 4;
  const padded = new Uint8Array(Math.ceil(stack / 8) * 8);
  padded.set(text);
  const words = new Int32Array(padded.buffer, 0, stack / 4);
  const instructions = [
    // *(u32 *)(r10 - padded.length + 4 * i) = word
    ...Array.from(words, (word, i) => instruction(0x62, 10, 0, 4 * i - padded.length, word)),
    instruction(0xbf, 1, 10, 0, 0), // r1 = r10
    instruction(0x07, 1, 0, 0, -padded.length), // r1 += -padded.length
    instruction(0xb7, 2, 0, 0, text.length), // r2 = text.length
    instruction(0xb7, 3, 0, 0, BtfKind.func), // r3 = kind
    instruction(0xb7, 4, 0, 0, 0), // r4 = flags
    instruction(0x85, 0, 0, 0, BPF_FUNC_btf_find_by_name_kind),
    instruction(0x65, 0, 0, 2, 0), // if r0 s> 0 skip 2
    instruction(0xb7, 0, 0, 0, 0), // r0 = 0
    instruction(0x95, 0, 0, 0, 0), // exit
    // The upper half is the descriptor of the module that has the function, 0 for the kernel.
    instruction(0xbf, 1, 0, 0, 0), // r1 = r0
    instruction(0x77, 1, 0, 0, 32), // r1 >>= 32
    instruction(0x15, 1, 0, 2, 0), // if r1 == 0 skip 2
    instruction(0x85, 0, 0, 0, BPF_FUNC_sys_close),
    instruction(0xb7, 0, 0, 0, 0), // r0 = 0
    instruction(0x95, 0, 0, 0, 0), // exit
  ];
  const fd = bpf.programLoad(program('syscall', undefined, instructions.flat()));
  try {
    return bpf.programTestRun(fd, {}).returnValue;
  } finally {
    bpf.close(fd);
  }
}

/** struct bpf_insn: code u8, registers u8, offset s16, immediate s32. */
function instruction(code: number, to: number, from: number, offset: number, immediate: number) {
  const low = [code, to | (from << 4), offset, offset >> 8];
  const high = [immediate, immediate >> 8, immediate >> 16, immediate >> 24];
  return [...low, ...high].map((byte) => byte & 0xff);
}
