import { errno, SysError } from '@heddle/sys';
import { encodeInt, IPPROTO_IP, IPPROTO_IPV6 } from '@heddle/sys/net';
import type { LabHost } from '../lab-host.ts';
import { internetChecksum } from '../packet/checksum.ts';
import { pattern } from '../packet/packet.ts';
import { BlockingSocket } from './blocking-socket.ts';

// linux/in.h, linux/in6.h
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
const IPV6_DONTFRAG = 62;
const IP_PMTUDISC_DONT = 0;
const IP_PMTUDISC_DO = 2;
/** Types of echo requests and replies. */
const types = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const headerSize = 8;

export interface PingOptions {
  /** Bytes of the payload. Default: 56. */
  readonly size?: number;
  /** Nobody may fragment the request (DF). Default: false. */
  readonly df?: boolean;
  readonly timeoutMs?: number;
}

/** `too large`: the sender knows that the request does not fit into the path, so it has not sent it. */
export type PingResult = 'reply' | 'no reply' | 'too large';

let last = 0;

/**
 * Sends an ICMP echo request from a host to an address, and waits for the reply. Throws an Error when the reply has
 * another payload, and SysError.
 */
export function ping(
  from: LabHost,
  address: string,
  { size = 56, df = false, timeoutMs = 300 }: PingOptions = {},
): PingResult {
  const family = address.includes(':') ? 6 : 4;
  const { platform } = from;
  using socket = from.enter(() =>
    BlockingSocket.open(platform, { protocol: 'icmp', family, timeoutMs }),
  );
  const discover = encodeInt(df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
  if (family === 4) socket.setOption(IPPROTO_IP, IP_MTU_DISCOVER, discover);
  else {
    socket.setOption(IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover);
    socket.setOption(IPPROTO_IPV6, IPV6_DONTFRAG, encodeInt(df ? 1 : 0));
  }
  last = (last + 1) & 0xffff;
  const request = echo(types[family].request, last, size);
  // The kernel computes the checksum of ICMPv6.
  if (family === 4) new DataView(request.buffer).setUint16(2, internetChecksum(request));
  try {
    socket.send(request, { address, port: 0 });
    for (;;) {
      const { bytes, from: sender } = socket.receiveFrom();
      // A raw IPv4 socket receives the IP header, too. It receives the messages to all sockets.
      const message = family === 4 ? bytes.subarray((bytes[0]! & 15) * 4) : bytes;
      const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
      if (message[0] !== types[family].reply || view.getUint16(4) !== last) continue;
      if (sender.address !== address || !isEqual(message.subarray(4), request.subarray(4))) {
        throw new Error(
          `ping ${address} from ${from.name}: the reply of ${sender.address} differs`,
        );
      }
      return 'reply';
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.errno === errno.EMSGSIZE) return 'too large';
    if (error.errno === errno.ETIMEDOUT) return 'no reply';
    throw error;
  }
}

/** Returns an echo message with the sequence number 1, without a checksum. */
function echo(type: number, id: number, size: number): Uint8Array {
  const bytes = new Uint8Array(headerSize + size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, type);
  view.setUint16(4, id);
  view.setUint16(6, 1);
  bytes.set(pattern(size), headerSize);
  return bytes;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
