import { encodeUtf8 } from '@heddle/sys';
import { LinkObject } from './links.ts';
import { BtfObject, MapObject, ProgramObject, type VmObject } from './objects.ts';

/** The memory that pointers in the info structures refer to. */
export type MemoryAt = (address: bigint) => Uint8Array | undefined;

/**
 * BPF_OBJ_GET_INFO_BY_FD: struct bpf_map_info, bpf_prog_info, bpf_link_info, bpf_btf_info
 * (linux/bpf.h). As in the kernel, fields beyond the end of `info` are left out. Returns the number of bytes
 * written.
 */
export function writeInfo(object: VmObject, info: Uint8Array, memoryAt: MemoryAt): number {
  // The structure at full length.
  const full = new Uint8Array(256);
  full.set(info.subarray(0, 256));
  const view = new DataView(full.buffer);
  let size: number;
  if (object instanceof MapObject) size = writeMap(object, full, view);
  else if (object instanceof ProgramObject) size = writeProgram(object, full, view, memoryAt);
  else if (object instanceof LinkObject) size = writeLink(object, view);
  else if (object instanceof BtfObject) size = writeBtf(object, view, memoryAt);
  else return 0;
  const length = Math.min(size, info.length);
  info.set(full.subarray(0, length));
  return length;
}

function writeMap({ map, id, btf }: MapObject, bytes: Uint8Array, view: DataView): number {
  const { options } = map;
  bytes.fill(0, 0, 88);
  view.setUint32(0, options.type, true);
  view.setUint32(4, id, true);
  view.setUint32(8, options.keySize, true);
  view.setUint32(12, options.valueSize, true);
  view.setUint32(16, options.maxEntries, true);
  view.setUint32(20, options.flags, true);
  writeName(bytes, 24, options.name);
  view.setUint32(64, btf?.id ?? 0, true);
  view.setUint32(68, options.keyTypeId ?? 0, true);
  view.setUint32(72, options.valueTypeId ?? 0, true);
  view.setBigUint64(80, options.extra ?? 0n, true);
  return 88;
}

function writeProgram(
  { program, id, maps, btf, loadTime, tag }: ProgramObject,
  bytes: Uint8Array,
  view: DataView,
  memoryAt: MemoryAt,
): number {
  const room = view.getUint32(52, true);
  const ids = memoryAt(view.getBigUint64(56, true));
  if (ids) {
    const idView = new DataView(ids.buffer, ids.byteOffset, ids.byteLength);
    for (const [i, map] of maps.slice(0, room).entries()) idView.setUint32(4 * i, map.id, true);
  }
  bytes.fill(0, 0, 232);
  view.setUint32(0, program.type, true);
  view.setUint32(4, id, true);
  bytes.set(tag, 8);
  view.setBigUint64(40, loadTime, true);
  view.setUint32(52, maps.length, true);
  writeName(bytes, 64, program.name);
  view.setUint32(128, btf?.id ?? 0, true);
  view.setUint32(216, program.code.length / 4, true);
  return 232;
}

function writeLink(link: LinkObject, view: DataView): number {
  view.setUint32(0, link.point.linkType, true);
  view.setUint32(4, link.id, true);
  view.setUint32(8, link.program.id, true);
  link.point.describe(view, link);
  return 64;
}

function writeBtf({ bytes, id }: BtfObject, view: DataView, memoryAt: MemoryAt): number {
  memoryAt(view.getBigUint64(0, true))?.set(bytes.subarray(0, view.getUint32(8, true)));
  view.setUint32(8, bytes.length, true);
  view.setUint32(12, id, true);
  view.setUint32(28, 0, true);
  return 32;
}

/** BPF_OBJ_NAME_LEN with its NUL. */
function writeName(bytes: Uint8Array, at: number, name: string): void {
  bytes.set(encodeUtf8(name).subarray(0, 15), at);
}
