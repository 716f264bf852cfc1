import { dropReasonText, type ReasonCount } from '../core/drop-reasons.ts';
import type { KeyedMap } from '../core/keyed-map.ts';
import { decodeServiceRefusal } from '../generated/abi.ts';

/**
 * The map `service_refused`. The BPF programs make its entries, the control plane deletes them with their service.
 * It has few entries, so it is read as a whole.
 */
export class ServiceRefusals {
  readonly #map: KeyedMap;

  constructor(map: KeyedMap) {
    this.#map = map;
  }

  get size(): number {
    return Array.from(this.#map.entries()).length;
  }

  /** Returns what was refused of each service, most first. Throws SysError. */
  all(): (ReasonCount & { readonly service: number })[] {
    const counts = Array.from(this.#map.entries(), ([bytes, value]) => {
      const { service, reason } = decodeServiceRefusal(bytes);
      const count = Number(new BigUint64Array(value.slice().buffer)[0]!);
      return { service, reason: dropReasonText(reason), count };
    });
    return counts.sort((a, b) => b.count - a.count);
  }

  /** Deletes the entries of services that are `gone`: an id may be given to another one later. Throws SysError. */
  drop(gone: (service: number) => boolean): void {
    const keys = Array.from(this.#map.entries(), ([key]) => key.slice());
    for (const key of keys) if (gone(decodeServiceRefusal(key).service)) this.#map.delete(key);
  }
}
