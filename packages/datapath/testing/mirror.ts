import assert from 'node:assert/strict';
import {
  type Bpf,
  type BpfMap,
  kernelBtf,
  type LoadedObject,
  loadObject,
  mapTypes,
  RingBuffer,
  readObject,
  type TestRunOptions,
  type TestRunResult,
} from '@heddle/ebpf';
import type { Platform } from '@heddle/sys';
import { VmBpf } from '@heddle/vm';
import { kernelRoutes } from '@heddle/vm/testing/kernel-routes';
import {
  ctEntrySize,
  ctState,
  ctTableCodec,
  decodeCtTable,
  encodeCtTable,
} from '../src/generated/abi.ts';
import { covered } from './coverage.ts';
import { objects } from './objects.ts';

/** Maps that are no tables, or whose content has no meaning outside. */
const leftOut: ReadonlySet<number> = new Set([mapTypes.ringbuf, mapTypes.sk_storage]);

/** Per-CPU maps whose values begin with the time of the last use in nanoseconds: 8 of 16 bytes. */
const clocks: ReadonlySet<string> = new Set(['answer_budget']);

/** The number of attempts with other random numbers where the kernel has chosen at random. */
const draws = 40;

/** Contents of a map: of an array in one piece, of others by key. */
type Contents = Uint8Array | Map<string, string>;

/**
 * Runs in the userspace machine what is test-run in the kernel, from the same maps, and demands the
 * same return value, packet, maps and events of drops. The machine asks the kernel for routes.
 */
export class Mirror implements Disposable {
  readonly #kernel: LoadedObject;
  readonly #machine: VmBpf;
  readonly #routes: ReturnType<typeof kernelRoutes>;
  readonly #loaded: LoadedObject;
  readonly #constants: ReadonlySet<string>;
  readonly #expectedEvents: Events;
  readonly #ownEvents: Events;
  #now = 0n;
  /** Packets that `follow` found the same at once. */
  followed = 0;
  readonly #platform: Platform;

  /** `devices`: link-layer addresses by index, as text. */
  constructor(
    platform: Platform,
    bpf: Bpf,
    kernel: LoadedObject,
    name: string,
    devices: ReadonlyMap<number, string>,
  ) {
    this.#platform = platform;
    this.#kernel = kernel;
    this.#routes = kernelRoutes(bpf);
    this.#machine = covered(
      new VmBpf({
        cpus: bpf.possibleCpus,
        now: () => this.#now,
        routes: this.#routes.routes,
        linkAddress: (index) => addressBytes(devices.get(index)),
      }),
    );
    const spec = readObject(objects(name));
    // The machine's object has the sizes and constants that the kernel's was loaded with.
    const maps = Array.from(spec.maps, ([mapName, map]) => {
      const held = kernel.map(mapName);
      const contents = map.contents && held.lookup(new Uint8Array(4));
      return [mapName, { ...map, maxEntries: held.info.maxEntries, contents }] as const;
    });
    this.#constants = new Set(maps.filter(([, map]) => map.readOnly).map(([mapName]) => mapName));
    this.#loaded = loadObject(
      this.#machine,
      { ...spec, maps: new Map(maps) },
      { kernelBtf: kernelBtf(platform) },
    );
    this.#expectedEvents = new Events(bpf, kernel.map('drop_events'));
    this.#ownEvents = new Events(this.#machine, this.#loaded.map('drop_events'));
    this.#watch(1);
  }

  /**
   * Runs the program on both sides. Returns the kernel's result. The kernel collects its garbage
   * whenever it likes, also in between; then the packet is run again, as if for the first time.
   */
  testRun(name: string, options: TestRunOptions): TestRunResult {
    for (let left = 3; ; left--) {
      const { before, expected, own, differences } = this.#compare(name, options);
      if (differences.length > 0 && left > 1) {
        fillMap(this.#kernel.map('drops'), before.get('drops') as Map<string, string>);
        continue;
      }
      assert.equal(own.returnValue, expected.returnValue, `verdict of ${name}`);
      assert.deepEqual(own.data, expected.data, `packet of ${name}`);
      assert.deepEqual(differences, [], `maps and events after ${name}`);
      return expected;
    }
  }

  /** One run on each side from the same maps, and in what the maps and events differ afterwards. */
  #compare(name: string, options: TestRunOptions) {
    const before = this.#contents(this.#kernel.maps);
    const times = [this.#platform.monotonicNs()];
    this.#expectedEvents.take();
    const expected = this.#kernel.program(name).testRun(options);
    times.push(this.#platform.monotonicNs());
    const events = this.#expectedEvents.take();
    const after = this.#contents(this.#kernel.maps);
    const run = (now: bigint, cpu: number) => {
      this.#fill(before);
      this.#now = now;
      this.#machine.machine.cpu = cpu;
      this.#ownEvents.take();
      const own = this.#loaded.program(name).testRun(options);
      const ownEvents = this.#ownEvents.take();
      const different = differences(after, this.#contents(this.#loaded.maps));
      if (events !== ownEvents) different.push(`events: ${events} is not ${ownEvents}`);
      return { before, expected, own, differences: different };
    };
    // The CPU and time of the kernel's run are unknown: a tick may have passed since.
    let result = run(times[0]!, 0);
    for (let draw = 0; draw < draws; draw++) {
      for (const now of times) {
        for (let cpu = 0; cpu < this.#machine.possibleCpus; cpu++) {
          if (result.differences.length === 0) return result;
          result = run(now, cpu);
        }
      }
    }
    return result;
  }

  /**
   * Does the same for many packets: the machine continues with its own maps, and verdict, packet and events
   * are compared. Where they differ, because the kernel collected garbage or ran on another CPU, its
   * maps are copied, and `testRun` runs the packet again.
   */
  follow(name: string, options: TestRunOptions): TestRunResult {
    const expected = this.#kernel.program(name).testRun(options);
    this.#now = this.#platform.monotonicNs();
    const own = this.#loaded.program(name).testRun(options);
    const same = own.returnValue === expected.returnValue && text(own.data) === text(expected.data);
    if (this.#expectedEvents.take() === this.#ownEvents.take() && same) {
      this.followed++;
      return expected;
    }
    return this.testRun(name, options);
  }

  /** Takes over the kernel's maps. */
  synchronize(): void {
    this.#fill(this.#contents(this.#kernel.maps));
  }

  [Symbol.dispose](): void {
    this.#watch(0);
    this.#expectedEvents[Symbol.dispose]();
    this.#ownEvents[Symbol.dispose]();
    this.#loaded[Symbol.dispose]();
    this.#routes[Symbol.dispose]();
  }

  /** Has the kernel's programs report drops; the machine's do as they find it in their maps. */
  #watch(watched: number): void {
    using memory = this.#kernel.map('nat_table').mmap();
    const { buffer, byteOffset } = memory.bytes;
    new DataView(buffer, byteOffset).setUint32(ctTableCodec.offsets.watched, watched, true);
  }

  #contents(maps: ReadonlyMap<string, BpfMap>): Map<string, Contents> {
    const found = new Map<string, Contents>();
    for (const [name, map] of maps) {
      if (leftOut.has(map.info.type) || this.#constants.has(name)) continue;
      if (isMapped(map)) {
        using memory = map.mmap(false);
        const bytes = memory.bytes.slice();
        // The position of the garbage collection does not depend on the packet.
        if (name === 'nat_table') encodeCtTable({ ...decodeCtTable(bytes), gcPosition: 0 }, bytes);
        if (name === 'nat_flows') withoutMarks(bytes);
        found.set(name, bytes);
      } else {
        found.set(
          name,
          new Map(Array.from(map.entries(), ([key, value]) => [text(key), text(value)])),
        );
      }
    }
    return found;
  }

  /** Makes the machine's maps what the kernel's were. */
  #fill(contents: ReadonlyMap<string, Contents>): void {
    for (const [name, wanted] of contents) {
      const map = this.#loaded.map(name);
      if (wanted instanceof Uint8Array) {
        using memory = map.mmap();
        memory.bytes.set(wanted);
        continue;
      }
      fillMap(map, wanted);
    }
  }
}

/** The reading end of a ring buffer that is asked what came. */
class Events implements Disposable {
  readonly #ring: RingBuffer;
  #records: string[] = [];

  constructor(bpf: Bpf, map: BpfMap) {
    const never = { onReadable: () => ({ [Symbol.dispose]() {} }) };
    this.#ring = new RingBuffer(bpf, map, (record) => this.#records.push(text(record)), never);
  }

  /** Returns the records since the last call, as text. */
  take(): string {
    this.#ring.drain();
    const taken = this.#records.join();
    this.#records = [];
    return taken;
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}

function fillMap(map: BpfMap, wanted: ReadonlyMap<string, string>): void {
  for (const key of [...map.keys()]) if (!wanted.has(text(key))) map.delete(key);
  for (const [key, value] of wanted) map.update(bytes(key), bytes(value));
}

const isMapped = ({ info }: BpfMap) =>
  info.type === mapTypes.array && (info.flags & (1 << 10)) !== 0;

/** Returns the names of the maps that differ, with the differences. */
function differences(
  one: ReadonlyMap<string, Contents>,
  other: ReadonlyMap<string, Contents>,
): string[] {
  const found: string[] = [];
  for (const [name, left] of one) {
    const right = other.get(name)!;
    if (left instanceof Uint8Array && right instanceof Uint8Array) {
      const at = left.findIndex((byte, i) => byte !== right[i]);
      if (at >= 0)
        found.push(
          `${name} at ${at}: ${text(left.subarray(at, at + 16))} is not ${text(right.subarray(at, at + 16))}`,
        );
    } else if (left instanceof Map && right instanceof Map) {
      for (const key of new Set([...left.keys(), ...right.keys()])) {
        const [a, b] = [left.get(key), right.get(key)];
        const same = clocks.has(name) ? withoutTime(a) === withoutTime(b) : a === b;
        if (!same) found.push(`${name}[${key}]: ${a} is not ${b}`);
      }
    }
  }
  return found;
}

/** Values of 16 bytes, in hexadecimal, without the first 8. */
function withoutTime(values: string | undefined): string | undefined {
  return values?.replace(/.{16}(.{16})/g, '$1');
}

function addressBytes(address: string | undefined): Uint8Array | undefined {
  return address === undefined ? undefined : bytes(address.replaceAll(':', ''));
}

function text(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** Takes the garbage collection's marks off flows that are over: it sets them on every pass. */
function withoutMarks(flows: Uint8Array): void {
  const view = new DataView(flows.buffer, flows.byteOffset, flows.byteLength);
  // `state_word` is the last field of struct ct_entry.
  for (let at = ctEntrySize - 4; at < flows.length; at += ctEntrySize) {
    const life = view.getUint32(at, true);
    if (((life >>> 16) & 0x7f) === ctState.dying) view.setUint32(at, (life & ~0xffff) >>> 0, true);
  }
}
