import type { SocketAddress } from '@heddle/sys/net';
import { folded } from '../packet/checksum.ts';
import { eth, type Packet } from '../packet/packet.ts';
import { spoofedRanges } from '../topology.ts';

/** Number of source addresses: 2^16 of the range of each family. */
const addresses = 1 << 16;
const firstPort = 1024;
const ports = 65_536 - firstPort;

/**
 * Yields the frames of `count` TCP SYNs, each with another source address and port and correct
 * checksums. All are the same buffer, so a frame is valid only until the next one. Throws RangeError
 * when there are not so many sources.
 */
export function* spoofedSyns(
  hop: { readonly src: string; readonly dst: string },
  to: SocketAddress,
  count: number,
): Generator<Uint8Array> {
  if (count > addresses * ports) throw new RangeError(`make ${count} SYNs: too many`);
  const v4 = !to.address.includes(':');
  const { bytes } = template(hop, to, v4);
  const view = new DataView(bytes.buffer);
  // Offsets of the fields that change: the last 16 bits of the address, the port, and the checksums.
  const ip = 14;
  const address = ip + (v4 ? 14 : 22);
  const tcp = ip + (v4 ? 20 : 40);
  const sumOfAll = ~view.getUint16(tcp + 16) & 0xffff;
  const sumOfHeader = ~view.getUint16(ip + 10) & 0xffff;
  for (let i = 0; i < count; i++) {
    // The addresses of successive packets have only their range in common.
    const host = (i * 40_503) % addresses;
    const port = firstPort + ((Math.floor(i / addresses) + i * 7) % ports);
    view.setUint16(address, host);
    view.setUint16(tcp, port);
    // RFC 1624; the template has zeros in these fields.
    view.setUint16(tcp + 16, ~folded(sumOfAll + host + port) & 0xffff);
    if (v4) view.setUint16(ip + 10, ~folded(sumOfHeader + host) & 0xffff);
    yield bytes;
  }
}

/** Returns the SYN from the first address of the range and port 0. */
function template(hop: { src: string; dst: string }, to: SocketAddress, v4: boolean): Packet {
  const [source] = (v4 ? spoofedRanges.v4 : spoofedRanges.v6).split('/') as [string];
  const ends = { src: source, dst: to.address };
  const packet = v4 ? eth(hop).ipv4({ ...ends, df: true }) : eth(hop).ipv6(ends);
  return packet.tcp({ sport: 0, dport: to.port, syn: true, seq: 1, options: { mss: 1460 } });
}
