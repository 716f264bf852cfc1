import { checked, closeFd, decodeCString, errno, type Platform, syscallNumbers } from '@heddle/sys';
import {
  AF_NETLINK,
  encodeInt,
  MSG_DONTWAIT,
  MSG_PEEK,
  MSG_TRUNC,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from '@heddle/sys/net';
import { MalformedMessage, NetlinkError } from './errors.ts';
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
 * A netlink socket. It belongs to the network namespace in which it was opened, wherever its owner
 * goes afterwards. Requests are synchronous: the kernel answers rtnetlink and sock_diag requests
 * while they are being sent, so nothing here ever waits.
 */
export class NetlinkSocket implements Disposable {
  readonly #platform: Platform;
  readonly #nr: ReturnType<typeof syscallNumbers>;
  /** Negative once closed. */
  #descriptor: number;
  #sequence = 0;
  #buffer = new Uint8Array(65536);

  /** `protocol` is a NETLINK_* number (linux/netlink.h). Throws SysError. */
  constructor(platform: Platform, protocol: number = NETLINK_ROUTE) {
    this.#platform = platform;
    this.#nr = syscallNumbers(platform);
    this.#descriptor = checked(
      'socket',
      platform.syscall(this.#nr.socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol),
      'open netlink socket',
    );
    // Readable reasons instead of a bare errno (Linux 4.12), and short acknowledgements (4.3).
    const on = encodeInt(1);
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) {
      platform.syscall(this.#nr.setsockopt, this.#fd, SOL_NETLINK, option, on, on.length);
    }
  }

  /**
   * Sends a request and returns the messages that answered it before the acknowledgement.
   * `what` reads `verb noun` and opens the error's message. Throws NetlinkError.
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
   * Lists a table. A listing during which the table changed (NLM_F_DUMP_INTR), or that ran out of
   * buffer (ENOBUFS), is not consistent: it is thrown away and repeated a few times, and then
   * fails with EINTR or ENOBUFS. Throws NetlinkError.
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

  get #fd(): number {
    if (this.#descriptor < 0) throw new Error('use netlink socket: it is closed');
    return this.#descriptor;
  }

  /** The messages, or the errno for which the listing is worth repeating. */
  #dumpOnce(writer: MessageWriter, what: string): Message[] | number {
    const sequence = this.#send(writer, NLM_F_DUMP, what);
    const answers: Message[] = [];
    let repeatFor = 0;
    // Also an inconsistent listing is read to its end: the kernel runs one per socket.
    for (;;) {
      let messages: Message[];
      try {
        messages = this.#receive(what);
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== 'ENOBUFS') throw error;
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
      sent = this.#platform.syscall(this.#nr.sendto, this.#fd, bytes, bytes.length, 0, 0, 0);
    } while (sent === -errno.EINTR);
    if (sent < 0) throw new NetlinkError(what, -sent);
    return this.#sequence;
  }

  #receive(what: string): Message[] {
    const size = this.#receiveBytes(MSG_PEEK | MSG_TRUNC, what);
    if (size > this.#buffer.length) this.#buffer = new Uint8Array(size);
    const length = this.#receiveBytes(0, what);
    // Messages are views, so they get bytes of their own that the next datagram doesn't overwrite.
    return readMessages(this.#buffer.slice(0, length));
  }

  #receiveBytes(flags: number, what: string): number {
    for (;;) {
      const got = this.#platform.syscall(
        this.#nr.recvfrom,
        this.#fd,
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
 * Throws the NetlinkError that an NLMSG_ERROR or NLMSG_DONE message stands for, with the kernel's
 * reason; an acknowledgement of success passes. Exported for the tests.
 */
export function throwIfRefused(message: Message, what: string): void {
  const { body } = message;
  // An NLMSG_DONE without a code ends a listing well.
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
      // The request's header follows, and its payload when it is echoed.
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
