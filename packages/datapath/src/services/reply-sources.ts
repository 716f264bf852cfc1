import type { ServiceRow } from '@heddle/services';
import { parseIp } from '@heddle/sys';
import type { ArrayMemory } from '../core/mapped-array.ts';

/**
 * The map `reply_sources`, a Bloom filter of the addresses and ports from which translated replies leave the node. The
 * programs set the bits of backends. Those of UDP frontends are set here, because the node's stack may send from there,
 * too (note_host_datagram in bpf/ct/host_reply.h). Bits are never cleared.
 */
export class ReplySources {
  readonly #memory: ArrayMemory;

  constructor(memory: ArrayMemory) {
    this.#memory = memory;
  }

  /** Sets the bits of a row's frontends. To be called before they are in the map `services`. */
  expect({ protocol, frontends }: ServiceRow): void {
    if (protocol !== 'UDP') return;
    for (const { kind, address, port } of frontends) {
      const bytes = parseIp(address);
      if (kind !== 'ClusterIP' && bytes) this.#set(replyBit(bytes, port));
    }
  }

  #set(bit: number): void {
    const words = this.#memory.first(Math.floor(bit / 64) + 1);
    // Programs set other bits of the word at the same time.
    Atomics.or(words, bit >>> 3, 1 << (bit & 7));
  }
}

/** Returns the same bit as reply_filter_bit in bpf/ct/reply_filter.h. `address` is 16 bytes, `port` in host order. */
export function replyBit(address: Uint8Array, port: number): number {
  const view = new DataView(address.buffer, address.byteOffset);
  const word = (number: number) => BigInt(view.getUint32(number * 4, true));
  const networkPort = BigInt(((port & 0xff) << 8) | (port >>> 8));
  const mixed = (((word(0) ^ word(2)) << 32n) | (word(1) ^ word(3))) + (networkPort << 32n);
  return Number((BigInt.asUintN(64, mixed * 0x9e3779b97f4a7c15n) >> 48n) & 0xffffn);
}
