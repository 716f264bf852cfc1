import {
  type Client,
  defaultLimits,
  LineReader,
  type ServerLimits,
  type Session,
  StreamServer,
} from '@heddle/rpc';
import { closeFd, type Platform, removeFile } from '@heddle/sys';
import { AlreadyListening, listenUnix, removeOwnSocket, socketIdentity } from '@heddle/sys/net';
import {
  ControlError,
  encodeReply,
  longestRequest,
  parseRequest,
  type Reply,
  type Request,
} from './protocol.ts';

/** Sends an event to a client. Returns false once the client has left or is too far behind. */
export type Follow = (event: unknown) => boolean;

/** Returns the result of a request, or throws ControlError. Another error becomes `internal`. */
export type Handler = (request: Request, follow: Follow) => unknown;

/** Another agent answers at the path of the control socket. */
export class AgentRunning extends Error {
  override readonly name = 'AgentRunning';

  constructor(path: string, options?: ErrorOptions) {
    super(
      `listen on ${path}: another agent answers there (stop it first, or give this one its own --socket)`,
      options,
    );
  }
}

/** Serves the control protocol on a unix socket of mode 0600. */
export class ControlServer implements Disposable {
  readonly #platform: Platform;
  readonly #path: string;
  readonly #identity: string | undefined;
  readonly #server: StreamServer;

  /** Starts to listen. Throws AgentRunning or SysError. */
  constructor(
    platform: Platform,
    path: string,
    handler: Handler,
    limits: ServerLimits = defaultLimits,
  ) {
    this.#platform = platform;
    this.#path = path;
    const message = `serve control client: ${limits.clients} clients are connected already (close one, or try again)`;
    const fd = listen(platform, path);
    let isTaken = false;
    try {
      this.#identity = socketIdentity(platform, path);
      // The server closes the descriptor, also when it cannot start.
      isTaken = true;
      this.#server = new StreamServer(platform, fd, {
        clientName: 'control client',
        limits,
        refusal: () => encodeReply({ id: null, error: { code: 'busy', message } }),
        newSession: (client) => new ControlSession(platform, client, handler),
      });
    } catch (error) {
      if (!isTaken) closeFd(platform, fd);
      removeFile(platform, path);
      throw error;
    }
  }

  /** The number of connected clients. */
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

function listen(platform: Platform, path: string): number {
  try {
    return listenUnix(platform, path);
  } catch (error) {
    if (error instanceof AlreadyListening) throw new AgentRunning(path, { cause: error });
    throw error;
  }
}

/** Answers the request lines of one client. */
class ControlSession implements Session {
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
      client.keepOpen();
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
