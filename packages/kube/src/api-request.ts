import type { Platform } from '@heddle/sys';
import type { ClusterAccess, Credentials } from './access.ts';
import { connectionProblem } from './connection-problem.ts';
import { ConnectionError, KubeError } from './errors.ts';
import { HttpConnection } from './http-connection.ts';
import type { ResponseHead } from './http-response.ts';
import type { ProxyServer } from './proxy.ts';
import { formatServer } from './server.ts';
import type { ServerList } from './server-list.ts';
import { maxStatusBytes, readStatus } from './status.ts';

/** Receives the response to a request. Nothing is called once the request is disposed. */
export interface ResponseHandlers {
  /** Called when a successful response (2xx) begins. Names of headers are in lower case. */
  onHead(status: number, headers: ReadonlyMap<string, string>): void;
  /** Called with bytes of the body, which are valid during the call. */
  onBody(bytes: Uint8Array): void;
  /**
   * Called once, at the end of the response or with an `error`. An unsuccessful response is a StatusError,
   * without onHead and onBody.
   */
  onEnd(error?: KubeError): void;
}

export interface RequestOptions {
  readonly platform: Platform;
  readonly access: ClusterAccess;
  readonly servers: ServerList;
  readonly path: string;
  readonly handlers: ResponseHandlers;
  /** Called before a connection is made to one of these addresses, the server's or the proxy's. */
  readonly onAddresses?: ((addresses: readonly string[], port: number) => void) | undefined;
  /** Returns an idle connection of another request with these credentials. */
  takeIdle(credentials: Credentials): HttpConnection | undefined;
  /** Called when the request has ended or was disposed. `connection` may be idle, for the next request. */
  onOver(connection: HttpConnection | undefined, credentials: Credentials | undefined): void;
}

/** The limit until a response begins. An API server itself gives up after 60 s. */
const answerTimeoutMs = 65_000;

/** The status codes of a gateway that cannot reach its server and of a server that shuts down. */
const awayStatus = new Set([502, 503, 504]);

/**
 * One request: credentials, a connection to the first server that can be reached, the response. Refused
 * credentials are renewed once.
 */
export class ApiRequest implements Disposable {
  readonly #options: RequestOptions;
  #authentication: Disposable | undefined;
  #timer: Disposable;
  #connection: HttpConnection | undefined;
  #credentials: Credentials | undefined;
  #isRenewed = false;
  #isOver = false;

  constructor(options: RequestOptions) {
    // It becomes a part of the request line.
    if (!/^\/[!-~]*$/.test(options.path)) {
      throw new KubeError(`get ${JSON.stringify(options.path)}: it is not a path of a URL`);
    }
    this.#options = options;
    this.#timer = options.platform.setTimer(0, () => this.#authenticate(undefined));
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#connection?.[Symbol.dispose]();
    this.#leave();
  }

  #authenticate(rejected: Credentials | undefined, whenTheSame?: KubeError): void {
    this.#authentication = this.#options.access.credentials(rejected, (result) => {
      if (this.#isOver) return;
      if (result instanceof KubeError) this.#end(result);
      else if (result === rejected) this.#end(whenTheSame);
      else {
        this.#credentials = result;
        const idle = this.#options.takeIdle(result);
        if (idle) this.#ask(idle, result, true);
        else this.#open(result);
      }
    });
  }

  /** Tries the servers in turn. */
  #open(credentials: Credentials): void {
    const { platform, access, servers, onAddresses } = this.#options;
    const order = servers.order();
    const problems: KubeError[] = [];
    const tryFrom = (at: number): void => {
      const server = order[at];
      if (!server) {
        this.#end(
          problems.length === 1
            ? problems[0]
            : new ConnectionError(problems.map(({ message }) => message).join('; ')),
        );
        return;
      }
      const fail = (problem: KubeError) => {
        problems.push(problem);
        tryFrom(at + 1);
      };
      let proxy: ProxyServer | undefined;
      try {
        proxy = access.proxyFor(server);
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        fail(error);
        return;
      }
      const name = formatServer(server);
      const connection = new HttpConnection(platform, {
        server,
        proxy,
        ...(onAddresses ? { onAddresses } : {}),
        tls: {
          ca: credentials.ca,
          cert: credentials.cert,
          key: credentials.key,
          serverName: server.serverName,
          insecureSkipVerify: access.insecureSkipVerify,
        },
        onOpen: () => {
          servers.succeeded(server);
          this.#ask(connection, credentials, false);
        },
        onFail: (error, party) => {
          const via = proxy && `${name} through the proxy ${formatServer(proxy.server)}`;
          const place = party === 'proxy' ? 'the proxy' : access.origin;
          fail(connectionProblem(error, via ?? name, place));
        },
      });
      this.#connection = connection;
    };
    tryFrom(0);
  }

  #ask(connection: HttpConnection, credentials: Credentials, isUsedAgain: boolean): void {
    const { platform, access, servers, path, handlers } = this.#options;
    const { server } = connection;
    const what = `get ${path.replace(/\?.*$/, '')} from ${formatServer(server)}`;
    this.#connection = connection;
    this.#timer[Symbol.dispose]();
    this.#timer = platform.setTimer(answerTimeoutMs, () => {
      connection[Symbol.dispose]();
      servers.failed(server);
      this.#end(new ConnectionError(`${what}: no response within ${answerTimeoutMs / 1000} s`));
    });
    let head: ResponseHead | undefined;
    const body: number[] = [];
    const endWithoutSuccess = (answer: ResponseHead) => {
      this.#timer[Symbol.dispose]();
      const now = platform.wallTimeMs();
      const error = readStatus(what, answer, Uint8Array.from(body), access.origin, now);
      if (awayStatus.has(error.status)) servers.failed(server);
      if (error.status === 401 && !this.#isRenewed) {
        this.#isRenewed = true;
        connection[Symbol.dispose]();
        this.#authenticate(credentials, error);
      } else {
        this.#end(error);
      }
    };
    connection.get(path, credentials.token, {
      onHead: (answer) => {
        head = answer;
        if (!isSuccess(answer)) return;
        this.#timer[Symbol.dispose]();
        handlers.onHead(answer.status, answer.headers);
      },
      onBody: (bytes) => {
        if (isSuccess(head!)) handlers.onBody(bytes);
        else {
          body.push(...bytes.subarray(0, maxStatusBytes - body.length));
          if (body.length < maxStatusBytes) return;
          connection[Symbol.dispose]();
          endWithoutSuccess(head!);
        }
      },
      onEnd: (error) => {
        if (head && !isSuccess(head)) endWithoutSuccess(head);
        else if (!error) this.#end();
        // The server may have closed an idle connection before it received the request.
        else if (!head && isUsedAgain) this.#open(credentials);
        else {
          if (!head) servers.failed(server);
          this.#end(connectionProblem(error, formatServer(server), access.origin));
        }
      },
    });
  }

  #end(error?: KubeError): void {
    if (this.#isOver) return;
    this.#leave();
    this.#options.handlers.onEnd(error);
  }

  #leave(): void {
    this.#isOver = true;
    this.#timer[Symbol.dispose]();
    this.#authentication?.[Symbol.dispose]();
    this.#options.onOver(this.#connection, this.#credentials);
  }
}

function isSuccess({ status }: ResponseHead): boolean {
  return status < 300;
}
