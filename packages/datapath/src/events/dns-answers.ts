import { formatIp } from '@heddle/sys';
import { WatchedRing, type WatchedRingParts } from '../core/watched-ring.ts';
import { decodeDnsCopy } from '../generated/abi.ts';

/** An answer of a name server to a pod of this node, which nothing has checked. */
export interface DnsAnswer {
  readonly server: string;
  /** The address and port of the pod; the port in host order. */
  readonly client: string;
  readonly clientPort: number;
  /** The first 512 bytes of the message, at most. */
  readonly message: Uint8Array;
}

/** The answers of name servers to pods, which the programs copy while somebody reads them. */
export class DnsAnswers implements Disposable {
  readonly #ring: WatchedRing;

  /** `parts`: of the map `dns_answers`. */
  constructor(parts: WatchedRingParts) {
    this.#ring = new WatchedRing(parts);
  }

  /**
   * Calls `onAnswer` for each answer, until the result is disposed. There is one watcher at a time: a new one ends the
   * one before. Throws SysError.
   */
  watch(onAnswer: (answer: DnsAnswer) => void): Disposable {
    return this.#ring.watch((record) => {
      const { server, client, clientPort, length, message } = decodeDnsCopy(record);
      onAnswer({
        ...{ server: formatIp(server), client: formatIp(client), clientPort },
        message: message.slice(0, Math.min(length, message.length)),
      });
    });
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
