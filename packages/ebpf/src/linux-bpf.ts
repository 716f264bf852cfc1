import {
  checked,
  closeFd,
  encodeCString,
  encodeUtf8,
  errno,
  type Platform,
  type Remedies,
  SysError,
  syscallNumbers,
} from '@heddle/sys';
import type {
  BatchResult,
  Bpf,
  LinkCreateOptions,
  LookupBatch,
  MapCreateOptions,
  Mapping,
  ObjectKind,
  ProgramLoadOptions,
  TestRunOptions,
  TestRunResult,
} from './bpf.ts';
import { pinError } from './bpffs.ts';

// enum bpf_cmd
const MAP_CREATE = 0;
const MAP_LOOKUP_ELEM = 1;
const MAP_UPDATE_ELEM = 2;
const MAP_DELETE_ELEM = 3;
const MAP_GET_NEXT_KEY = 4;
const PROG_LOAD = 5;
const OBJ_PIN = 6;
const OBJ_GET = 7;
const PROG_TEST_RUN = 10;
const OBJ_GET_INFO_BY_FD = 15;
const RAW_TRACEPOINT_OPEN = 17;
const BTF_LOAD = 18;
const MAP_FREEZE = 22;
const MAP_LOOKUP_BATCH = 24;
const MAP_UPDATE_BATCH = 26;
const MAP_DELETE_BATCH = 27;
const LINK_CREATE = 28;
const LINK_UPDATE = 29;
const ITER_CREATE = 33;
const LINK_DETACH = 34;

const nextIdCommands = { program: 11, map: 12, btf: 23, link: 31 } as const;
const openIdCommands = { program: 13, map: 14, btf: 19, link: 30 } as const;

/** linux/bpf.h: a read-only descriptor of a map. */
const BPF_F_RDONLY = 1 << 3;

// sys/mman.h
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

/** The size of attr, which is enough for each command below. Unused bytes stay zero. */
const ATTR_SIZE = 128;
/** The verifier fails with EAGAIN when a signal arrives. libbpf tries five times, too. */
const LOAD_TRIES = 5;

/** Remedies for the commands that check capabilities (kernel/bpf/syscall.c). */
const asCreator = { EPERM: 'run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON' };
const asObserver = { EPERM: 'run as root or with CAP_SYS_ADMIN' };

/**
 * The Bpf port on the Linux kernel. Offsets are those of union bpf_attr in linux/bpf.h. All commands share one
 * buffer for attr: they are synchronous, and each command writes all bytes that the kernel reads.
 */
export class LinuxBpf implements Bpf {
  readonly platform: Platform;
  readonly possibleCpus: number;
  readonly pageSize: number;
  readonly #number: number;
  readonly #attr = new Uint8Array(ATTR_SIZE);
  readonly #u32 = new Uint32Array(this.#attr.buffer);
  readonly #u64 = new BigUint64Array(this.#attr.buffer);
  readonly #attrAddress: bigint;
  /** The targets of pointers in attr, which must not be collected before the command returns. */
  readonly #alive: (Uint8Array | undefined)[] = [];

  constructor(platform: Platform) {
    this.platform = platform;
    this.#number = syscallNumbers(platform).bpf;
    this.possibleCpus = platform.possibleCpus;
    this.pageSize = platform.pageSize;
    this.#attrAddress = platform.addressOf(this.#attr);
  }

  mapCreate(options: MapCreateOptions): number {
    const u32 = this.#begin();
    u32[0] = options.type;
    u32[1] = options.keySize;
    u32[2] = options.valueSize;
    u32[3] = options.maxEntries;
    u32[4] = options.flags;
    u32[5] = options.innerMap ?? 0;
    this.#attr.set(objectName(options.name), 28);
    u32[12] = options.btf ?? 0;
    u32[13] = options.keyTypeId ?? 0;
    u32[14] = options.valueTypeId ?? 0;
    this.#u64[8] = options.extra ?? 0n;
    return this.#run(MAP_CREATE, 72, `create map ${options.name}`, asCreator);
  }

  mapLookup(map: number, key: Uint8Array, value: Uint8Array): boolean {
    const result = this.#element(MAP_LOOKUP_ELEM, map, key, value, 0);
    if (result === -errno.ENOENT) return false;
    checked('bpf', result, 'look up map element');
    return true;
  }

  mapUpdate(map: number, key: Uint8Array, value: Uint8Array, flags: number): void {
    const result = this.#element(MAP_UPDATE_ELEM, map, key, value, flags);
    if (result < 0) throw new SysError('bpf', -result, 'update map element');
  }

  mapDelete(map: number, key: Uint8Array): boolean {
    const result = this.#element(MAP_DELETE_ELEM, map, key, none, 0);
    if (result === -errno.ENOENT) return false;
    checked('bpf', result, 'delete map element');
    return true;
  }

  mapNextKey(map: number, key: Uint8Array | undefined, next: Uint8Array): boolean {
    const result = this.#element(MAP_GET_NEXT_KEY, map, key ?? none, next, 0);
    if (result === -errno.ENOENT) return false;
    checked('bpf', result, 'get next map key');
    return true;
  }

  mapLookupBatch(map: number, batch: LookupBatch): BatchResult {
    this.#begin();
    this.#u64[0] = this.#point(0, batch.position ?? none);
    this.#u64[1] = this.#point(1, batch.nextPosition);
    return this.#batch(MAP_LOOKUP_BATCH, map, batch.keys, batch.values, batch.count);
  }

  mapUpdateBatch(map: number, keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    this.#begin();
    return this.#batch(MAP_UPDATE_BATCH, map, keys, values, count);
  }

  mapDeleteBatch(map: number, keys: Uint8Array, count: number): BatchResult {
    this.#begin();
    return this.#batch(MAP_DELETE_BATCH, map, keys, none, count);
  }

  mapFreeze(map: number): void {
    this.#begin()[0] = map;
    this.#run(MAP_FREEZE, 4, 'freeze map');
  }

  programLoad(options: ProgramLoadOptions): number {
    const { log, functionInfo, lineInfo } = options;
    for (let left = LOAD_TRIES; ; left--) {
      const u32 = this.#begin();
      const u64 = this.#u64;
      u32[0] = options.type;
      u32[1] = options.instructions.length / 8;
      u64[1] = this.#point(0, options.instructions);
      u64[2] = this.#point(1, encodeCString(options.license));
      if (log) {
        u32[6] = 1;
        u32[7] = log.length;
        u64[4] = this.#point(2, log);
      }
      u32[11] = options.flags ?? 0;
      this.#attr.set(objectName(options.name), 48);
      u32[17] = options.expectedAttachType ?? 0;
      u32[18] = options.btf ?? 0;
      if (functionInfo?.length) {
        u32[19] = 8;
        u64[10] = this.#point(3, functionInfo);
        u32[22] = functionInfo.length / 8;
      }
      if (lineInfo?.length) {
        u32[23] = 16;
        u64[12] = this.#point(4, lineInfo);
        u32[26] = lineInfo.length / 16;
      }
      u32[27] = options.attachBtfId ?? 0;
      const result = this.#call(PROG_LOAD, 128);
      if (result === -errno.EAGAIN && left > 1) continue;
      return checked('bpf', result, `load program ${options.name}`, asCreator);
    }
  }

  programTestRun(program: number, options: TestRunOptions): TestRunResult {
    const data = options.data ?? none;
    const context = options.context ?? none;
    const dataOut = new Uint8Array(options.dataRoom ?? data.length);
    const contextOut = new Uint8Array(options.contextRoom ?? context.length);
    const u32 = this.#begin();
    u32[0] = program;
    u32[2] = data.length;
    u32[3] = dataOut.length;
    this.#u64[2] = this.#point(0, data);
    this.#u64[3] = this.#point(1, dataOut);
    u32[8] = options.repeat ?? 0;
    u32[10] = context.length;
    u32[11] = contextOut.length;
    this.#u64[6] = this.#point(2, context);
    this.#u64[7] = this.#point(3, contextOut);
    u32[16] = options.flags ?? 0;
    this.#run(PROG_TEST_RUN, 80, 'test-run program');
    return {
      returnValue: u32[1]!,
      data: dataOut.subarray(0, u32[3]),
      context: contextOut.subarray(0, u32[11]),
      durationNs: u32[9]!,
    };
  }

  btfLoad(btf: Uint8Array, log?: Uint8Array): number {
    const u32 = this.#begin();
    this.#u64[0] = this.#point(0, btf);
    u32[4] = btf.length;
    if (log) {
      this.#u64[1] = this.#point(1, log);
      u32[5] = log.length;
      u32[6] = 1;
    }
    return this.#run(BTF_LOAD, 28, 'load btf', asCreator);
  }

  linkCreate(options: LinkCreateOptions): number {
    const u32 = this.#begin();
    u32[0] = options.program;
    u32[1] = options.target;
    u32[2] = options.attachType;
    u32[3] = options.flags ?? 0;
    if (options.iteratorInfo) {
      this.#u64[2] = this.#point(0, options.iteratorInfo);
      u32[6] = options.iteratorInfo.length;
    } else {
      u32[4] = options.relative ?? 0;
    }
    return this.#run(LINK_CREATE, 48, 'create link');
  }

  linkUpdate(link: number, program: number): void {
    const u32 = this.#begin();
    u32[0] = link;
    u32[1] = program;
    this.#run(LINK_UPDATE, 16, 'update link');
  }

  linkDetach(link: number): void {
    this.#begin()[0] = link;
    this.#run(LINK_DETACH, 4, 'detach link');
  }

  rawTracepointOpen(program: number, name: string | undefined): number {
    const u32 = this.#begin();
    this.#u64[0] = name === undefined ? 0n : this.#point(0, encodeCString(name));
    u32[2] = program;
    return this.#run(RAW_TRACEPOINT_OPEN, 16, `attach to tracepoint ${name ?? ''}`.trimEnd());
  }

  iteratorCreate(link: number): number {
    this.#begin()[0] = link;
    return this.#run(ITER_CREATE, 8, 'create iterator');
  }

  objectPin(fd: number, path: string): void {
    const u32 = this.#begin();
    this.#u64[0] = this.#point(0, encodeCString(path));
    u32[2] = fd;
    const result = this.#call(OBJ_PIN, 16);
    if (result < 0) throw pinError(this.platform, -result, 'pin', path);
  }

  objectGet(path: string, access?: 'read-only'): number {
    const u32 = this.#begin();
    this.#u64[0] = this.#point(0, encodeCString(path));
    if (access) u32[3] = BPF_F_RDONLY;
    const result = this.#call(OBJ_GET, 16);
    if (result < 0) throw pinError(this.platform, -result, 'open pin', path);
    return result;
  }

  objectInfo(fd: number, info: Uint8Array): number {
    const u32 = this.#begin();
    u32[0] = fd;
    u32[1] = info.length;
    this.#u64[1] = this.#point(0, info);
    this.#run(OBJ_GET_INFO_BY_FD, 16, 'get object info');
    return u32[1]!;
  }

  nextId(kind: ObjectKind, id: number): number | undefined {
    const u32 = this.#begin();
    u32[0] = id;
    const result = this.#call(nextIdCommands[kind], 12);
    if (result === -errno.ENOENT) return undefined;
    checked('bpf', result, `get next ${kind} id`, asObserver);
    return u32[1];
  }

  openId(kind: ObjectKind, id: number, access?: 'read-only'): number {
    const u32 = this.#begin();
    u32[0] = id;
    if (access) u32[2] = BPF_F_RDONLY;
    return this.#run(openIdCommands[kind], 12, `open ${kind} ${id}`, asObserver);
  }

  close(fd: number): void {
    closeFd(this.platform, fd);
  }

  mapMemory(fd: number, length: number, offset: number, writable: boolean): Mapping {
    const platform = this.platform;
    const nr = syscallNumbers(platform);
    const protection = PROT_READ | (writable ? PROT_WRITE : 0);
    const address = checked(
      'mmap',
      platform.syscall(nr.mmap, 0, length, protection, MAP_SHARED, fd, offset),
      'map memory of bpf map',
    );
    let mapped = true;
    return {
      bytes: platform.view(address, length),
      [Symbol.dispose]() {
        if (!mapped) return;
        mapped = false;
        platform.syscall(nr.munmap, address, length);
      },
    };
  }

  addressOf(bytes: Uint8Array): bigint {
    return this.platform.addressOf(bytes);
  }

  #begin(): Uint32Array {
    this.#attr.fill(0);
    return this.#u32;
  }

  #point(slot: number, bytes: Uint8Array): bigint {
    this.#alive[slot] = bytes;
    return this.platform.addressOf(bytes);
  }

  #call(command: number, size: number): number {
    const result = this.platform.syscall(this.#number, command, this.#attrAddress, size);
    this.#alive.fill(undefined);
    return result;
  }

  #run(command: number, size: number, what: string, remedies?: Remedies): number {
    return checked('bpf', this.#call(command, size), what, remedies);
  }

  /** The hot path: it writes all 32 bytes, so that no byte needs to be cleared. */
  #element(
    command: number,
    map: number,
    key: Uint8Array,
    value: Uint8Array,
    flags: number,
  ): number {
    this.#u32[0] = map;
    this.#u32[1] = 0;
    this.#u64[1] = this.#point(0, key);
    this.#u64[2] = this.#point(1, value);
    this.#u32[6] = flags;
    this.#u32[7] = 0;
    return this.#call(command, 32);
  }

  #batch(
    command: number,
    map: number,
    keys: Uint8Array,
    values: Uint8Array,
    count: number,
  ): BatchResult {
    this.#u64[2] = this.#point(2, keys);
    this.#u64[3] = this.#point(3, values);
    this.#u32[8] = count;
    this.#u32[9] = map;
    const result = this.#call(command, 56);
    const error = result < 0 ? new SysError('bpf', -result, 'run map batch') : undefined;
    // A command that is refused as a whole leaves the count unchanged.
    const refused = result < 0 && result !== -errno.ENOENT && this.#u32[8] === count;
    return { count: refused ? 0 : this.#u32[8]!, error };
  }
}

const none = new Uint8Array(0);

/** Returns up to 15 bytes of a name, with the characters that the kernel accepts. */
function objectName(name: string): Uint8Array {
  return encodeUtf8(name.replace(/[^A-Za-z0-9_.]/g, '_').slice(0, 15));
}
