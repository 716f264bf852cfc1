import { backoffMs } from '@heddle/state';
import { errno, type Platform, SysError } from '@heddle/sys';
import { listenTcp, localPort, parseListenAddress } from '@heddle/sys/net';
import { encodeResponse, type HttpResponse, RequestReader, textResponse } from './http.ts';
import { type Client, defaultLimits, type ServerLimits, type Session } from './stream-protocol.ts';
import { StreamServer } from './stream-server.ts';

/** Returns the document at a path, or undefined when there is none. */
export type HttpHandler = (path: string) => HttpResponse | undefined;

export interface HttpServerOptions {
  /** Name of what is served, for messages, e.g. `health`. */
  readonly name: string;
  /** Address and port, as parseListenAddress reads them. */
  readonly address: string;
  readonly handler: HttpHandler;
  readonly limits?: ServerLimits;
  /** A clause that ends the message about a port that another process has. */
  readonly portInUseHint?: string;
  /** Called with a sentence when the server cannot listen, and with undefined once it can. */
  readonly onChange?: (problem: string | undefined) => void;
}

/** The address of a server, and the problem that keeps it from listening. */
export interface HttpServerStatus {
  readonly address: string;
  readonly listening: boolean;
  readonly problem?: string;
}

/**
 * Serves documents over HTTP/1.1. When the address is not available, e.g. because another process
 * has the port, the server tries again later.
 */
export class HttpServer implements Disposable {
  readonly #platform: Platform;
  readonly #options: HttpServerOptions;
  #server: StreamServer | undefined;
  #port = 0;
  #problem: string | undefined;
  #attempts = 0;
  #retry: Disposable | undefined;

  /** Throws an Error when the address is malformed. */
  constructor(platform: Platform, options: HttpServerOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#listen();
  }

  get status(): HttpServerStatus {
    // For port 0 the kernel chooses a port.
    const address = this.#options.address.replace(/:0$/, `:${this.#port}`);
    const status = { address, listening: this.#server !== undefined };
    return this.#problem === undefined ? status : { ...status, problem: this.#problem };
  }

  /** The port that the server listens on, in host byte order; 0 when it does not listen. */
  get port(): number {
    return this.#port;
  }

  /** The number of connected clients. */
  get clients(): number {
    return this.#server?.clients ?? 0;
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    this.#server?.[Symbol.dispose]();
  }

  #listen(): void {
    const { name, address, handler, limits = defaultLimits } = this.#options;
    const where = parseListenAddress(address);
    if (!where) throw new Error(`listen on ${address}: not an address and a port`);
    try {
      const fd = listenTcp(this.#platform, where, address);
      this.#server = new StreamServer(this.#platform, fd, {
        clientName: `${name} client`,
        limits,
        newSession: (client) => new HttpSession(this.#platform, client, handler),
      });
      this.#port = localPort(this.#platform, fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#server?.[Symbol.dispose]();
      this.#server = undefined;
      const random = this.#platform.randomBytes(1)[0]! / 256;
      const wait = backoffMs(++this.#attempts, random);
      this.#retry = this.#platform.setTimer(wait, () => this.#listen());
      this.#setProblem(`${name} is not served: ${error.message}${this.#hint(error)}`);
      return;
    }
    this.#setProblem(undefined);
  }

  #hint(error: SysError): string {
    const { portInUseHint } = this.#options;
    return error.errno === errno.EADDRINUSE && portInUseHint ? `; ${portInUseHint}` : '';
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onChange?.(problem);
  }
}

/** Answers the requests of one client. */
class HttpSession implements Session {
  readonly #platform: Platform;
  readonly #client: Client;
  readonly #handler: HttpHandler;
  readonly #reader = new RequestReader();

  constructor(platform: Platform, client: Client, handler: HttpHandler) {
    this.#platform = platform;
    this.#client = client;
    this.#handler = handler;
  }

  receive(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  answerNext(): boolean {
    const request = this.#reader.next();
    if (!request) return false;
    const nowMs = this.#platform.wallTimeMs();
    if ('status' in request) {
      const response = textResponse(request.status, request.message);
      this.#client.reply(encodeResponse(response, { method: 'GET', isLast: true, nowMs }));
      this.#client.end();
      return true;
    }
    const { method, path, isLast } = request;
    this.#client.reply(encodeResponse(this.#respond(path), { method, isLast, nowMs }));
    if (isLast) this.#client.end();
    return true;
  }

  #respond(path: string): HttpResponse {
    try {
      return this.#handler(path) ?? textResponse(404, 'not found');
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#platform.log('error', `answer ${path}: ${message}`, {
        stack: error instanceof Error ? error.stack : undefined,
      });
      return textResponse(500, 'internal error; see the log of this process');
    }
  }
}
