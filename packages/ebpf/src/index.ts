export { type BindingsOptions, generateBindings } from './bindings.ts';
export type * from './bpf.ts';
export { isBpffs, mountBpffs, unmountBpffs } from './bpffs.ts';
export { Btf, BtfError } from './btf.ts';
export type * from './btf-types.ts';
export { type Codec, perCpu, s32, u8, u16, u32, u64 } from './codec.ts';
export { RelocationError } from './core-relocation.ts';
export { ElfError } from './elf.ts';
export {
  BatchError,
  Incompatible,
  KeyExists,
  KeyNotFound,
  MapFull,
  VerifierError,
} from './errors.ts';
export type { BtfInfo, LinkInfo, MapInfo, ProgramInfo } from './info.ts';
export { kernelBtf } from './kernel-btf.ts';
export { attachCgroup } from './links/cgroup.ts';
export { attachIterator, readIterator } from './links/iterator.ts';
export { BpfLink, type LinkPosition } from './links/link.ts';
export { attachNetkit } from './links/netkit.ts';
export { attachTcx } from './links/tcx.ts';
export { attachTracepoint } from './links/tracepoint.ts';
export { attachXdp } from './links/xdp.ts';
export { LinuxBpf } from './linux-bpf.ts';
export type { LoadedObject } from './loaded-object.ts';
export { type LoadOptions, loadObject } from './loader.ts';
export { BpfMap, compatibility, type MapChunk, type MapOptions, type UpdateMode } from './map.ts';
export { type MapChanges, readObject, resizeMap, setVariable, withMap } from './object-spec.ts';
export { type Feature, type Features, featureSince, features } from './probes.ts';
export { BpfProgram } from './program.ts';
export { RingBuffer } from './ring-buffer.ts';
export type * from './spec.ts';
export { TypedMap } from './typed-map.ts';
export {
  attachTypes,
  BPF_F_MMAPABLE,
  BPF_F_NO_PREALLOC,
  BPF_F_RDONLY_PROG,
  mapTypes,
  programTypes,
} from './uapi.ts';
