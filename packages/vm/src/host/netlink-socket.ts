import { errno } from '@heddle/sys';
import { MSG_PEEK, MSG_TRUNC } from '@heddle/sys/net';
import { VmObject } from '../objects.ts';
import { type Address, toBytes } from './address.ts';
import { externalIfindex } from './devices.ts';
import type { VmNamespace } from './namespace.ts';

const HEADER = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
/** The request type of sock_diag(7). No other listing has this number. */
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_DUMP = 0x300;
const NLM_F_MULTI = 2;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const RTA_OIF = 4;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
const LOOPBACK = 1;

/**
 * A routing netlink socket (rtnetlink(7)) that lists interfaces, addresses and routes: lo, and an external
 * interface with the addresses and the default route. Other requests fail with EOPNOTSUPP.
 */
export class NetlinkObject extends VmObject {
  readonly #namespace: VmNamespace;
  readonly #answers: Uint8Array[] = [];

  constructor(namespace: VmNamespace) {
    super('file', 0);
    this.#namespace = namespace;
  }

  /** Queues the response at once, as the kernel does. */
  send(request: Uint8Array): number {
    const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
    const sequence = view.getUint32(8, true);
    const list = this.#list(view.getUint16(4, true), request[HEADER] ?? 0);
    if (list && (view.getUint16(6, true) & NLM_F_DUMP) === NLM_F_DUMP) {
      const [type, bodies] = list;
      const messages = bodies.map((body) => message(type, NLM_F_MULTI, sequence, body));
      const end = message(NLMSG_DONE, NLM_F_MULTI, sequence, new Uint8Array(4));
      this.#answers.push(joined([...messages, end]));
    } else {
      const refusal = new Uint8Array(4 + HEADER);
      new DataView(refusal.buffer).setInt32(0, -errno.EOPNOTSUPP, true);
      refusal.set(request.subarray(0, HEADER), 4);
      this.#answers.push(message(NLMSG_ERROR, 0, sequence, refusal));
    }
    return request.length;
  }

  /** Returns the type and the bodies of a listing's messages, or undefined if there is no such table. */
  #list(type: number, family: number): [type: number, bodies: Uint8Array[]] | undefined {
    const { v4, v6 } = this.#namespace;
    switch (type) {
      case RTM_GETLINK:
        return [
          RTM_NEWLINK,
          [
            linkBody(LOOPBACK, 'lo', IFF_UP | IFF_LOOPBACK, 65_536),
            linkBody(externalIfindex, 'eth0', IFF_UP, 1500),
          ],
        ];
      case RTM_GETADDR:
        return [RTM_NEWADDR, [addressBody(4, v4), addressBody(6, v6)]];
      case RTM_GETROUTE:
        return [RTM_NEWROUTE, [defaultRoute(family)]];
      case SOCK_DIAG_BY_FAMILY:
        // The processes of the simulated host have no sockets.
        return [SOCK_DIAG_BY_FAMILY, []];
      default:
        return undefined;
    }
  }

  /** Returns the next response for recvfrom(2). With MSG_TRUNC the result is its whole length. */
  receive(into: Uint8Array, flags: number): number {
    const next = this.#answers[0];
    if (!next) return -errno.EAGAIN;
    if (!(flags & MSG_PEEK)) this.#answers.shift();
    const part = next.subarray(0, into.length);
    into.set(part);
    return flags & MSG_TRUNC ? next.length : part.length;
  }

  protected override destroy(): void {}
}

/** struct ifaddrmsg (family, prefix length, flags, scope, index) and two attributes. */
function addressBody(version: 4 | 6, address: Address): Uint8Array {
  const bytes = toBytes(address).subarray(version === 4 ? 12 : 0);
  const family = version === 4 ? 2 : 10;
  const head = Uint8Array.of(family, bytes.length * 8, 0, 0, externalIfindex, 0, 0, 0);
  return joined([head, attribute(IFA_ADDRESS, bytes), attribute(IFA_LOCAL, bytes)]);
}

/** struct ifinfomsg (family, type, index, flags, change) and attributes. */
function linkBody(index: number, name: string, flags: number, mtu: number): Uint8Array {
  const head = new Uint8Array(16);
  const view = new DataView(head.buffer);
  view.setUint32(4, index, true);
  view.setUint32(8, flags, true);
  const text = Uint8Array.from(`${name}\0`.padEnd(8, '\0'), (letter) => letter.charCodeAt(0));
  const address = Uint8Array.of(2, 0, 0, 0, 0, index, 0, 0);
  return joined([
    head,
    attribute(IFLA_IFNAME, text),
    attribute(IFLA_ADDRESS, address, 6),
    attribute(IFLA_MTU, u32(mtu)),
  ]);
}

/** struct rtmsg (family, lengths of the ends, tos, table, protocol, scope, type, flags), and the device. */
function defaultRoute(family: number): Uint8Array {
  const head = Uint8Array.of(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, RTN_UNICAST, 0, 0, 0, 0);
  return joined([head, attribute(RTA_OIF, u32(externalIfindex))]);
}

const u32 = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);

/** `bytes` are padded to a multiple of four; `length` is that without padding. */
function attribute(type: number, bytes: Uint8Array, length = bytes.length): Uint8Array {
  const whole = new Uint8Array(4 + bytes.length);
  const view = new DataView(whole.buffer);
  view.setUint16(0, 4 + length, true);
  view.setUint16(2, type, true);
  whole.set(bytes, 4);
  return whole;
}

/** struct nlmsghdr (length, type, flags, sequence, port) and the body, whose length is a multiple of 4. */
function message(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(HEADER + body.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, whole.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  whole.set(body, HEADER);
  return whole;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
