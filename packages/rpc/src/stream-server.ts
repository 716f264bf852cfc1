import { allOrNothing, closeFd, errno, type Platform, SysError, syscallNumbers } from '@heddle/sys';
import {
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  Epoll,
  MSG_NOSIGNAL,
  receiveWithDescriptors,
  SHUT_WR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
} from '@heddle/sys/net';
import type { ServerLimits, Session, StreamProtocol } from './stream-protocol.ts';

/** Further requests of a client are read and answered while fewer reply bytes than this wait for it. */
const lowWater = 64 * 1024;
const listenToken = 0;
/** Connections accepted in a row: a flood of them must leave time for the other work of the thread. */
const acceptBatch = 16;

/** `ending`: closed once all replies are written. `draining`: all are written, the client still sends. */
type Phase = 'open' | 'ending' | 'draining';

interface Connection {
  readonly fd: number;
  /** Identifies the connection in epoll and in the table of connections. */
  readonly token: number;
  session: Session;
  /** Replies that are not written yet; of the first one, `sent` bytes are. */
  readonly out: Uint8Array[];
  sent: number;
  pending: number;
  keptOpen: boolean;
  /** A reply comes later. */
  waits: boolean;
  phase: Phase;
  /** The client has shut down its side. */
  atEnd: boolean;
  /** The events that epoll waits for. */
  interest: number;
  lastRequestMs: number;
  lastProgressMs: number;
}

/**
 * Serves a protocol on a listening stream socket, unix or TCP, which it owns. Every client is
 * bounded: it can make the process hold one request, `pendingBytes` of replies, and a connection
 * for a limited time.
 */
export class StreamServer implements Disposable {
  readonly #platform: Platform;
  readonly #protocol: StreamProtocol;
  readonly #limits: ServerLimits;
  readonly #listenFd: number;
  readonly #epoll: Epoll;
  readonly #watch: Disposable;
  readonly #connections = new Map<number, Connection>();
  readonly #chunk = new Uint8Array(16 * 1024);
  #lastToken = listenToken;
  /** The timer for the client that is due first; no timer runs while no client can be late. */
  #sweep: { readonly dueMs: number; readonly timer: Disposable } | undefined;
  #pause: Disposable | undefined;

  /** `listenFd` is non-blocking. It is closed also when this throws SysError. */
  constructor(platform: Platform, listenFd: number, protocol: StreamProtocol) {
    this.#platform = platform;
    this.#protocol = protocol;
    this.#limits = protocol.limits;
    this.#listenFd = listenFd;
    [this.#epoll, this.#watch] = allOrNothing((opened): [Epoll, Disposable] => {
      opened.use({ [Symbol.dispose]: () => closeFd(platform, listenFd) });
      const epoll = opened.use(new Epoll(platform));
      epoll.add(listenFd, listenToken, EPOLLIN);
      const ready = (token: number, events: number) => this.#ready(token, events);
      return [epoll, platform.onReadable(epoll.fd, () => epoll.wait(0, ready))];
    });
  }

  /** The number of connected clients. */
  get clients(): number {
    return this.#connections.size;
  }

  /** Stops listening and closes all clients. */
  [Symbol.dispose](): void {
    this.#sweep?.timer[Symbol.dispose]();
    this.#pause?.[Symbol.dispose]();
    for (const connection of [...this.#connections.values()]) this.#close(connection);
    this.#watch[Symbol.dispose]();
    this.#epoll[Symbol.dispose]();
    closeFd(this.#platform, this.#listenFd);
  }

  #ready(token: number, events: number): void {
    if (token === listenToken) {
      for (let i = 0; i < acceptBatch && this.#accept(); i++);
      return;
    }
    const connection = this.#connections.get(token);
    if (!connection) return;
    if (events & (EPOLLHUP | EPOLLERR)) this.#close(connection);
    else if ((events & EPOLLIN) === 0 || this.#read(connection)) this.#serve(connection);
  }

  /** Returns false when there was no connection to accept. */
  #accept(): boolean {
    const nr = syscallNumbers(this.#platform);
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = this.#platform.syscall(nr.accept4, this.#listenFd, 0, 0, flags);
    if (fd < 0) {
      // Without descriptors or memory the connection stays in the backlog and epoll reports it again
      // at once, so accepting pauses.
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
      session: emptySession,
      out: [],
      sent: 0,
      pending: 0,
      keptOpen: false,
      waits: false,
      phase: 'open',
      atEnd: false,
      interest: EPOLLIN,
      lastRequestMs: now,
      lastProgressMs: now,
    };
    const isOpen = () => this.#connections.get(token) === connection;
    connection.session = this.#protocol.newSession({
      get isOpen() {
        return isOpen();
      },
      reply: (bytes) => this.#queue(connection, bytes),
      push: (bytes) => this.#push(connection, bytes),
      keepOpen() {
        connection.keptOpen = true;
      },
      wait() {
        connection.waits = true;
      },
      end: () => {
        if (connection.phase === 'open') connection.phase = 'ending';
        if (!connection.waits) return;
        connection.waits = false;
        if (isOpen()) this.#serve(connection);
      },
    });
    this.#connections.set(token, connection);
    try {
      this.#epoll.add(fd, token, EPOLLIN);
    } catch (error) {
      // Without epoll the client would never be served.
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

  /** Returns false when the client is gone. */
  #read(connection: Connection): boolean {
    const got = this.#receive(connection);
    if (got === -errno.EAGAIN || got === -errno.EINTR) return true;
    if (got < 0) {
      this.#close(connection);
      return false;
    }
    // A client that has shut down its side may still read replies.
    if (got === 0) {
      connection.atEnd = true;
      connection.session.receiveEnd?.();
    } else if (connection.phase === 'open') {
      connection.session.receive(this.#chunk.subarray(0, got));
    }
    return true;
  }

  #receive({ fd, session }: Connection): number {
    const platform = this.#platform;
    if (this.#protocol.takesDescriptors) {
      return receiveWithDescriptors(platform, fd, this.#chunk, (descriptors) => {
        if (session.receiveDescriptors) session.receiveDescriptors(descriptors);
        else for (const each of descriptors) closeFd(platform, each);
      });
    }
    return platform.syscall(syscallNumbers(platform).read, fd, this.#chunk, this.#chunk.length);
  }

  /** Answers the received requests for as long as the client reads its replies. */
  #serve(connection: Connection): void {
    let isMore = connection.phase === 'open';
    do {
      while (isMore && connection.pending < lowWater) {
        isMore = connection.session.answerNext() && connection.phase === 'open';
        if (isMore) connection.lastRequestMs = this.#nowMs();
      }
      if (!this.#send(connection)) {
        this.#close(connection);
        return;
      }
    } while (isMore && connection.pending < lowWater);
    const isDone =
      !isMore && !connection.waits && (connection.atEnd || connection.phase !== 'open');
    if (isDone && connection.pending === 0) this.#finish(connection);
    else this.#updateInterest(connection);
  }

  /**
   * Closes a connection whose replies are all written. The bytes of a client that is still sending
   * are read until it stops: unread bytes would make the kernel reset the connection and discard
   * the last reply.
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
    this.#updateInterest(connection);
  }

  /** Updates the events that epoll waits for. A client that does not read is not read from either. */
  #updateInterest(connection: Connection): void {
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
      this.#platform.log('warn', `drop ${clientName}: it does not read its events`);
      this.#close(connection);
      return;
    }
    if (this.#send(connection)) this.#updateInterest(connection);
    else this.#close(connection);
  }

  #queue(connection: Connection, bytes: Uint8Array): void {
    if (connection.pending === 0) connection.lastProgressMs = this.#nowMs();
    connection.out.push(bytes);
    connection.pending += bytes.length;
  }

  /** Writes as much as the socket accepts; returns false when the client is gone. */
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
    connection.session.close?.();
  }

  /** Returns when a client is closed if nothing happens, on the clock of #nowMs. */
  #dueMs(connection: Connection): number {
    const { phase, pending, keptOpen, waits, lastProgressMs, lastRequestMs } = connection;
    if (pending > 0 || phase === 'draining') return lastProgressMs + this.#limits.stalledMs;
    return keptOpen || waits ? Number.POSITIVE_INFINITY : lastRequestMs + this.#limits.idleMs;
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

/** The session of a connection until its protocol has made one. */
const emptySession: Session = { receive() {}, answerNext: () => false };
