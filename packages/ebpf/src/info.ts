import { decodeCString } from '@heddle/sys';
import type { Bpf, ObjectKind } from './bpf.ts';
import { linkTypes } from './uapi.ts';

/** struct bpf_map_info. Sizes in bytes. */
export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** The name in the kernel, at most 15 bytes. */
  readonly name: string;
  /** Id of the BTF with its types; 0 when it has none. */
  readonly btfId: number;
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  readonly extra: bigint;
}

/** struct bpf_prog_info, without the instructions. */
export interface ProgramInfo {
  readonly type: number;
  readonly id: number;
  /** Hash of the instructions, 8 bytes as hexadecimal text. */
  readonly tag: string;
  readonly name: string;
  /** Nanoseconds since boot. */
  readonly loadTimeNs: bigint;
  readonly uid: number;
  readonly mapIds: readonly number[];
  readonly btfId: number;
  /** Nanoseconds and runs. The kernel counts them while kernel.bpf_stats_enabled is 1. */
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  readonly verifiedInstructions: number;
}

interface LinkCommon {
  readonly id: number;
  readonly programId: number;
}

/** struct bpf_link_info. */
export type LinkInfo =
  | (LinkCommon & {
      readonly kind: 'cgroup';
      readonly cgroupId: bigint;
      readonly attachType: number;
    })
  | (LinkCommon & {
      readonly kind: 'tcx' | 'netkit';
      /** 0 when the network interface has been deleted. */
      readonly ifindex: number;
      readonly attachType: number;
    })
  | (LinkCommon & { readonly kind: 'xdp'; readonly ifindex: number })
  | (LinkCommon & { readonly kind: 'iter'; readonly target: string; readonly mapId: number })
  | (LinkCommon & { readonly kind: 'raw_tracepoint'; readonly tracepoint: string })
  | (LinkCommon & {
      readonly kind: 'tracing';
      readonly attachType: number;
      readonly targetBtfId: number;
    })
  | (LinkCommon & { readonly kind: 'other'; readonly type: number });

/** struct bpf_btf_info. */
export interface BtfInfo {
  readonly id: number;
  /** `vmlinux`, a module's name, or empty for a program's BTF. */
  readonly name: string;
  /** True if it describes the kernel or one of its modules. */
  readonly kernel: boolean;
  readonly bytes: Uint8Array;
}

// The kernel copies as much as both sides know: the buffer may be longer than the structure of an older
// kernel, and shorter than that of a newer one.
const INFO_SIZE = 256;

/** Reads the properties of a map. Throws SysError. */
export function readMapInfo(bpf: Bpf, fd: number): MapInfo {
  const { bytes, view } = readInfo(bpf, fd, 88);
  return {
    type: view.getUint32(0, true),
    id: view.getUint32(4, true),
    keySize: view.getUint32(8, true),
    valueSize: view.getUint32(12, true),
    maxEntries: view.getUint32(16, true),
    flags: view.getUint32(20, true),
    name: decodeCString(bytes.subarray(24, 40)),
    btfId: view.getUint32(64, true),
    keyTypeId: view.getUint32(68, true),
    valueTypeId: view.getUint32(72, true),
    extra: view.getBigUint64(80, true),
  };
}

/** Reads the properties of a program. Throws SysError. */
export function readProgramInfo(bpf: Bpf, fd: number): ProgramInfo {
  // The first call returns the number of maps, the second one their ids.
  const count = readInfo(bpf, fd, INFO_SIZE).view.getUint32(52, true);
  const ids = new Uint32Array(count);
  const idBytes = new Uint8Array(ids.buffer);
  const { bytes, view } = readInfo(bpf, fd, INFO_SIZE, (input) => {
    input.setUint32(52, count, true);
    input.setBigUint64(56, bpf.addressOf(idBytes), true);
  });
  return {
    type: view.getUint32(0, true),
    id: view.getUint32(4, true),
    tag: hex(bytes.subarray(8, 16)),
    loadTimeNs: view.getBigUint64(40, true),
    uid: view.getUint32(48, true),
    mapIds: [...ids],
    name: decodeCString(bytes.subarray(64, 80)),
    btfId: view.getUint32(128, true),
    runTimeNs: view.getBigUint64(192, true),
    runCount: view.getBigUint64(200, true),
    verifiedInstructions: view.getUint32(216, true),
  };
}

/** Reads the properties of a link. Throws SysError. */
export function readLinkInfo(bpf: Bpf, fd: number): LinkInfo {
  const first = readInfo(bpf, fd, INFO_SIZE).view;
  const type = first.getUint32(0, true);
  const common = { id: first.getUint32(4, true), programId: first.getUint32(8, true) };
  switch (type) {
    case linkTypes.cgroup:
      return {
        ...common,
        kind: 'cgroup',
        cgroupId: first.getBigUint64(16, true),
        attachType: first.getUint32(24, true),
      };
    case linkTypes.tcx:
    case linkTypes.netkit:
      return {
        ...common,
        kind: type === linkTypes.tcx ? 'tcx' : 'netkit',
        ifindex: first.getUint32(16, true),
        attachType: first.getUint32(20, true),
      };
    case linkTypes.xdp:
      return { ...common, kind: 'xdp', ifindex: first.getUint32(16, true) };
    case linkTypes.iter: {
      const target = readNamed(bpf, fd);
      return { ...common, kind: 'iter', target, mapId: first.getUint32(28, true) };
    }
    case linkTypes.raw_tracepoint:
      return { ...common, kind: 'raw_tracepoint', tracepoint: readNamed(bpf, fd) };
    case linkTypes.tracing:
      return {
        ...common,
        kind: 'tracing',
        attachType: first.getUint32(16, true),
        targetBtfId: first.getUint32(24, true),
      };
    default:
      return { ...common, kind: 'other', type };
  }
}

/** Reads the properties of a BTF object, and the BTF itself. Throws SysError. */
export function readBtfInfo(bpf: Bpf, fd: number): BtfInfo {
  const first = readInfo(bpf, fd, 40).view;
  const bytes = new Uint8Array(first.getUint32(8, true));
  const name = new Uint8Array(64);
  const { view } = readInfo(bpf, fd, 40, (input) => {
    input.setBigUint64(0, bpf.addressOf(bytes), true);
    input.setUint32(8, bytes.length, true);
    input.setBigUint64(16, bpf.addressOf(name), true);
    input.setUint32(24, name.length, true);
  });
  return {
    id: view.getUint32(12, true),
    name: decodeCString(name),
    kernel: view.getUint32(28, true) !== 0,
    bytes,
  };
}

/** Returns the ids of all objects of a kind, ascending. Throws SysError. */
export function* objectIds(bpf: Bpf, kind: ObjectKind): Generator<number> {
  for (let id = bpf.nextId(kind, 0); id !== undefined; id = bpf.nextId(kind, id)) yield id;
}

function readInfo(bpf: Bpf, fd: number, size: number, prepare?: (input: DataView) => void) {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  prepare?.(view);
  bpf.objectInfo(fd, bytes);
  return { bytes, view };
}

/** Reads the name that links of some kinds write through the pointer at offset 16. */
function readNamed(bpf: Bpf, fd: number): string {
  const name = new Uint8Array(128);
  readInfo(bpf, fd, INFO_SIZE, (input) => {
    input.setBigUint64(16, bpf.addressOf(name), true);
    input.setUint32(24, name.length, true);
  });
  return decodeCString(name);
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
