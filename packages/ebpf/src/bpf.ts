import type { Platform, SysError } from '@heddle/sys';

/**
 * The port through which this package makes all bpf(2) commands: one method for each command,
 * bytes in and out, descriptors as numbers. `LinuxBpf` passes them to the kernel; `VmBpf` of
 * @heddle/vm is a userspace machine. Every method throws SysError when the command fails. A missing
 * element or object is a return value and no failure.
 */
export interface Bpf {
  /** The operating system of the machine on which the commands run. */
  readonly platform: Platform;
  /** The number of CPUs with values in per-CPU maps. */
  readonly possibleCpus: number;
  /** Bytes of a memory page, the granularity of mapMemory. */
  readonly pageSize: number;

  /** BPF_MAP_CREATE. Returns a descriptor. */
  mapCreate(options: MapCreateOptions): number;
  /** BPF_MAP_LOOKUP_ELEM into `value`. False when there is no such element. */
  mapLookup(map: number, key: Uint8Array, value: Uint8Array): boolean;
  /** BPF_MAP_UPDATE_ELEM; `flags` is BPF_ANY, BPF_NOEXIST or BPF_EXIST. */
  mapUpdate(map: number, key: Uint8Array, value: Uint8Array, flags: number): void;
  /** BPF_MAP_DELETE_ELEM. False when there is no such element. */
  mapDelete(map: number, key: Uint8Array): boolean;
  /** BPF_MAP_GET_NEXT_KEY into `next`; without `key` the first one. False at the end. */
  mapNextKey(map: number, key: Uint8Array | undefined, next: Uint8Array): boolean;
  /**
   * BPF_MAP_LOOKUP_BATCH. `position` is the end of the previous batch (default: the beginning), and
   * `nextPosition` receives the end of this one. Both have at least 4 bytes and the size of a key.
   */
  mapLookupBatch(map: number, batch: LookupBatch): BatchResult;
  /** BPF_MAP_UPDATE_BATCH of `count` elements, keys and values back to back. */
  mapUpdateBatch(map: number, keys: Uint8Array, values: Uint8Array, count: number): BatchResult;
  /** BPF_MAP_DELETE_BATCH of `count` elements. */
  mapDeleteBatch(map: number, keys: Uint8Array, count: number): BatchResult;
  /** BPF_MAP_FREEZE: no further change through bpf(2). */
  mapFreeze(map: number): void;

  /** BPF_PROG_LOAD. Returns a descriptor. */
  programLoad(options: ProgramLoadOptions): number;
  /** BPF_PROG_TEST_RUN. */
  programTestRun(program: number, options: TestRunOptions): TestRunResult;

  /** BPF_BTF_LOAD. Returns a descriptor. `log` receives the reason of a refusal. */
  btfLoad(btf: Uint8Array, log?: Uint8Array): number;

  /** BPF_LINK_CREATE. Returns a descriptor. */
  linkCreate(options: LinkCreateOptions): number;
  /** BPF_LINK_UPDATE: replaces the program without a gap. */
  linkUpdate(link: number, program: number): void;
  /** BPF_LINK_DETACH. */
  linkDetach(link: number): void;
  /** BPF_RAW_TRACEPOINT_OPEN. `name` is absent for programs that were loaded with their target (tp_btf). */
  rawTracepointOpen(program: number, name: string | undefined): number;
  /** BPF_ITER_CREATE. Returns a descriptor whose reads run the iterator. */
  iteratorCreate(link: number): number;

  /** BPF_OBJ_PIN. */
  objectPin(fd: number, path: string): void;
  /** BPF_OBJ_GET. Returns a descriptor, that of a map with `access` a read-only one. */
  objectGet(path: string, access?: 'read-only'): number;
  /** BPF_OBJ_GET_INFO_BY_FD into `info`, whose content is input too. Returns the bytes written. */
  objectInfo(fd: number, info: Uint8Array): number;
  /** BPF_*_GET_NEXT_ID: the first id above `id`, undefined at the end. */
  nextId(kind: ObjectKind, id: number): number | undefined;
  /** BPF_*_GET_FD_BY_ID. Returns a descriptor, that of a map with `access` a read-only one. */
  openId(kind: ObjectKind, id: number, access?: 'read-only'): number;

  /** close(2) of a descriptor that a method above returned. */
  close(fd: number): void;
  /** mmap(2), shared. `offset` and `length` are multiples of pageSize. */
  mapMemory(fd: number, length: number, offset: number, writable: boolean): Mapping;
  /** Address of `bytes` for structures that carry pointers; valid while the caller holds them. */
  addressOf(bytes: Uint8Array): bigint;
}

/** The kinds of objects with ids. */
export type ObjectKind = 'program' | 'map' | 'btf' | 'link';

/** Memory shared with the kernel. `bytes` must not be used after disposal; that of BpfMap.mmap throws then. */
export interface Mapping extends Disposable {
  readonly bytes: Uint8Array;
}

/** Fields of BPF_MAP_CREATE. */
export interface MapCreateOptions {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly extra?: bigint;
  readonly innerMap?: number;
  readonly btf?: number;
  readonly keyTypeId?: number;
  readonly valueTypeId?: number;
}

/** Fields of BPF_MAP_LOOKUP_BATCH. */
export interface LookupBatch {
  readonly position: Uint8Array | undefined;
  readonly nextPosition: Uint8Array;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** The number of elements that a batch command handled, and the error that stopped it. */
export interface BatchResult {
  readonly count: number;
  /** Absent when all elements were handled. ENOENT of a lookup means that the map has no more. */
  readonly error: SysError | undefined;
}

/** Fields of BPF_PROG_LOAD. */
export interface ProgramLoadOptions {
  readonly name: string;
  /** The ELF section, for errors of the userspace machine. The kernel does not get it. */
  readonly section?: string;
  readonly type: number;
  readonly instructions: Uint8Array;
  readonly license: string;
  readonly expectedAttachType?: number;
  readonly attachBtfId?: number;
  readonly flags?: number;
  readonly btf?: number;
  /** struct bpf_func_info (8 bytes each). */
  readonly functionInfo?: Uint8Array;
  /** struct bpf_line_info (16 bytes each). */
  readonly lineInfo?: Uint8Array;
  /** Receives the verifier's log. If absent, the kernel writes no log, which makes loading faster. */
  readonly log?: Uint8Array;
}

/** The input of a test run, all of it optional. */
export interface TestRunOptions {
  /** Packet; for program types that take one. */
  readonly data?: Uint8Array;
  /** Bytes of room for the packet as the program leaves it. */
  readonly dataRoom?: number;
  /** Context structure (struct __sk_buff, xdp_md, ...). */
  readonly context?: Uint8Array;
  /** Bytes of room for the context as the program leaves it. */
  readonly contextRoom?: number;
  readonly repeat?: number;
  readonly flags?: number;
}

/** The result of a test run. */
export interface TestRunResult {
  readonly returnValue: number;
  /** Packet and context as the program left them. */
  readonly data: Uint8Array;
  readonly context: Uint8Array;
  /** Mean duration of one run in nanoseconds. */
  readonly durationNs: number;
}

/** Fields of BPF_LINK_CREATE. */
export interface LinkCreateOptions {
  readonly program: number;
  /** A descriptor (cgroup, network namespace) or the index of a network interface, by attach type. */
  readonly target: number;
  readonly attachType: number;
  readonly flags?: number;
  /** For tcx and netkit: the program or link before or after which it is attached, by `flags`. */
  readonly relative?: number;
  /** Iterators: union bpf_iter_link_info. */
  readonly iteratorInfo?: Uint8Array;
}
