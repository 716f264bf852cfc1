import { closeFd, errno, type Platform, removeFile, SysError, syscallNumbers } from '@heddle/sys';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, Epoll } from './epoll.ts';
import {
  ControlError,
  encodeReply,
  LineReader,
  longestRequest,
  parseRequest,
  type Reply,
  type Request,
} from './protocol.ts';
import { listenUnix } from './unix-socket.ts';

/** Bounds of the server; each has a value that suits an agent. */
export interface ServerLimits {
  readonly clients: number;
  /** Reply bytes that may wait for one client; a follower that falls behind further is dropped. */
  readonly pendingBytes: number;
  /** Milliseconds without a request after which a client that follows nothing is closed. */
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

// Below this many waiting reply bytes, further requests of the client are read and answered.
const lowWater = 64 * 1024;
const listenToken = 0;
// A flood of connections leaves room for the agent's other work between two batches.
const acceptsAtOnce = 16;
const MSG_NOSIGNAL = 0x4000;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** Sends events to one client; false once the client is gone or too far behind. */
export type Follow = (event: unknown) => boolean;

/** Answers a request with a result, or throws ControlError. Another error becomes `internal`. */
export type Handler = (request: Request, follow: Follow) => unknown;

interface Client {
  readonly fd: number;
  /** Its name in epoll and in the table of clients. */
  readonly token: number;
  readonly reader: LineReader;
  /** Reply lines not yet written, of the first one from `sent` on. */
  readonly out: Uint8Array[];
  sent: number;
  pending: number;
  following: boolean;
  /** Nothing more is read; closed once what is pending is written. */
  ending: boolean;
  /** What epoll waits for at present. */
  interest: number;
  lastRequestMs: number;
  lastProgressMs: number;
}

/**
 * Serves the control protocol on a unix socket of mode 0600. Every client is bounded in what it
 * can make the agent hold: one request line, `pendingBytes` of replies, and time.
 */
export class ControlServer implements Disposable {
  readonly #platform: Platform;
  readonly #path: string;
  readonly #handler: Handler;
  readonly #limits: ServerLimits;
  readonly #listenFd: number;
  readonly #epoll: Epoll;
  readonly #clients = new Map<number, Client>();
  readonly #chunk = new Uint8Array(16 * 1024);
  #lastToken = listenToken;
  #sweep: Disposable | undefined;
  #pause: Disposable | undefined;

  /** Starts to listen. Throws AlreadyListening or SysError. */
  constructor(
    platform: Platform,
    path: string,
    handler: Handler,
    limits: ServerLimits = defaultLimits,
  ) {
    this.#platform = platform;
    this.#path = path;
    this.#handler = handler;
    this.#limits = limits;
    this.#listenFd = listenUnix(platform, path);
    this.#epoll = new Epoll(platform, (token, events) => this.#ready(token, events));
    this.#epoll.add(this.#listenFd, listenToken, EPOLLIN);
  }

  /** Clients connected now. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Stops listening, closes all clients and removes the socket. */
  [Symbol.dispose](): void {
    this.#sweep?.[Symbol.dispose]();
    this.#pause?.[Symbol.dispose]();
    for (const client of [...this.#clients.values()]) this.#close(client);
    this.#epoll[Symbol.dispose]();
    removeFile(this.#platform, this.#path);
    closeFd(this.#platform, this.#listenFd);
  }

  #ready(token: number, events: number): void {
    if (token === listenToken) {
      for (let i = 0; i < acceptsAtOnce && this.#accept(); i++);
      return;
    }
    const client = this.#clients.get(token);
    if (!client) return;
    if (events & (EPOLLHUP | EPOLLERR)) this.#close(client);
    else if ((events & EPOLLIN) === 0 || this.#read(client)) this.#serve(client);
  }

  /** False when there was none to accept. */
  #accept(): boolean {
    const nr = syscallNumbers(this.#platform).accept4;
    const fd = this.#platform.syscall(nr, this.#listenFd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      // Out of descriptors or memory: the connection stays in the backlog and would wake us at once.
      if ([errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS].includes(-fd as never)) {
        this.#platform.log('warn', new SysError('accept4', -fd, 'accept control client').message);
        this.#epoll.change(this.#listenFd, listenToken, 0);
        this.#pause = this.#platform.setTimer(1000, () =>
          this.#epoll.change(this.#listenFd, listenToken, EPOLLIN),
        );
      }
      return false;
    }
    const now = this.#nowMs();
    this.#lastToken = (this.#lastToken + 1) >>> 0 || 1;
    const client: Client = {
      fd,
      token: this.#lastToken,
      reader: new LineReader(longestRequest),
      out: [],
      sent: 0,
      pending: 0,
      following: false,
      ending: false,
      interest: EPOLLIN,
      lastRequestMs: now,
      lastProgressMs: now,
    };
    if (this.#clients.size >= this.#limits.clients) {
      this.#refuse(client);
      return true;
    }
    this.#epoll.add(fd, client.token, client.interest);
    this.#clients.set(client.token, client);
    this.#sweep ??= this.#platform.setTimer(this.#sweepMs, () => this.#dropLate());
    return true;
  }

  #refuse(client: Client): void {
    const message = `serve control client: ${this.#limits.clients} clients are connected already (close one, or try again)`;
    this.#queue(client, { id: null, error: { code: 'busy', message } });
    this.#send(client);
    closeFd(this.#platform, client.fd);
  }

  /** False when the client is gone. */
  #read(client: Client): boolean {
    const nr = syscallNumbers(this.#platform).read;
    const got = this.#platform.syscall(nr, client.fd, this.#chunk, this.#chunk.length);
    if (got === -errno.EAGAIN || got === -errno.EINTR) return true;
    if (got < 0) {
      this.#close(client);
      return false;
    }
    // At the end of its stream the client has said all; it may still want its answers.
    if (got === 0) client.ending = true;
    else client.reader.push(this.#chunk.subarray(0, got));
    return true;
  }

  /** Answers what was read, as long as the client takes its answers. */
  #serve(client: Client): void {
    const { reader } = client;
    do {
      while (client.pending < lowWater) {
        const line = reader.next();
        if (line === undefined) break;
        if (line.trim() !== '') this.#answer(client, line);
      }
      if (reader.overflowed && !client.ending) {
        const message = `read request: longer than ${longestRequest} bytes`;
        this.#queue(client, { id: null, error: { code: 'line-too-long', message } });
        client.ending = true;
      }
      if (!this.#send(client)) {
        this.#close(client);
        return;
      }
    } while (client.pending < lowWater && reader.hasLine);
    if (client.ending && client.pending === 0) this.#close(client);
    else this.#settle(client);
  }

  /** Tells epoll what is to be waited for; who does not take answers is not read from either. */
  #settle(client: Client): void {
    const read = client.ending || client.pending >= lowWater ? 0 : EPOLLIN;
    const wanted = read | (client.pending > 0 ? EPOLLOUT : 0);
    if (wanted === client.interest) return;
    client.interest = wanted;
    this.#epoll.change(client.fd, client.token, wanted);
  }

  #answer(client: Client, line: string): void {
    client.lastRequestMs = this.#nowMs();
    const parsed = parseRequest(line);
    if ('error' in parsed) {
      const { code, message } = parsed.error;
      this.#queue(client, { id: parsed.id, error: { code, message } });
      return;
    }
    const { request } = parsed;
    const early: unknown[] = [];
    let answered = false;
    const follow: Follow = (event) => {
      client.following = true;
      if (this.#clients.get(client.token) !== client) return false;
      if (!answered) early.push(event);
      else this.#push(client, { id: request.id, event });
      return this.#clients.get(client.token) === client;
    };
    this.#queue(client, this.#call(request, follow));
    answered = true;
    for (const event of early) this.#queue(client, { id: request.id, event });
  }

  #call(request: Request, follow: Follow): Reply {
    try {
      return { id: request.id, result: this.#handler(request, follow) ?? null };
    } catch (error) {
      if (error instanceof ControlError) {
        return { id: request.id, error: { code: error.code, message: error.message } };
      }
      const message = error instanceof Error ? error.message : String(error);
      this.#platform.log('error', `answer ${request.method}: ${message}`, {
        stack: error instanceof Error ? error.stack : undefined,
      });
      return { id: request.id, error: { code: 'internal', message } };
    }
  }

  /** Sends a line that the client did not just ask for. */
  #push(client: Client, reply: Reply): void {
    this.#queue(client, reply);
    if (client.pending > this.#limits.pendingBytes) {
      this.#platform.log('warn', 'drop control client: it does not read the events it follows');
      this.#close(client);
      return;
    }
    if (this.#send(client)) this.#settle(client);
    else this.#close(client);
  }

  #queue(client: Client, reply: Reply): void {
    const bytes = encodeReply(reply);
    if (client.pending === 0) client.lastProgressMs = this.#nowMs();
    client.out.push(bytes);
    client.pending += bytes.length;
  }

  /** Writes what the socket takes; false when the client is gone. */
  #send(client: Client): boolean {
    const nr = syscallNumbers(this.#platform).sendto;
    while (client.out.length > 0) {
      const bytes = client.sent === 0 ? client.out[0]! : client.out[0]!.subarray(client.sent);
      const put = this.#platform.syscall(nr, client.fd, bytes, bytes.length, MSG_NOSIGNAL, 0, 0);
      if (put === -errno.EINTR) continue;
      if (put === -errno.EAGAIN) return true;
      if (put < 0) return false;
      client.lastProgressMs = this.#nowMs();
      client.pending -= put;
      client.sent += put;
      if (put === bytes.length) {
        client.out.shift();
        client.sent = 0;
      }
    }
    return true;
  }

  #close(client: Client): void {
    if (!this.#clients.delete(client.token)) return;
    this.#epoll.remove(client.fd);
    closeFd(this.#platform, client.fd);
  }

  get #sweepMs(): number {
    return Math.max(10, Math.min(this.#limits.idleMs, this.#limits.stalledMs) / 4);
  }

  /** Runs only while there are clients. */
  #dropLate(): void {
    const now = this.#nowMs();
    for (const client of [...this.#clients.values()]) {
      const stalled = client.pending > 0 && now - client.lastProgressMs > this.#limits.stalledMs;
      const idle =
        client.pending === 0 &&
        !client.following &&
        now - client.lastRequestMs > this.#limits.idleMs;
      if (stalled || idle) this.#close(client);
    }
    this.#sweep =
      this.#clients.size === 0
        ? undefined
        : this.#platform.setTimer(this.#sweepMs, () => this.#dropLate());
  }

  #nowMs(): number {
    return Number(this.#platform.monotonicNs() / 1_000_000n);
  }
}
