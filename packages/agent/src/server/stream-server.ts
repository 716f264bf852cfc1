import { closeFd, errno, type Platform, SysError, syscallNumbers } from '@heddle/sys';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, Epoll } from './epoll.ts';

/** What a server lets its clients cost; see `defaultLimits`. */
export interface ServerLimits {
  readonly clients: number;
  /** Reply bytes that may wait for one client; one that is sent more unasked is dropped. */
  readonly pendingBytes: number;
  /** Milliseconds without a request after which a client is closed, unless it stays. */
  readonly idleMs: number;
  /** Milliseconds for which a client may leave its replies unread. */
  readonly stalledMs: number;
}

export const defaultLimits: ServerLimits = {
  clients: 64,
  pendingBytes: 1024 * 1024,
  idleMs: 60_000,
  stalledMs: 10_000,
};

/** The server's side of one connection, as a protocol sees it. */
export interface Client {
  readonly isOpen: boolean;
  /** Queues an answer to what the client asked. */
  reply(bytes: Uint8Array): void;
  /** Sends what the client did not just ask for; drops it when it is too far behind. */
  push(bytes: Uint8Array): void;
  /** The client may be silent from now on: it waits for what is pushed. */
  stay(): void;
  /** Nothing more is answered: the connection ends once all replies are sent. */
  end(): void;
}

/** What has been read from one client, and how it is answered. */
export interface Conversation {
  /** Takes bytes; they are valid during the call. It may hold one request's worth and a chunk. */
  receive(bytes: Uint8Array): void;
  /** Answers the next request; false when no whole one is left. */
  answerNext(): boolean;
}

export interface StreamProtocol {
  /** `control client`: what a client is called in the log. */
  readonly clientName: string;
  readonly limits: ServerLimits;
  /**
   * What a client beyond the bound is told before it is closed. Absent: it is let in, and the one
   * that asked nothing for longest makes room, so that idle connections keep nobody out.
   */
  readonly refusal?: () => Uint8Array;
  converse(client: Client): Conversation;
}

// Below this many waiting reply bytes, further requests of the client are read and answered.
const lowWater = 64 * 1024;
const listenToken = 0;
// A flood of connections leaves room for the agent's other work between two batches.
const acceptsAtOnce = 16;
const MSG_NOSIGNAL = 0x4000;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_WR = 1;

/** `ending`: closed once what is pending is written. `draining`: all is said, the client is not. */
type Phase = 'open' | 'ending' | 'draining';

interface Connection {
  readonly fd: number;
  /** Its name in epoll and in the table of connections. */
  readonly token: number;
  conversation: Conversation;
  /** Replies not yet written, of the first one from `sent` on. */
  readonly out: Uint8Array[];
  sent: number;
  pending: number;
  stays: boolean;
  phase: Phase;
  /** The client has said all it will. */
  atEnd: boolean;
  /** What epoll waits for at present. */
  interest: number;
  lastRequestMs: number;
  lastProgressMs: number;
}

/**
 * Serves a protocol on a listening stream socket, unix or TCP, which it owns. Every client is
 * bounded in what it can make the agent hold: a request, `pendingBytes` of replies, and time.
 */
export class StreamServer implements Disposable {
  readonly #platform: Platform;
  readonly #protocol: StreamProtocol;
  readonly #limits: ServerLimits;
  readonly #listenFd: number;
  readonly #epoll: Epoll;
  readonly #connections = new Map<number, Connection>();
  readonly #chunk = new Uint8Array(16 * 1024);
  #lastToken = listenToken;
  /** When the next client may be late: nothing wakes the agent while all are within their time. */
  #sweep: { readonly dueMs: number; readonly timer: Disposable } | undefined;
  #pause: Disposable | undefined;

  /** `listenFd` is non-blocking; it is closed also when this throws SysError. */
  constructor(platform: Platform, listenFd: number, protocol: StreamProtocol) {
    this.#platform = platform;
    this.#protocol = protocol;
    this.#limits = protocol.limits;
    this.#listenFd = listenFd;
    let epoll: Epoll | undefined;
    try {
      epoll = new Epoll(platform, (token, events) => this.#ready(token, events));
      epoll.add(listenFd, listenToken, EPOLLIN);
      this.#epoll = epoll;
    } catch (error) {
      epoll?.[Symbol.dispose]();
      closeFd(platform, listenFd);
      throw error;
    }
  }

  /** Clients connected now. */
  get clients(): number {
    return this.#connections.size;
  }

  /** Stops listening and closes all clients. */
  [Symbol.dispose](): void {
    this.#sweep?.timer[Symbol.dispose]();
    this.#pause?.[Symbol.dispose]();
    for (const connection of [...this.#connections.values()]) this.#close(connection);
    this.#epoll[Symbol.dispose]();
    closeFd(this.#platform, this.#listenFd);
  }

  #ready(token: number, events: number): void {
    if (token === listenToken) {
      for (let i = 0; i < acceptsAtOnce && this.#accept(); i++);
      return;
    }
    const connection = this.#connections.get(token);
    if (!connection) return;
    if (events & (EPOLLHUP | EPOLLERR)) this.#close(connection);
    else if ((events & EPOLLIN) === 0 || this.#read(connection)) this.#serve(connection);
  }

  /** False when there was none to accept. */
  #accept(): boolean {
    const nr = syscallNumbers(this.#platform);
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = this.#platform.syscall(nr.accept4, this.#listenFd, 0, 0, flags);
    if (fd < 0) {
      // Out of descriptors or memory: the connection stays in the backlog and would wake us at once.
      if ([errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS].includes(-fd as never)) {
        const what = `accept ${this.#protocol.clientName}`;
        this.#platform.log('warn', new SysError('accept4', -fd, what).message);
        this.#epoll.change(this.#listenFd, listenToken, 0);
        this.#acceptLater();
      }
      return false;
    }
    if (this.#connections.size >= this.#limits.clients) {
      const { refusal } = this.#protocol;
      if (refusal) {
        const bytes = refusal();
        this.#platform.syscall(nr.sendto, fd, bytes, bytes.length, MSG_NOSIGNAL, 0, 0);
        closeFd(this.#platform, fd);
        return true;
      }
      this.#close(this.#longestIdle());
    }
    this.#open(fd);
    return true;
  }

  #acceptLater(): void {
    this.#pause = this.#platform.setTimer(1000, () => {
      try {
        this.#epoll.change(this.#listenFd, listenToken, EPOLLIN);
      } catch (error) {
        this.#platform.log('warn', (error as Error).message);
        this.#acceptLater();
      }
    });
  }

  #open(fd: number): void {
    const now = this.#nowMs();
    this.#lastToken = (this.#lastToken + 1) >>> 0 || 1;
    const token = this.#lastToken;
    const connection: Connection = {
      fd,
      token,
      conversation: silence,
      out: [],
      sent: 0,
      pending: 0,
      stays: false,
      phase: 'open',
      atEnd: false,
      interest: EPOLLIN,
      lastRequestMs: now,
      lastProgressMs: now,
    };
    const isOpen = () => this.#connections.get(token) === connection;
    connection.conversation = this.#protocol.converse({
      get isOpen() {
        return isOpen();
      },
      reply: (bytes) => this.#queue(connection, bytes),
      push: (bytes) => this.#push(connection, bytes),
      stay() {
        connection.stays = true;
      },
      end() {
        if (connection.phase === 'open') connection.phase = 'ending';
      },
    });
    this.#connections.set(token, connection);
    try {
      this.#epoll.add(fd, token, EPOLLIN);
    } catch (error) {
      // Nothing would ever wake us for this client.
      this.#connections.delete(token);
      closeFd(this.#platform, fd);
      throw error;
    }
    this.#sweepBy(this.#dueMs(connection));
  }

  #longestIdle(): Connection {
    const connections = [...this.#connections.values()];
    return connections.reduce((a, b) => (b.lastRequestMs < a.lastRequestMs ? b : a));
  }

  /** False when the client is gone. */
  #read(connection: Connection): boolean {
    const nr = syscallNumbers(this.#platform).read;
    const got = this.#platform.syscall(nr, connection.fd, this.#chunk, this.#chunk.length);
    if (got === -errno.EAGAIN || got === -errno.EINTR) return true;
    if (got < 0) {
      this.#close(connection);
      return false;
    }
    // At the end of its stream the client has said all; it may still want its answers.
    if (got === 0) connection.atEnd = true;
    else if (connection.phase === 'open') {
      connection.conversation.receive(this.#chunk.subarray(0, got));
    }
    return true;
  }

  /** Answers what was read, as long as the client takes its answers. */
  #serve(connection: Connection): void {
    let isMore = connection.phase === 'open';
    do {
      while (isMore && connection.pending < lowWater) {
        isMore = connection.conversation.answerNext() && connection.phase === 'open';
        if (isMore) connection.lastRequestMs = this.#nowMs();
      }
      if (!this.#send(connection)) {
        this.#close(connection);
        return;
      }
    } while (isMore && connection.pending < lowWater);
    const isDone = !isMore && (connection.atEnd || connection.phase !== 'open');
    if (isDone && connection.pending === 0) this.#finish(connection);
    else this.#settle(connection);
  }

  /**
   * Closes a connection on which all is said. A client that is still sending is heard out: bytes
   * that nobody reads would make the kernel reset the connection and throw the last reply away.
   */
  #finish(connection: Connection): void {
    if (connection.atEnd) {
      this.#close(connection);
      return;
    }
    if (connection.phase !== 'draining') {
      connection.phase = 'draining';
      const nr = syscallNumbers(this.#platform).shutdown;
      this.#platform.syscall(nr, connection.fd, SHUT_WR);
      connection.lastProgressMs = this.#nowMs();
    }
    this.#settle(connection);
  }

  /** Tells epoll what is to be waited for; who does not take answers is not read from either. */
  #settle(connection: Connection): void {
    const { phase, atEnd, pending } = connection;
    const isRead = phase === 'draining' || (phase === 'open' && !atEnd && pending < lowWater);
    const wanted = (isRead ? EPOLLIN : 0) | (pending > 0 ? EPOLLOUT : 0);
    this.#sweepBy(this.#dueMs(connection));
    if (wanted === connection.interest) return;
    connection.interest = wanted;
    this.#epoll.change(connection.fd, connection.token, wanted);
  }

  #push(connection: Connection, bytes: Uint8Array): void {
    if (this.#connections.get(connection.token) !== connection) return;
    this.#queue(connection, bytes);
    if (connection.pending > this.#limits.pendingBytes) {
      const { clientName } = this.#protocol;
      this.#platform.log('warn', `drop ${clientName}: it does not read the events it follows`);
      this.#close(connection);
      return;
    }
    if (this.#send(connection)) this.#settle(connection);
    else this.#close(connection);
  }

  #queue(connection: Connection, bytes: Uint8Array): void {
    if (connection.pending === 0) connection.lastProgressMs = this.#nowMs();
    connection.out.push(bytes);
    connection.pending += bytes.length;
  }

  /** Writes what the socket takes; false when the client is gone. */
  #send(connection: Connection): boolean {
    const nr = syscallNumbers(this.#platform).sendto;
    const { fd, out } = connection;
    while (out.length > 0) {
      const bytes = connection.sent === 0 ? out[0]! : out[0]!.subarray(connection.sent);
      const put = this.#platform.syscall(nr, fd, bytes, bytes.length, MSG_NOSIGNAL, 0, 0);
      if (put === -errno.EINTR) continue;
      if (put === -errno.EAGAIN) return true;
      if (put < 0) return false;
      connection.lastProgressMs = this.#nowMs();
      connection.pending -= put;
      connection.sent += put;
      if (put === bytes.length) {
        out.shift();
        connection.sent = 0;
      }
    }
    return true;
  }

  #close(connection: Connection): void {
    if (!this.#connections.delete(connection.token)) return;
    this.#epoll.remove(connection.fd);
    closeFd(this.#platform, connection.fd);
  }

  /** When a client is late, on the clock of #nowMs. */
  #dueMs({ phase, pending, stays, lastProgressMs, lastRequestMs }: Connection): number {
    if (pending > 0 || phase === 'draining') return lastProgressMs + this.#limits.stalledMs;
    return stays ? Number.POSITIVE_INFINITY : lastRequestMs + this.#limits.idleMs;
  }

  #sweepBy(dueMs: number): void {
    if (dueMs >= (this.#sweep?.dueMs ?? Number.POSITIVE_INFINITY)) return;
    this.#sweep?.timer[Symbol.dispose]();
    const timer = this.#platform.setTimer(Math.max(0, dueMs - this.#nowMs()), () => {
      this.#sweep = undefined;
      this.#dropLate();
    });
    this.#sweep = { dueMs, timer };
  }

  #dropLate(): void {
    const now = this.#nowMs();
    for (const connection of [...this.#connections.values()]) {
      const dueMs = this.#dueMs(connection);
      if (dueMs <= now) this.#close(connection);
      else this.#sweepBy(dueMs);
    }
  }

  #nowMs(): number {
    return Number(this.#platform.monotonicNs() / 1_000_000n);
  }
}

/** Stands in a connection until its protocol has been asked for a conversation. */
const silence: Conversation = { receive() {}, answerNext: () => false };
