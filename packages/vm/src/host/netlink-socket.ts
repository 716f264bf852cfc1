import { errno } from '@heddle/sys';
import { VmObject } from '../objects.ts';
import { type Address, toBytes } from './address.ts';
import type { VmNamespace } from './namespace.ts';

const HEADER = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const NLM_F_MULTI = 2;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
/** Number of the device that has the addresses; lo is 1. */
const DEVICE = 2;
const MSG_PEEK = 2;
const MSG_TRUNC = 0x20;

/**
 * A routing netlink socket (rtnetlink(7)) that lists the addresses of its namespace, and refuses
 * other requests with EOPNOTSUPP.
 */
export class NetlinkObject extends VmObject {
  readonly #namespace: VmNamespace;
  readonly #answers: Uint8Array[] = [];

  constructor(namespace: VmNamespace) {
    super('file', 0);
    this.#namespace = namespace;
  }

  /** Answers at once, as the kernel does. */
  send(request: Uint8Array): number {
    const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
    const type = view.getUint16(4, true);
    const sequence = view.getUint32(8, true);
    if (type === RTM_GETADDR) {
      const { v4, v6 } = this.#namespace;
      const messages = [addressBody(4, v4), addressBody(6, v6)].map((body) =>
        message(RTM_NEWADDR, NLM_F_MULTI, sequence, body),
      );
      this.#answers.push(
        joined([...messages, message(NLMSG_DONE, NLM_F_MULTI, sequence, new Uint8Array(4))]),
      );
    } else {
      const refusal = new Uint8Array(4 + HEADER);
      new DataView(refusal.buffer).setInt32(0, -errno.EOPNOTSUPP, true);
      refusal.set(request.subarray(0, HEADER), 4);
      this.#answers.push(message(NLMSG_ERROR, 0, sequence, refusal));
    }
    return request.length;
  }

  /** The next answer, as recvfrom(2) gives it: with MSG_TRUNC its whole length counts. */
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
  const head = Uint8Array.of(family, bytes.length * 8, 0, 0, DEVICE, 0, 0, 0);
  return joined([head, attribute(IFA_ADDRESS, bytes), attribute(IFA_LOCAL, bytes)]);
}

function attribute(type: number, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(4 + bytes.length);
  const view = new DataView(whole.buffer);
  view.setUint16(0, whole.length, true);
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
