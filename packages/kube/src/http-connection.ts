import {
  type ByteStream,
  encodeUtf8,
  formatEndpoint,
  type Platform,
  type TlsOptions,
} from '@heddle/sys';
import { HttpError } from './errors.ts';
import { type ResponseEvents, ResponseParser } from './http-response.ts';
import type { ProxyServer } from './proxy.ts';
import type { Server } from './server.ts';

export interface ConnectionOptions {
  readonly server: Server;
  readonly proxy: ProxyServer | undefined;
  /** TLS options for the server. A proxy's certificate must be issued by a CA in the system's trust store. */
  readonly tls: TlsOptions;
  /** Called with all addresses of the proxy or server before the connection is made. */
  readonly onAddresses?: (addresses: readonly string[], port: number) => void;
  /** Called when requests can be sent. */
  readonly onOpen: () => void;
  /** Called instead of onOpen when the connection can't be opened. `party` is the one that failed. */
  readonly onFail: (error: Error, party: 'proxy' | 'server') => void;
}

/** Receives the response to a request. `onEnd` is called once, unless the connection is disposed. */
export interface AnswerEvents extends ResponseEvents {
  onEnd(error?: Error): void;
}

/** The limit for TCP, a proxy and TLS together. */
const openTimeoutMs = 10_000;

/**
 * One connection to a server, directly or through a proxy, for one request at a time (HTTP/1.1 without
 * pipelining).
 */
export class HttpConnection implements Disposable {
  readonly server: Server;
  readonly #options: ConnectionOptions;
  readonly #stream: ByteStream;
  readonly #timer: Disposable;
  #party: 'proxy' | 'server';
  /** The awaited response. */
  #answer: { readonly parser: ResponseParser; onEnd(error?: Error): void } | undefined;
  #isOpen = false;
  #isOver = false;

  constructor(platform: Platform, options: ConnectionOptions) {
    this.#options = options;
    this.server = options.server;
    this.#party = options.proxy ? 'proxy' : 'server';
    this.#timer = platform.setTimer(openTimeoutMs, () =>
      this.#close(new HttpError(`no response within ${openTimeoutMs / 1000} s`)),
    );
    const { host, port } = options.proxy?.server ?? options.server;
    this.#stream = platform.connect({
      host,
      port,
      onAddresses: (addresses) => options.onAddresses?.(addresses, port),
      onOpen: () => {
        if (!options.proxy) this.#reachServer();
        else if (options.proxy.server.isTls) this.#stream.startTls({}, () => this.#askProxy());
        else this.#askProxy();
      },
      onData: (bytes) => this.#read(bytes),
      onClose: (error) => this.#close(error),
    });
  }

  /** Returns true if a request can be sent. */
  get isIdle(): boolean {
    return this.#isOpen && !this.#isOver && !this.#answer;
  }

  /** Requests `target`, the path with its query. The connection must be idle. */
  get(target: string, token: string | undefined, events: AnswerEvents): void {
    const { host, port, path } = this.server;
    this.#ask(
      [
        `GET ${path}${target} HTTP/1.1`,
        `Host: ${formatEndpoint(host, port)}`,
        'User-Agent: heddle',
        'Accept: application/json',
        ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
      ],
      new ResponseParser({
        // Handlers may dispose the connection; then nothing more is called.
        onHead: (head) => void (this.#isOver || events.onHead(head)),
        onBody: (bytes) => void (this.#isOver || events.onBody(bytes)),
      }),
      (error) => events.onEnd(error),
    );
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer[Symbol.dispose]();
    this.#stream[Symbol.dispose]();
  }

  #askProxy(): void {
    const { proxy, server } = this.#options;
    const target = formatEndpoint(server.host, server.port);
    const parser = new ResponseParser(
      {
        onHead({ status }) {
          if (status < 300) return;
          const advice = status === 407 ? ' (give user and password in its URL)' : '';
          throw new HttpError(`it refused to connect to ${target} with status ${status}${advice}`);
        },
        onBody() {},
      },
      true,
    );
    const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`, 'User-Agent: heddle'];
    if (proxy!.authorization) lines.push(`Proxy-Authorization: ${proxy!.authorization}`);
    this.#ask(lines, parser, (error) => {
      if (error) this.#close(error);
      else this.#reachServer();
    });
  }

  #reachServer(): void {
    this.#party = 'server';
    const open = () => {
      this.#isOpen = true;
      this.#timer[Symbol.dispose]();
      this.#options.onOpen();
    };
    if (this.server.isTls) this.#stream.startTls(this.#options.tls, open);
    else open();
  }

  #ask(lines: readonly string[], parser: ResponseParser, onEnd: (error?: Error) => void): void {
    this.#answer = { parser, onEnd };
    this.#stream.write(encodeUtf8(`${lines.join('\r\n')}\r\n\r\n`));
  }

  #read(bytes: Uint8Array): void {
    const answer = this.#answer;
    if (!answer) {
      this.#close(new HttpError('it sent something without being asked'));
      return;
    }
    let used: number;
    try {
      used = answer.parser.push(bytes);
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      this.#close(error);
      return;
    }
    if (this.#isOver || !answer.parser.hasEnded) return;
    this.#answer = undefined;
    const hasMore = used < bytes.length;
    if (!this.#isOpen) {
      answer.onEnd(hasMore ? new HttpError('it sent more than it was asked for') : undefined);
      return;
    }
    // The meaning of further bytes is unknown.
    if (hasMore || !answer.parser.isReusable) this[Symbol.dispose]();
    answer.onEnd();
  }

  /** Ends the connection, also when the stream has ended. */
  #close(streamError?: Error): void {
    if (this.#isOver) return;
    this[Symbol.dispose]();
    const answer = this.#answer;
    this.#answer = undefined;
    let error = streamError;
    if (!error && answer) {
      try {
        answer.parser.endOfStream();
      } catch (incomplete) {
        error = incomplete as HttpError;
      }
    }
    if (this.#isOpen) answer?.onEnd(error);
    else {
      const missing = new HttpError('the connection was closed before it could be used');
      this.#options.onFail(error ?? missing, this.#party);
    }
  }
}
