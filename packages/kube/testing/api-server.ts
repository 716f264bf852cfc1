import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Body, type Fault, Script, type Verb } from './faults.ts';
import { answerList } from './list-answer.ts';
import {
  allKinds,
  type Kind,
  ObjectStore,
  type StoredObject,
  type StoreEvent,
  traitsOf,
  type WrittenObject,
} from './object-store.ts';
import type { Selection } from './selection.ts';
import {
  type FieldSelector,
  type LabelSelector,
  parseFieldSelector,
  parseLabelSelector,
  SelectorError,
} from './selectors.ts';
import { StatusError, statusObject } from './status.ts';
import { Watch } from './watch-answer.ts';

export interface ServerTls {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  /** Clients whose certificate this authority signed need no token. */
  readonly clientCa?: string;
}

export interface ApiServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: any that is free. */
  readonly port?: number;
  /** If absent, the server uses plain HTTP. */
  readonly tls?: ServerTls;
  readonly features?: {
    /** Streaming lists (KEP-3157); default true. */
    readonly watchList?: boolean;
    /** Lists of version 0 come from a cache, in one piece whatever the limit; default true. */
    readonly cache?: boolean;
  };
  /** The interval of bookmarks; default 60 s, as in kube-apiserver. */
  readonly bookmarkMs?: number;
  /** The number of changes in the history for resumed watches; default 10,000. */
  readonly history?: number;
  /** Accepted tokens. If absent, no token is needed. */
  readonly tokens?: readonly string[];
}

/** A request that the server has received. */
export interface SeenRequest {
  readonly verb: Verb;
  readonly kind: Kind | undefined;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly token: string | undefined;
  readonly atMs: number;
}

const maxSeen = 1000;

/**
 * A test server with the behaviour of kube-apiserver for lists and watches of Services, EndpointSlices, Nodes
 * and Pods: versions, pages, selectors, bookmarks, streaming lists, 410. It fails in scripted ways. It does not
 * check objects. A test may add kinds (`defineKind`).
 */
export class ApiServer implements AsyncDisposable {
  readonly #options: ApiServerOptions;
  readonly #server: http.Server;
  readonly #store: ObjectStore;
  readonly #script = new Script();
  readonly #watches = new Set<Watch>();
  readonly #snapshots = new Map<string, readonly StoredObject[]>();
  #tokens: ReadonlySet<string> | undefined;
  #seen: SeenRequest[] = [];
  #port = 0;

  private constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#store = new ObjectStore(options.history ?? 10_000);
    this.#tokens = options.tokens && new Set(options.tokens);
    const { tls } = options;
    const answer: http.RequestListener = (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.socket?.destroy();
        throw error;
      });
    };
    this.#server = tls
      ? https.createServer(
          { ...secureContext(tls), requestCert: !!tls.clientCa, rejectUnauthorized: false },
          answer,
        )
      : http.createServer(answer);
    this.#server.keepAliveTimeout = 180_000;
  }

  static async start(options: ApiServerOptions = {}): Promise<ApiServer> {
    const server = new ApiServer(options);
    await server.resume();
    return server;
  }

  /** The URL, `https://127.0.0.1:41234`, which stays the same after stop and resume. */
  get url(): string {
    const { host = '127.0.0.1', tls } = this.#options;
    return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${this.#port}`;
  }

  /** The listeners for changes. */
  get listeners(): Set<(event: StoreEvent) => void> {
    return this.#store.listeners;
  }

  /** The version of the last change. */
  get version(): number {
    return this.#store.version;
  }

  /** Creates or replaces an object (Service, EndpointSlice, Node or Pod). Returns its version. */
  set(object: WrittenObject): number {
    return this.#store.set(object);
  }

  /** Removes an object; `namespace` is empty for a Node. Returns the version of the removal. */
  remove(kind: string, namespace: string, name: string): number {
    return this.#store.remove(kind, namespace, name);
  }

  /** Returns the objects of the server in the order of keys. */
  objects(kind: Kind): readonly { key: string; version: number; object: unknown }[] {
    return this.#store
      .sorted(kind)
      .map(({ key, version, json }) => ({ key, version, object: JSON.parse(json.toString()) }));
  }

  /** Removes the history and continue tokens: a watch that resumes from before gets 410. */
  compact(): void {
    this.#store.compact();
    this.#snapshots.clear();
  }

  /** Skips versions, which objects of other kinds would have. */
  skipVersions(count: number): void {
    this.#store.skipVersions(count);
  }

  /** Adds faults, which apply in this order. */
  script(...faults: readonly Fault[]): void {
    this.#script.add(...faults);
  }

  clearScript(): void {
    this.#script.clear();
  }

  /** Sets the accepted tokens. With undefined, no token is needed. */
  setTokens(tokens: readonly string[] | undefined): void {
    this.#tokens = tokens && new Set(tokens);
  }

  /** Sets the certificate for later connections. */
  setTls(tls: ServerTls): void {
    (this.#server as https.Server).setSecureContext(secureContext(tls));
  }

  /** Ends all watches regularly, as after their timeout. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end();
  }

  /** Breaks all connections. */
  cutConnections(): void {
    this.#server.closeAllConnections();
  }

  /** Sends a bookmark to each watch with bookmarks. */
  sendBookmarks(): void {
    for (const watch of this.#watches) watch.sendBookmark();
  }

  /** Returns the number of open watches, of one kind or of all. */
  watching(kind?: Kind): number {
    return [...this.#watches].filter((watch) => !kind || watch.kind === kind).length;
  }

  /** Returns the requests since the last call, at most a thousand. */
  takeRequests(): readonly SeenRequest[] {
    const seen = this.#seen;
    this.#seen = [];
    return seen;
  }

  /** Breaks all connections and refuses new ones. Objects stay. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** Listens again on the same port. */
  async resume(): Promise<void> {
    const { host = '127.0.0.1', port = 0 } = this.#options;
    this.#server.listen(this.#port || port, host);
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://server');
    const target = parsePath(url.pathname);
    const isWatch = ['true', '1'].includes(url.searchParams.get('watch') ?? '');
    const verb = target?.name !== undefined || !target ? 'get' : isWatch ? 'watch' : 'list';
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    this.#seen.push({
      verb,
      kind: target?.kind,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      token,
      atMs: Date.now(),
    });
    if (this.#seen.length > maxSeen) this.#seen.shift();

    const isStreamingList = verb === 'watch' && url.searchParams.has('sendInitialEvents');
    const fault = this.#script.next(verb, target?.kind, isStreamingList);
    if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (response.destroyed) return;
    response.setHeader('content-type', 'application/json');
    // Go's server sends no Connection header over HTTP/1.1.
    response.removeHeader('connection');
    if (fault?.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter);
    try {
      if (request.method !== 'GET') throw new StatusError(405, 'MethodNotAllowed', 'only GET');
      if (fault?.status !== undefined) {
        throw new StatusError(fault.status, 'Scripted', 'the script wants it so');
      }
      this.#authenticate(request, token);
      if (!target) {
        if (url.pathname !== '/version') throw notFound();
        response.end('{"major":"1","minor":"36","gitVersion":"v1.36.0"}');
        return;
      }
      const body = () => new Body(response, fault);
      if (target.name !== undefined) {
        const object = this.#store.get(target.kind, target.key!);
        if (!object) throw notFound(target.kind, target.name);
        await body().whole(object.json);
        return;
      }
      const { features = {} } = this.#options;
      const selection = selectionOf(target.kind, target.namespace, url.searchParams);
      if (verb === 'list') {
        await answerList(this.#store, this.#snapshots, selection, features.cache ?? true, body);
      } else {
        const watch = new Watch(this.#store, selection, {
          watchList: features.watchList ?? true,
          bookmarkMs: this.#options.bookmarkMs ?? 60_000,
          fault,
        });
        this.#watches.add(watch);
        response.on('close', () => {
          this.#watches.delete(watch);
          watch.end();
        });
        watch.start(body());
        response.flushHeaders();
      }
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      response.statusCode = error.code;
      const seconds = error.details?.retryAfterSeconds;
      if (seconds !== undefined) response.setHeader('retry-after', `${seconds}`);
      await new Body(response, fault).whole(Buffer.from(JSON.stringify(statusObject(error))));
    }
  }

  #authenticate(request: http.IncomingMessage, token: string | undefined): void {
    if (!this.#tokens) return;
    if (token !== undefined && this.#tokens.has(token)) return;
    if (token === undefined && (request.socket as TLSSocket).authorized) return;
    throw new StatusError(401, 'Unauthorized', 'Unauthorized');
  }
}

function secureContext({ cert, key, clientCa }: ServerTls) {
  return { cert, key, ca: clientCa };
}

function parsePath(path: string) {
  const match =
    /^\/(api\/v1|apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(path);
  const kind =
    match &&
    allKinds().find((each) => {
      const { group, plural } = traitsOf(each);
      return group === match[1] && plural === match[3];
    });
  if (!kind) return undefined;
  const [, , namespace, , name] = match;
  const key = name === undefined ? undefined : namespace ? `${namespace}/${name}` : name;
  return { kind, namespace, name, key };
}

function selectionOf(kind: Kind, namespace: string | undefined, query: URLSearchParams): Selection {
  let labels: LabelSelector;
  let fields: FieldSelector;
  try {
    labels = parseLabelSelector(query.get('labelSelector') ?? '');
    fields = parseFieldSelector(query.get('fieldSelector') ?? '', kind);
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    throw new StatusError(400, 'BadRequest', error.message);
  }
  return {
    kind,
    query,
    matches: (object) =>
      (namespace === undefined || object.namespace === namespace) &&
      labels(object.labels) &&
      fields(object.fields),
  };
}

function notFound(kind?: Kind, name?: string): StatusError {
  return new StatusError(
    404,
    'NotFound',
    kind
      ? `${traitsOf(kind).plural} "${name}" not found`
      : 'the server could not find the requested resource',
  );
}
