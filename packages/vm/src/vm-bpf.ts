import {
  type BatchResult,
  type Bpf,
  Btf,
  BtfError,
  type LinkCreateOptions,
  type LookupBatch,
  type MapCreateOptions,
  type Mapping,
  type ObjectKind,
  type ProgramLoadOptions,
  type TestRunOptions,
  type TestRunResult,
} from '@heddle/ebpf';
import { encodeUtf8, errno, type Platform, SysError } from '@heddle/sys';
import { Descriptors } from './descriptors.ts';
import { LoadError } from './fault.ts';
import { writeInfo } from './info.ts';
import { interpret } from './interpreter.ts';
import { type AttachPoint, LinkObject } from './links.ts';
import { type KernelFunctions, prepareProgram } from './loading.ts';
import { Machine, type Routes } from './machine.ts';
import { createMap } from './maps/create.ts';
import type { VmMap } from './maps/map.ts';
import { BtfObject, MapObject, ProgramObject, type VmObject } from './objects.ts';
import { seededRandom } from './random.ts';
import { testRun } from './test-run.ts';
import { translate } from './translator.ts';

/** The surroundings of a machine. The defaults make one that depends on nothing. */
export interface VmOptions {
  /** The operating system of a machine with files. If absent, `bpf.platform` throws. */
  readonly platform?: Platform;
  /** Returns nanoseconds of CLOCK_MONOTONIC. By default, the time is always 1 s. */
  readonly now?: () => bigint;
  /** The seed of all random numbers. The default is 1. */
  readonly seed?: number;
  /** The number of CPUs with values in per-CPU maps. The default is 2. */
  readonly cpus?: number;
  /** The largest number of instructions in one run. The default is 10 million. */
  readonly budget?: number;
  /** The number of runs after which a program is translated to JavaScript. The default is 100; Infinity disables it. */
  readonly translateAfter?: number;
  readonly descriptors?: Descriptors;
  readonly kernelBtf?: Btf;
  readonly kernelFunctions?: KernelFunctions;
  readonly routes?: Routes;
  /** Returns the link-layer address (6 bytes) of a network interface. By default, all are lo. */
  readonly linkAddress?: (ifindex: number) => Uint8Array | undefined;
  /** Called with the time at which `machine.runTimers()` is due. */
  readonly onTimer?: (due: bigint) => void;
  /** Returns the target of a new link. Throws SysError. */
  readonly attachPoint?: (options: LinkCreateOptions, program: ProgramObject) => AttachPoint;
  /** Returns the tracepoint that a program was loaded for. */
  readonly tracepoint?: (program: ProgramObject) => AttachPoint | undefined;
  /** Returns the object of a descriptor that runs an iterator when it is read. Throws SysError. */
  readonly openIterator?: (link: LinkObject) => VmObject;
  /** Returns the map that programs and descriptors use in place of a new one. The default is the new one. */
  readonly wrapMap?: ((machine: Machine, map: VmMap) => VmMap) | undefined;
  /** The file system with the pins, if there is one. */
  readonly pins?: Pins;
}

/** A file system with pins. Both functions throw SysError. */
export interface Pins {
  readonly pin: (object: VmObject, path: string) => void;
  readonly get: (path: string) => VmObject;
}

const FIRST_ADDRESS = 0x1000_0000n;
/** The number of arrays of `addressOf` that are kept: a caller uses an address at once. */
const ADDRESSES_KEPT = 64;

/**
 * The Bpf port on a userspace machine. Programs and maps behave as in the kernel, and commands fail with
 * the same errno.
 */
export class VmBpf implements Bpf {
  readonly possibleCpus: number;
  readonly pageSize = 4096;
  readonly machine: Machine;
  readonly descriptors: Descriptors;
  readonly #options: VmOptions;
  readonly #objects: Readonly<Record<ObjectKind, Map<number, VmObject>>> = {
    map: new Map(),
    program: new Map(),
    btf: new Map(),
    link: new Map(),
  };
  readonly #lastIds: Record<ObjectKind, number> = { map: 0, program: 0, btf: 0, link: 0 };
  readonly #addresses = new Map<bigint, Uint8Array>();
  #nextAddress = FIRST_ADDRESS;

  constructor(options: VmOptions = {}) {
    this.#options = options;
    this.possibleCpus = options.cpus ?? 2;
    this.descriptors = options.descriptors ?? new Descriptors();
    this.machine = new Machine({
      engine: { interpret, translate },
      now: options.now ?? (() => 1_000_000_000n),
      random: seededRandom(options.seed ?? 1),
      cpus: this.possibleCpus,
      budget: options.budget ?? 10_000_000,
      kernelBtf: options.kernelBtf,
      routes: options.routes,
      linkAddress: options.linkAddress ?? (() => undefined),
      onTimer: options.onTimer ?? (() => {}),
      translateAfter: options.translateAfter ?? 100,
    });
  }

  get platform(): Platform {
    const { platform } = this.#options;
    if (platform) return platform;
    throw new Error(
      'use the platform of a userspace machine: it has none (loadObject takes kernelBtf, RingBuffer a platform)',
    );
  }

  mapCreate(options: MapCreateOptions): number {
    const btf =
      options.btf === undefined ? undefined : this.descriptors.want(options.btf, BtfObject);
    const made = createMap(this.machine, options, (fd, kind) => {
      const object = this.descriptors.get(fd);
      return object?.kind === kind ? object : undefined;
    });
    const map = this.#options.wrapMap?.(this.machine, made) ?? made;
    return this.#open('map', (id, gone) => new MapObject(id, map, btf, gone));
  }

  mapLookup(fd: number, key: Uint8Array, value: Uint8Array): boolean {
    return this.#found(this.#map(fd).lookup(key, value), 'look up map element');
  }

  mapUpdate(fd: number, key: Uint8Array, value: Uint8Array, flags: number): void {
    const result = this.#writable(fd).update(key, value, flags);
    if (result < 0) throw new SysError('bpf', -result, 'update map element');
  }

  mapDelete(fd: number, key: Uint8Array): boolean {
    return this.#found(this.#writable(fd).delete(key), 'delete map element');
  }

  mapNextKey(fd: number, key: Uint8Array | undefined, next: Uint8Array): boolean {
    return this.#found(this.#map(fd).nextKey(key, next), 'get next map key');
  }

  mapLookupBatch(fd: number, batch: LookupBatch): BatchResult {
    const map = this.#map(fd);
    if (!map.readBatch) return failedBatch(0, errno.ENOTSUPP);
    const from = batch.position ? viewOf(batch.position).getUint32(0, true) : 0;
    const { done, next } = map.readBatch(from, batch.count, batch.keys, batch.values);
    viewOf(batch.nextPosition).setUint32(0, Math.max(next, 0), true);
    return next < 0 ? failedBatch(done, errno.ENOENT) : { count: done, error: undefined };
  }

  mapUpdateBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    const map = this.#writable(fd);
    if (!map.readBatch) return failedBatch(0, errno.ENOTSUPP);
    const { keySize } = map.options;
    return inBatch(count, (i) =>
      map.update(part(keys, i, keySize), part(values, i, map.valueBytes), 0),
    );
  }

  mapDeleteBatch(fd: number, keys: Uint8Array, count: number): BatchResult {
    const map = this.#writable(fd);
    if (!map.deletesBatches) return failedBatch(0, errno.ENOTSUPP);
    return inBatch(count, (i) => map.delete(part(keys, i, map.options.keySize)));
  }

  mapFreeze(fd: number): void {
    const map = this.#map(fd);
    if (map.frozen) throw new SysError('bpf', errno.EBUSY, 'freeze map');
    map.frozen = true;
  }

  programLoad(options: ProgramLoadOptions): number {
    const { machine } = this;
    try {
      const loaded = prepareProgram(options, {
        machine,
        object: (fd) => this.descriptors.get(fd),
        kernelFunctions: this.#options.kernelFunctions ?? {},
      });
      const parts = {
        maps: loaded.maps,
        btf: loaded.btf,
        loadTime: machine.now(),
        attachBtfId: options.attachBtfId ?? 0,
        tag: tagOf(options.instructions),
        onUnload: () => {
          const { codeRegion } = loaded.program;
          if (codeRegion !== 0) machine.memory.remove(codeRegion);
        },
      };
      return this.#open(
        'program',
        (id, gone) => new ProgramObject(id, loaded.program, parts, gone),
      );
    } catch (error) {
      if (!(error instanceof LoadError)) throw error;
      options.log?.set(encodeUtf8(error.message).subarray(0, options.log.length - 1));
      throw new SysError('bpf', errno.EINVAL, `load program ${options.name} (${error.message})`);
    }
  }

  programTestRun(fd: number, options: TestRunOptions): TestRunResult {
    return testRun(this.machine, this.descriptors.want(fd, ProgramObject).program, options);
  }

  btfLoad(btf: Uint8Array, log?: Uint8Array): number {
    const bytes = btf.slice();
    try {
      Btf.parse(bytes);
    } catch (error) {
      if (!(error instanceof BtfError)) throw error;
      log?.set(encodeUtf8(error.message).subarray(0, log.length - 1));
      throw new SysError('bpf', errno.EINVAL, 'load btf');
    }
    return this.#open('btf', (id, gone) => new BtfObject(id, bytes, gone));
  }

  linkCreate(options: LinkCreateOptions): number {
    const program = this.descriptors.want(options.program, ProgramObject);
    const point = this.#options.attachPoint?.(options, program);
    if (!point) throw new SysError('bpf', errno.EBADF, 'create link');
    return this.#open('link', (id, gone) => new LinkObject(id, program, options, point, gone));
  }

  linkUpdate(link: number, program: number): void {
    this.descriptors.want(link, LinkObject).replace(this.descriptors.want(program, ProgramObject));
  }

  linkDetach(link: number): void {
    this.descriptors.want(link, LinkObject).detach();
  }

  rawTracepointOpen(fd: number): number {
    const program = this.descriptors.want(fd, ProgramObject);
    const point = this.#options.tracepoint?.(program);
    if (!point)
      throw new SysError('bpf', errno.EINVAL, 'attach to a tracepoint that is not simulated');
    const options = { program: fd, target: 0, attachType: program.program.attachType };
    return this.#open('link', (id, gone) => new LinkObject(id, program, options, point, gone));
  }

  iteratorCreate(fd: number): number {
    const link = this.descriptors.want(fd, LinkObject);
    const iterator = this.#options.openIterator?.(link);
    if (!iterator) throw new SysError('bpf', errno.EINVAL, 'create iterator');
    return this.descriptors.open(iterator);
  }

  objectPin(fd: number, path: string): void {
    const object = this.descriptors.get(fd);
    if (!object) throw new SysError('bpf', errno.EBADF, `pin ${path}`);
    this.#pins(path).pin(object, path);
  }

  objectGet(path: string): number {
    return this.descriptors.open(this.#pins(path).get(path));
  }

  objectInfo(fd: number, info: Uint8Array): number {
    const object = this.descriptors.get(fd);
    if (!object) throw new SysError('bpf', errno.EBADF, 'get object info');
    return writeInfo(object, info, (address) => this.#addresses.get(address));
  }

  nextId(kind: ObjectKind, id: number): number | undefined {
    // Ids only grow, so the Map has them in ascending order.
    for (const other of this.#objects[kind].keys()) if (other > id) return other;
    return undefined;
  }

  openId(kind: ObjectKind, id: number): number {
    const object = this.#objects[kind].get(id);
    if (!object) throw new SysError('bpf', errno.ENOENT, `open ${kind} ${id}`);
    return this.descriptors.open(object);
  }

  close(fd: number): void {
    this.descriptors.close(fd);
  }

  mapMemory(fd: number, length: number, offset: number, writable: boolean): Mapping {
    const object = this.descriptors.want(fd, MapObject);
    if (writable && object.map.frozen)
      throw new SysError('mmap', errno.EPERM, 'map memory of bpf map');
    const bytes = object.map.mapping(length, offset, writable);
    if (!bytes) throw new SysError('mmap', errno.EINVAL, 'map memory of bpf map');
    object.retain();
    let mapped = true;
    return {
      bytes,
      [Symbol.dispose]() {
        if (!mapped) return;
        mapped = false;
        object.release();
      },
    };
  }

  addressOf(bytes: Uint8Array): bigint {
    if (bytes.length === 0) return 0n;
    const address = this.#nextAddress;
    this.#nextAddress += BigInt(bytes.length + 16);
    this.#addresses.set(address, bytes);
    if (this.#addresses.size > ADDRESSES_KEPT) {
      const [oldest] = this.#addresses.keys();
      this.#addresses.delete(oldest!);
    }
    return address;
  }

  /** Returns all existing objects of a kind. */
  objects(kind: ObjectKind): Iterable<VmObject> {
    return this.#objects[kind].values();
  }

  /** Returns the name of a type in the simulated kernel's BTF, or empty when there is none. */
  kernelTypeName(id: number): string {
    return this.#options.kernelBtf?.nameOf(id) ?? '';
  }

  /** Returns the program of a descriptor, for callers that run it other than by a test run. */
  program(fd: number): ProgramObject {
    return this.descriptors.want(fd, ProgramObject);
  }

  #open(
    kind: ObjectKind,
    make: (id: number, gone: (object: VmObject) => void) => VmObject,
  ): number {
    const objects = this.#objects[kind];
    const id = this.#lastIds[kind] + 1;
    const object = make(id, () => objects.delete(id));
    this.#lastIds[kind] = id;
    objects.set(id, object);
    return this.descriptors.open(object);
  }

  #map(fd: number): VmMap {
    return this.descriptors.want(fd, MapObject).map;
  }

  #writable(fd: number): VmMap {
    const map = this.#map(fd);
    if (map.frozen) throw new SysError('bpf', errno.EPERM, 'update map element');
    return map;
  }

  #found(result: number, what: string): boolean {
    if (result === -errno.ENOENT) return false;
    if (result < 0) throw new SysError('bpf', -result, what);
    return true;
  }

  #pins(path: string): Pins {
    const { pins } = this.#options;
    if (!pins) throw new SysError('bpf', errno.ENOENT, `open pin ${path}`);
    return pins;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function part(bytes: Uint8Array, index: number, size: number): Uint8Array {
  return bytes.subarray(index * size, (index + 1) * size);
}

function failedBatch(count: number, code: number): BatchResult {
  return { count, error: new SysError('bpf', code, 'run map batch') };
}

/** Runs `step` for each element of a batch until one fails. */
function inBatch(count: number, step: (index: number) => number): BatchResult {
  for (let i = 0; i < count; i++) {
    const result = step(i);
    if (result < 0) return failedBatch(i, -result);
  }
  return { count, error: undefined };
}

/** FNV-1a, 64 bits. */
function tagOf(instructions: Uint8Array): Uint8Array {
  let hash = 0xcbf29ce484222325n;
  for (const byte of instructions) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return new Uint8Array(new BigUint64Array([hash]).buffer);
}
