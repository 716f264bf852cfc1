import type { KeyedMap } from '../core/store.ts';
import { dropText } from '../events/drops.ts';
import { decodeServiceRefusal } from '../generated/abi.ts';

/** How often something was refused, and why, in words. */
export interface RefusalCount {
  readonly reason: string;
  readonly count: number;
}

/**
 * The `service_refused` map: the kernel half makes its entries, the control plane takes them away
 * with their service. It holds few, so it is read as a whole.
 */
export class ServiceRefusals {
  private readonly map: KeyedMap;

  constructor(map: KeyedMap) {
    this.map = map;
  }

  get size(): number {
    return Array.from(this.map.entries()).length;
  }

  /** What was refused of each service, most first. Throws SysError. */
  all(): (RefusalCount & { readonly service: number })[] {
    const counts = Array.from(this.map.entries(), ([bytes, value]) => {
      const { service, reason } = decodeServiceRefusal(bytes);
      const count = Number(new BigUint64Array(value.slice().buffer)[0]!);
      return { service, reason: dropText[reason] ?? `reason ${reason}`, count };
    });
    return counts.sort((a, b) => b.count - a.count);
  }

  /** Removes what belongs to services that are `gone`: an id may be given to another one later. */
  drop(gone: (service: number) => boolean): void {
    const keys = Array.from(this.map.entries(), ([key]) => key.slice());
    for (const key of keys) if (gone(decodeServiceRefusal(key).service)) this.map.delete(key);
  }
}
