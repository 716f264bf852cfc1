import type { VerdictEntry } from '@heddle/agent';
import { protocolNumber } from '@heddle/datapath';
import type { CtEntry } from '@heddle/datapath/abi';
import type { Decision } from '../flows/record.ts';
import { addressKey, addressKeyOf } from './address-key.ts';
import { allowing } from './decisions.ts';

/** The connections whose rules are remembered; one takes some 160 bytes. */
const connectionsMax = 32_768;

/** The rules that have allowed the latest connections of pods with policies. */
export class KnownVerdicts {
  readonly #max: number;
  readonly #decisions = new Map<string, readonly Decision[]>();

  constructor(max = connectionsMax) {
    this.#max = max;
  }

  /** Takes a verdict. A connection that is judged again has the rules of the last time. */
  add(entry: VerdictEntry): void {
    const { protocol, source, sourcePort, destination, destinationPort } = entry;
    const key = keyOf(
      ...([addressKeyOf(source), sourcePort, addressKeyOf(destination)] as const),
      ...([destinationPort, protocolNumber(protocol) ?? 0] as const),
    );
    this.#decisions.delete(key);
    const decisions = entry.outcome === 'denied' ? undefined : allowing(entry);
    if (!decisions) return;
    if (this.#decisions.size >= this.#max) this.#forgetOldest();
    this.#decisions.set(key, decisions);
  }

  /** Returns the rules that have allowed a connection of the conntrack table, if they are known. */
  of(entry: CtEntry, protocol: number): readonly Decision[] | undefined {
    if (this.#decisions.size === 0) return undefined;
    const { client, clientPort, backend, backendPort } = entry;
    return this.#decisions.get(
      keyOf(addressKey(client), clientPort, addressKey(backend), backendPort, protocol),
    );
  }

  #forgetOldest(): void {
    for (const key of this.#decisions.keys()) {
      this.#decisions.delete(key);
      return;
    }
  }
}

function keyOf(
  source: string,
  sourcePort: number,
  destination: string,
  destinationPort: number,
  protocol: number,
): string {
  return `${source}${destination} ${sourcePort} ${destinationPort} ${protocol}`;
}
