import { closeFd, type Platform, removeFile } from '@heddle/sys';
import {
  type Client,
  type Conversation,
  defaultLimits,
  type ServerLimits,
  StreamServer,
} from '../server/stream-server.ts';
import {
  ControlError,
  encodeReply,
  LineReader,
  longestRequest,
  parseRequest,
  type Reply,
  type Request,
} from './protocol.ts';
import { listenUnix, removeOwnSocket, socketIdentity } from './unix-socket.ts';

/** Sends events to one client; false once the client is gone or too far behind. */
export type Follow = (event: unknown) => boolean;

/** Answers a request with a result, or throws ControlError. Another error becomes `internal`. */
export type Handler = (request: Request, follow: Follow) => unknown;

/** Serves the control protocol on a unix socket of mode 0600. */
export class ControlServer implements Disposable {
  readonly #platform: Platform;
  readonly #path: string;
  readonly #identity: string | undefined;
  readonly #server: StreamServer;

  /** Starts to listen. Throws AlreadyListening or SysError. */
  constructor(
    platform: Platform,
    path: string,
    handler: Handler,
    limits: ServerLimits = defaultLimits,
  ) {
    this.#platform = platform;
    this.#path = path;
    const message = `serve control client: ${limits.clients} clients are connected already (close one, or try again)`;
    const fd = listenUnix(platform, path);
    let isTaken = false;
    try {
      this.#identity = socketIdentity(platform, path);
      // The server closes the descriptor, also when it cannot start.
      isTaken = true;
      this.#server = new StreamServer(platform, fd, {
        clientName: 'control client',
        limits,
        refusal: () => encodeReply({ id: null, error: { code: 'busy', message } }),
        converse: (client) => new ControlConversation(platform, client, handler),
      });
    } catch (error) {
      if (!isTaken) closeFd(platform, fd);
      removeFile(platform, path);
      throw error;
    }
  }

  /** Clients connected now. */
  get clients(): number {
    return this.#server.clients;
  }

  /** Stops listening, closes all clients and removes the socket, unless it has been replaced. */
  [Symbol.dispose](): void {
    try {
      if (this.#identity !== undefined) {
        removeOwnSocket(this.#platform, this.#path, this.#identity);
      }
    } finally {
      this.#server[Symbol.dispose]();
    }
  }
}

/** Answers the request lines of one client. */
class ControlConversation implements Conversation {
  readonly #platform: Platform;
  readonly #client: Client;
  readonly #handler: Handler;
  readonly #reader = new LineReader(longestRequest);

  constructor(platform: Platform, client: Client, handler: Handler) {
    this.#platform = platform;
    this.#client = client;
    this.#handler = handler;
  }

  receive(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  answerNext(): boolean {
    for (let line = this.#reader.next(); line !== undefined; line = this.#reader.next()) {
      if (line.trim() === '') continue;
      this.#answer(line);
      return true;
    }
    if (this.#reader.overflowed) {
      const message = `read request: longer than ${longestRequest} bytes`;
      this.#reply({ id: null, error: { code: 'line-too-long', message } });
      this.#client.end();
    }
    return false;
  }

  #answer(line: string): void {
    const parsed = parseRequest(line);
    if ('error' in parsed) {
      const { code, message } = parsed.error;
      this.#reply({ id: parsed.id, error: { code, message } });
      return;
    }
    const { request } = parsed;
    const client = this.#client;
    const early: unknown[] = [];
    let answered = false;
    const follow: Follow = (event) => {
      client.stay();
      if (!answered) early.push(event);
      else client.push(encodeReply({ id: request.id, event }));
      return client.isOpen;
    };
    this.#reply(this.#call(request, follow));
    answered = true;
    for (const event of early) this.#reply({ id: request.id, event });
  }

  #reply(reply: Reply): void {
    this.#client.reply(encodeReply(reply));
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
}
