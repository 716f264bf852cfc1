import { backoffMs } from '@heddle/state';
import { errno, type Platform, SysError } from '@heddle/sys';
import { encodeResponse, type HttpResponse, RequestReader, textResponse } from './http.ts';
import { parseListenAddress } from './listen-address.ts';
import {
  type Client,
  type Conversation,
  defaultLimits,
  type ServerLimits,
  StreamServer,
} from './stream-server.ts';
import { listenTcp, localPort } from './tcp-listener.ts';

/** The document at a path; undefined when there is none. */
export type HttpHandler = (path: string) => HttpResponse | undefined;

export interface HttpServerOptions {
  /** `health`, `metrics`: what is served, for the log. */
  readonly name: string;
  /** As parseListenAddress reads it. */
  readonly address: string;
  readonly handler: HttpHandler;
  readonly limits?: ServerLimits;
  /** Called with a sentence when the server can't listen, and when it then can. */
  readonly onChange?: (problem: string | undefined) => void;
}

/** Whether a server listens, and why not. */
export interface HttpServerStatus {
  readonly address: string;
  readonly listening: boolean;
  readonly problem?: string;
}

/**
 * Serves documents over HTTP/1.1. An address that can't be listened on (its port is taken, as by a
 * kube-proxy that still runs) is no reason for the agent not to work: it is tried again.
 */
export class HttpServer implements Disposable {
  readonly #platform: Platform;
  readonly #options: HttpServerOptions;
  #server: StreamServer | undefined;
  #port = 0;
  #problem: string | undefined;
  #attempts = 0;
  #retry: Disposable | undefined;

  constructor(platform: Platform, options: HttpServerOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#listen();
  }

  get status(): HttpServerStatus {
    // Port 0 stands for one that the kernel has chosen.
    const address = this.#options.address.replace(/:0$/, `:${this.#port}`);
    const status = { address, listening: this.#server !== undefined };
    return this.#problem === undefined ? status : { ...status, problem: this.#problem };
  }

  /** Port that is listened on, in host order; 0 while there is none. */
  get port(): number {
    return this.#port;
  }

  /** Clients connected now. */
  get clients(): number {
    return this.#server?.clients ?? 0;
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    this.#server?.[Symbol.dispose]();
  }

  #listen(): void {
    const { name, address, handler, limits = defaultLimits, onChange } = this.#options;
    try {
      const where = parseListenAddress(address);
      if (!where) throw new Error(`listen on ${address}: not an address and a port`);
      const fd = listenTcp(this.#platform, where, address);
      this.#server = new StreamServer(this.#platform, fd, {
        clientName: `${name} client`,
        limits,
        converse: (client) => new HttpConversation(this.#platform, client, handler),
      });
      this.#port = localPort(this.#platform, fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#server?.[Symbol.dispose]();
      this.#server = undefined;
      const random = this.#platform.randomBytes(1)[0]! / 256;
      const wait = backoffMs(++this.#attempts, random);
      this.#retry = this.#platform.setTimer(wait, () => this.#listen());
      const problem = `${name} is not served: ${error.message}${advice(error)}`;
      if (problem === this.#problem) return;
      this.#problem = problem;
      onChange?.(problem);
      return;
    }
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    onChange?.(undefined);
  }
}

function advice(error: SysError): string {
  if (error.errno !== errno.EADDRINUSE) return '';
  return ' (another process has the port, e.g. kube-proxy; it is taken over once that is gone)';
}

/** Answers the requests of one client. */
class HttpConversation implements Conversation {
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
      return this.#handler(path) ?? textResponse(404, 'there is nothing here');
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#platform.log('error', `answer ${path}: ${message}`, {
        stack: error instanceof Error ? error.stack : undefined,
      });
      return textResponse(500, 'internal error; the log of the agent says more');
    }
  }
}
