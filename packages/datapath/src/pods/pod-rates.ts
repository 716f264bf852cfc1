import { NoRoom } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { podRatesSize } from '../generated/abi.ts';
import type { PodTables } from './pod-tables.ts';

/** The number of entries of `pod_rates`; the first one is not used. */
export const ratePlaces = 4096;

/** The offsets of the fields in struct pod_rates (bpf/abi/pod.h). */
const offsets = { egress: 0, ingress: 16, local: 32, isPaced: 48 } as const;
/** The offset of the time in struct rate. */
const nextAt = 8;
/** The limits of struct pod_rates, by what they limit. */
const rates = { egress: 'egress', local: 'egress', ingress: 'ingress' } as const;

/** Limits of a pod, bits per second; undefined without a limit. */
export interface PodLimits {
  /** The canonical texts of its addresses. */
  readonly addresses: readonly string[];
  readonly egress: number | undefined;
  readonly ingress: number | undefined;
}

/**
 * The limits of pods: the map `pod_rates`, and the numbers of its entries in the tables of pods. What an earlier
 * agent has limited stays limited until `prune`.
 */
export class PodRates {
  readonly #memory: ArrayMemory;
  readonly #tables: PodTables;
  #isPaced = false;

  constructor(memory: ArrayMemory, tables: PodTables) {
    this.#memory = memory;
    this.#tables = tables;
  }

  /** Limits a pod, in place of its earlier limits; a running connection goes on at the new rate. Throws NoRoom. */
  set({ addresses, ...limits }: PodLimits): void {
    if (limits.egress === undefined && limits.ingress === undefined) {
      this.remove(addresses);
      return;
    }
    const known = addresses.map((address) => this.#tables.ratesOf(address)).find(Boolean);
    const number = known ?? this.#freeNumber();
    for (const [rate, direction] of Object.entries(rates)) {
      const at = offsets[rate as keyof typeof rates];
      if (known === undefined) this.#writeWord(number, at + nextAt, 0n);
      this.#writeWord(number, at, BigInt(Math.ceil((limits[direction] ?? 0) / 8)));
    }
    this.#writePaced(number);
    this.#tables.setRates(addresses, number);
  }

  /** Removes the limits of a pod; a pod without limits is fine. */
  remove(addresses: readonly string[]): void {
    this.#tables.removeRates(addresses);
  }

  /** Removes the limits of all other addresses. */
  prune(addresses: ReadonlySet<string>): void {
    const others = [...this.#tables.limited().keys()].filter((each) => !addresses.has(each));
    this.#tables.removeRates(others);
  }

  /** Sets whether what pods send to the world waits for its departure in fq; otherwise it is dropped. */
  setPaced(isPaced: boolean): void {
    this.#isPaced = isPaced;
    for (const number of new Set(this.#tables.limited().values())) this.#writePaced(number);
  }

  #freeNumber(): number {
    const used = new Set(this.#tables.limited().values());
    for (let number = 1; number < this.#memory.length; number++) {
      if (!used.has(number)) return number;
    }
    throw new NoRoom('pod_rates', this.#memory.length, 'the number of pods with limits');
  }

  #writePaced(number: number): void {
    const at = number * podRatesSize + offsets.isPaced;
    const [bytes, view] = this.#bytes();
    view.setUint32(bytes.byteOffset + at, this.#isPaced ? 1 : 0, true);
    this.#memory.wrote(at, 4);
  }

  /** Writes a rate at once, because programs read it meanwhile. */
  #writeWord(number: number, offset: number, value: bigint): void {
    const at = number * podRatesSize + offset;
    const [bytes, view] = this.#bytes();
    view.setBigUint64(bytes.byteOffset + at, value, true);
    this.#memory.wrote(at, 8);
  }

  #bytes(): [Uint8Array, DataView] {
    const bytes = this.#memory.first(this.#memory.length);
    return [bytes, new DataView(bytes.buffer)];
  }
}
