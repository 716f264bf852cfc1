import { chmodSync, unlinkSync } from 'node:fs';
import { createServer as createHttp1Server, type Server as Http1Server } from 'node:http';
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from 'node:http2';
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Health } from '../generated/grpc/health/v1/health_pb.js';
import { type HealthState, healthService } from './health.ts';
import { addReflection } from './reflection.ts';
import { readTlsFiles, type TlsFiles, watchTlsFiles } from './tls-files.ts';

/** An address that a server listens on. */
export type Listen =
  | { readonly unix: string; readonly mode?: number }
  | { readonly host: string; readonly port: number; readonly tls?: TlsFiles | undefined };

/** The services of a server and what they have in common. */
export interface ServerOptions {
  readonly services: readonly DescService[];
  /** Registers the implementations of `services`. */
  readonly routes: (router: ConnectRouter) => void;
  readonly health: HealthState;
  /** Headers of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Receives problems that no client sees, e.g. certificates that cannot be read again. */
  readonly onProblem?: (message: string) => void;
  /** The interval between looks at changed certificates, in milliseconds. */
  readonly reloadInterval?: number;
}

/** Larger requests are refused. A request has filters, and its size bounds what they cost. */
const requestBytesMax = 1 << 20;
/** The most connections to one address, and streams within one of them. */
const connectionsMax = 1024;
const streamsMax = 100;

/**
 * A gRPC server with health and reflection, on unix sockets and TCP, with TLS and certificates of clients
 * if asked for. Changed certificates take effect for new connections. Call `close()`, or use `await using`.
 */
export class RpcServer implements AsyncDisposable {
  readonly #options: ServerOptions;
  readonly #shutdown = new AbortController();
  readonly #listeners: Listener[] = [];

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  /**
   * Starts to listen. A unix socket that a dead process has left is replaced. Returns the port, or 0 for a
   * unix socket. Throws an Error that names the address.
   */
  async listen(listen: Listen): Promise<number> {
    const listener = new Listener(listen, this.#handler(), this.#options);
    await listener.start();
    this.#listeners.push(listener);
    return listener.port;
  }

  /** Ends all calls, with the code Unavailable, and all connections. */
  async close(): Promise<void> {
    this.#shutdown.abort(new ConnectError('the server is shutting down', Code.Unavailable));
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #handler() {
    const { services, routes, health, headers = {} } = this.#options;
    const addHeaders: Interceptor = (next) => async (request) => {
      const response = await next(request);
      for (const [name, value] of Object.entries(headers)) response.header.set(name, value);
      return response;
    };
    return connectNodeAdapter({
      routes: (router) => {
        routes(router);
        router.service(Health, healthService(health));
        addReflection(router, [...services, Health]);
      },
      interceptors: [addHeaders],
      readMaxBytes: requestBytesMax,
      shutdownSignal: this.#shutdown.signal,
    });
  }
}

/** One address that is listened on. */
class Listener {
  readonly #listen: Listen;
  readonly #server: Server | Http2SecureServer;
  /** Answers HTTP/1.1 without TLS, by which browsers and curl use gRPC-Web and Connect. */
  readonly #http1: Http1Server | undefined;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #onProblem: (message: string) => void;
  readonly #tlsWatch: Disposable | undefined;

  constructor(
    listen: Listen,
    handler: ReturnType<typeof connectNodeAdapter>,
    { onProblem = () => {}, reloadInterval }: ServerOptions,
  ) {
    this.#listen = listen;
    this.#onProblem = onProblem;
    const settings = { maxConcurrentStreams: streamsMax };
    if ('host' in listen && listen.tls) {
      const files = listen.tls;
      const material = readTlsFiles(files);
      const isMutual = files.clientAuthority !== undefined;
      const server = createSecureServer(
        {
          ...{ ...material, settings, minVersion: 'TLSv1.3', allowHTTP1: true },
          ...{ requestCert: isMutual, rejectUnauthorized: isMutual },
        },
        handler,
      );
      this.#tlsWatch = watchTlsFiles(files, {
        ...{ material, onProblem, interval: reloadInterval },
        apply: ({ cert, key, ca }) =>
          server.setSecureContext({
            ...{ cert, key, minVersion: 'TLSv1.3' },
            ...(ca === undefined ? {} : { ca }),
          }),
      });
      this.#server = server;
      this.#watchSessions(server);
    } else {
      const http2 = createHttp2Server({ settings }, handler);
      const http1 = createHttp1Server(handler);
      this.#http1 = http1;
      this.#watchSessions(http2);
      this.#server = createServer((socket) => {
        readVersion(socket, (isHttp2) => (isHttp2 ? http2 : http1).emit('connection', socket));
      });
    }
    this.#server.maxConnections = connectionsMax;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.setKeepAlive(true, 30_000);
    });
  }

  #watchSessions(server: Http2Server | Http2SecureServer): void {
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      // A client that resets its connection ends its session; there is nothing to answer.
      session.on('error', () => {});
    });
  }

  get port(): number {
    const address = this.#server.address() as AddressInfo | string | null;
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (cause) {
      this.#tlsWatch?.[Symbol.dispose]();
      const why = cause instanceof Error ? cause.message : String(cause);
      const isInUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const remedy = isInUse ? ' (end what answers there, or choose another address)' : '';
      throw new Error(`listen on ${listenText(this.#listen)}: ${why}${remedy}`, { cause });
    }
  }

  async #start(): Promise<void> {
    const listen = this.#listen;
    if ('host' in listen) return this.#bind({ host: listen.host, port: listen.port });
    if (await isDeadSocket(listen.unix)) unlinkSync(listen.unix);
    await this.#bind({ path: listen.unix });
    chmodSync(listen.unix, listen.mode ?? 0o660);
  }

  #bind(options: ListenOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#onProblem(`server: ${error.message}`));
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#tlsWatch?.[Symbol.dispose]();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Answers to ended calls are on their way. A client that does not read them is not waited for.
    const deadline = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, 500);
    for (const session of this.#sessions) session.close();
    this.#http1?.close();
    await closed;
    clearTimeout(deadline);
  }

  /** Reads the certificates again and uses them for new connections if they can be used. */
}

/** The first bytes of a connection of HTTP/2 (RFC 9113, 3.4), of which the first two begin no method of HTTP/1.1. */
const preface = 'PR';
/** A client that connects sends its first bytes within this time, in milliseconds. */
const firstBytesMs = 10_000;

/** Reads from the first bytes of a connection which version of HTTP it has. The bytes stay to be read. */
function readVersion(socket: Socket, onVersion: (isHttp2: boolean) => void): void {
  const timer = setTimeout(() => socket.destroy(), firstBytesMs);
  let first = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    first = Buffer.concat([first, chunk]);
    if (first.length < preface.length) return;
    clearTimeout(timer);
    socket.off('data', onData);
    socket.off('error', onError);
    socket.pause();
    socket.unshift(first);
    const isHttp2 = first.toString('latin1', 0, preface.length) === preface;
    onVersion(isHttp2);
    // A session of HTTP/2 takes what was read by itself; that of HTTP/1.1 waits for the socket to flow.
    if (!isHttp2) socket.resume();
  };
  // A client that resets its connection before it asks for anything gets no answer.
  const onError = () => socket.destroy();
  socket.on('data', onData);
  socket.on('error', onError);
  socket.once('close', () => clearTimeout(timer));
}

/** Returns the address as a user writes it. */
export function listenText(listen: Listen): string {
  if ('unix' in listen) return `unix://${listen.unix}`;
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  return `${host}:${listen.port}`;
}

/** Returns true for a socket on which nothing listens any more. */
function isDeadSocket(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
