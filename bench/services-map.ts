import { existsSync, readdirSync } from 'node:fs';
import { pinRoot } from '@heddle/datapath';
import { decodeService } from '@heddle/datapath/abi';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { type Platform, parseIp } from '@heddle/sys';

const deadlineMs = 10_000;

/** The programmed services, with one frontend each and random choice. */
export interface Programmed {
  readonly services: number;
  readonly endpoints: number;
}

/**
 * The kernel's map of services, in which an agent's work is seen: it has an entry for each frontend,
 * which changes with each change of the service's endpoints.
 */
export class ServicesMap implements Disposable {
  readonly #map: BpfMap;
  readonly #keys = new Map<string, Uint8Array>();

  private constructor(map: BpfMap) {
    this.#map = map;
  }

  /** Returns the map that is pinned on a node; undefined while there is none. */
  static open(platform: Platform, bpffs: string): ServicesMap | undefined {
    const root = pinRoot(bpffs);
    if (!existsSync(root)) return undefined;
    const version = readdirSync(root).find((name) => /^v\d+$/.test(name));
    const path = `${root}/${version}/maps/services`;
    if (version === undefined || !existsSync(path)) return undefined;
    return new ServicesMap(BpfMap.openPinned(new LinuxBpf(platform), path));
  }

  /** Returns the current contents of the map. */
  programmed(): Programmed {
    let services = 0;
    let endpoints = 0;
    for (const [, value] of this.#map.entries()) {
      services++;
      endpoints += decodeService(value, 0).slotCount;
    }
    return { services, endpoints };
  }

  /** Returns the number of endpoints of the service at that address. */
  endpoints(address: string): number {
    return decodeService(this.entry(address), 0).slotCount;
  }

  /** Learns where the services are; to be called when all are there. */
  learn(): void {
    // An address is the first thing in a service's key.
    for (const [key] of this.#map.entries()) this.#keys.set(`${key.subarray(0, 16)}`, key.slice());
  }

  /** Returns the map's entry for the service at that address. */
  entry(address: string): Uint8Array {
    const key = this.#keys.get(`${parseIp(address)}`);
    const value = key && this.#map.lookup(key);
    if (!value) throw new Error(`look at service ${address}: the kernel has none`);
    return value;
  }

  /** Waits without letting go of the event loop until the entry is another one than `before`. */
  waitForChange(address: string, before: Uint8Array): void {
    const start = performance.now();
    while (`${this.entry(address)}` === `${before}`) {
      if (performance.now() - start > deadlineMs) {
        throw new Error(`change service ${address}: not programmed after ${deadlineMs / 1000} s`);
      }
      // Between looks the processor is the agent's: spinning would take one of two from it.
      Atomics.wait(never, 0, 0, 0.1);
    }
  }

  [Symbol.dispose](): void {
    this.#map[Symbol.dispose]();
  }
}

/** Atomics.wait blocks on this; no thread notifies it. */
const never = new Int32Array(new SharedArrayBuffer(4));
