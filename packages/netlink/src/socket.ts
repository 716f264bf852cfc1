import { checked, closeFd, decodeCString, errno, type Platform, syscallNumbers } from '@heddle/sys';
import {
  AF_NETLINK,
  encodeInt,
  MSG_DONTWAIT,
  MSG_PEEK,
  MSG_TRUNC,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from '@heddle/sys/net';
import { isNetlinkError, MalformedMessage, NetlinkError } from './errors.ts';
import { enterNamespace } from './namespace.ts';
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  readMessages,
} from './wire.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;

const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NLMSGERR_ATTR_MSG = 1;
const dumpAttempts = 8;

/**
 * A netlink socket. It belongs to the network namespace in which it was opened, also after its
 * process has entered another one. Requests are synchronous: the kernel answers rtnetlink and
 * sock_diag requests before sendto(2) returns, so no method waits.
 */
export class NetlinkSocket implements Disposable {
  readonly #platform: Platform;
  readonly #nr: ReturnType<typeof syscallNumbers>;
  readonly #protocol: number;
  /** Negative once closed. */
  #descriptor: number;
  #sequence = 0;
  #buffer = new Uint8Array(65536);

  /** `protocol` is a NETLINK_* number (linux/netlink.h). Throws SysError. */
  constructor(platform: Platform, protocol: number = NETLINK_ROUTE) {
    this.#platform = platform;
    this.#protocol = protocol;
    this.#nr = syscallNumbers(platform);
    this.#descriptor = checked(
      'socket',
      platform.syscall(this.#nr.socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol),
      'open netlink socket',
    );
    // The kernel's explanations of errors (Linux 4.12), and short acknowledgements (4.3).
    const on = encodeInt(1);
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) {
      platform.syscall(this.#nr.setsockopt, this.fd, SOL_NETLINK, option, on, on.length);
    }
  }

  /**
   * Opens a socket of the same protocol in the network namespace that the descriptor `namespaceFd`
   * refers to. Throws SysError.
   */
  openIn(namespaceFd: number): NetlinkSocket {
    return enterNamespace(
      this.#platform,
      namespaceFd,
      () => new NetlinkSocket(this.#platform, this.#protocol),
    );
  }

  /** The descriptor, for `Platform.onReadable`. Throws an Error once the socket is closed. */
  get fd(): number {
    if (this.#descriptor < 0) throw new Error('use netlink socket: it is closed');
    return this.#descriptor;
  }

  get isClosed(): boolean {
    return this.#descriptor < 0;
  }

  /**
   * Joins multicast groups (RTMGRP_* bits), whose messages `receiveNotification` then returns. A
   * socket that has joined groups must not be used for requests. Up to `bufferBytes` wait to be read, if the kernel
   * permits it. Throws NetlinkError.
   */
  subscribe(groups: number, bufferBytes: number): void {
    // struct sockaddr_nl: family u16, pad u16, port id u32, groups u32.
    const address = new Uint8Array(12);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_NETLINK, true);
    view.setUint32(8, groups, true);
    const result = this.#platform.syscall(this.#nr.bind, this.fd, address, address.length);
    if (result < 0) throw new NetlinkError('subscribe to netlink groups', -result);
    const size = encodeInt(bufferBytes);
    const setsockopt = this.#nr.setsockopt;
    this.#platform.syscall(setsockopt, this.fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length);
  }

  /**
   * Returns the messages of the next datagram from the joined groups, or undefined when none waits.
   * Throws NetlinkError (ENOBUFS when datagrams were lost) and MalformedMessage.
   */
  receiveNotification(): Message[] | undefined {
    try {
      return this.#receive('receive netlink notification');
    } catch (error) {
      if (isNetlinkError(error, 'EAGAIN')) return undefined;
      throw error;
    }
  }

  /**
   * Sends a request and returns the messages that the kernel sends before its acknowledgement.
   * `what` reads `verb noun` and opens the message of errors. Throws NetlinkError.
   */
  request(writer: MessageWriter, what: string): Message[] {
    const sequence = this.#send(writer, NLM_F_ACK, what);
    const answers: Message[] = [];
    for (;;) {
      for (const message of this.#receive(what)) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR) {
          throwIfRefused(message, what);
          return answers;
        }
        answers.push(message);
      }
    }
  }

  /**
   * Lists a table. A listing is not consistent when the table has changed meanwhile
   * (NLM_F_DUMP_INTR) or the receive buffer has overrun (ENOBUFS); it is discarded and repeated up
   * to 8 times, and then fails with EINTR or ENOBUFS. Throws NetlinkError.
   */
  dump(writer: MessageWriter, what: string): Message[] {
    for (let attempt = 1; ; attempt++) {
      const outcome = this.#dumpOnce(writer, what);
      if (typeof outcome !== 'number') return outcome;
      if (attempt === dumpAttempts) {
        throw new NetlinkError(what, outcome, `no consistent answer in ${dumpAttempts} attempts`);
      }
    }
  }

  /** Closes the socket; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    closeFd(this.#platform, this.#descriptor);
    this.#descriptor = -1;
  }

  /** Returns the messages, or the errno because of which the listing has to be repeated. */
  #dumpOnce(writer: MessageWriter, what: string): Message[] | number {
    const sequence = this.#send(writer, NLM_F_DUMP, what);
    const answers: Message[] = [];
    let repeatFor = 0;
    // An inconsistent listing is read to its end too, because a socket can run only one at a time.
    for (;;) {
      let messages: Message[];
      try {
        messages = this.#receive(what);
      } catch (error) {
        if (!isNetlinkError(error, 'ENOBUFS')) throw error;
        repeatFor = error.errno;
        continue;
      }
      for (const message of messages) {
        if (message.sequence !== sequence) continue;
        if (message.flags & NLM_F_DUMP_INTR) repeatFor = errno.EINTR;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          throwIfRefused(message, what);
          return repeatFor === 0 ? answers : repeatFor;
        }
        answers.push(message);
      }
    }
  }

  #send(writer: MessageWriter, flags: number, what: string): number {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1;
    const bytes = writer.finish(this.#sequence, flags);
    let sent: number;
    do {
      sent = this.#platform.syscall(this.#nr.sendto, this.fd, bytes, bytes.length, 0, 0, 0);
    } while (sent === -errno.EINTR);
    if (sent < 0) throw new NetlinkError(what, -sent);
    return this.#sequence;
  }

  #receive(what: string): Message[] {
    const size = this.#receiveBytes(MSG_PEEK | MSG_TRUNC, what);
    if (size > this.#buffer.length) this.#buffer = new Uint8Array(size);
    const length = this.#receiveBytes(0, what);
    // Messages are views of the bytes, and the next datagram overwrites the buffer, so they get a copy.
    return readMessages(this.#buffer.slice(0, length));
  }

  #receiveBytes(flags: number, what: string): number {
    for (;;) {
      const got = this.#platform.syscall(
        this.#nr.recvfrom,
        this.fd,
        this.#buffer,
        this.#buffer.length,
        flags | MSG_DONTWAIT,
        0,
        0,
      );
      if (got === -errno.EINTR) continue;
      if (got === -errno.EAGAIN) throw new NetlinkError(what, errno.EAGAIN, 'no answer came');
      if (got < 0) throw new NetlinkError(what, -got);
      return got;
    }
  }
}

/**
 * Throws a NetlinkError with the kernel's explanation for an NLMSG_ERROR or NLMSG_DONE message that
 * reports a failure; returns for one that reports success. Throws MalformedMessage.
 */
export function throwIfRefused(message: Message, what: string): void {
  const { body } = message;
  // An NLMSG_DONE without a code reports success.
  if (body.length < 4) {
    if (message.type === NLMSG_DONE) return;
    throw new MalformedMessage(`read netlink acknowledgement: ${body.length} bytes`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const code = view.getInt32(0, true);
  if (code >= 0) return;
  let detail = '';
  if (message.flags & NLM_F_ACK_TLVS) {
    let at = 4;
    if (message.type === NLMSG_ERROR) {
      // The request's header follows, and its payload unless NLM_F_CAPPED is set.
      if (body.length < 20) {
        throw new MalformedMessage(`read netlink acknowledgement: ${body.length} bytes`);
      }
      at = message.flags & NLM_F_CAPPED ? 20 : 4 + ((view.getUint32(4, true) + 3) & ~3);
    }
    const text = Attributes.read(body.subarray(at)).bytes(NLMSGERR_ATTR_MSG);
    if (text) detail = decodeCString(text);
  }
  throw new NetlinkError(what, -code, detail);
}
