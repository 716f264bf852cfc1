import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { listenText, type Place, readTlsFiles, type TlsFiles, watchTlsFiles } from '@heddle/hubble';
import type { PageFiles } from '@heddle/web/build';
import { type Access, openAccess, type Reader } from './access.ts';
import { sendExport } from './export.ts';
import {
  bearerToken,
  checkOrigin,
  errorOf,
  sendBody,
  sendJson,
  sendProblem,
  setHeaders,
} from './http.ts';
import { mapForm } from './map.ts';
import { type ApiState, answer, counts, hello } from './routes.ts';
import { EventStream, streamWish } from './stream.ts';
import { ApiProblem, filterOf, viewOf } from './view.ts';

/** The settings of the page's server. */
export interface UiSettings extends ApiState {
  readonly access?: Access;
  /** Names by which the page is reached, besides addresses and localhost. */
  readonly hosts?: readonly string[];
  readonly tls?: TlsFiles | undefined;
  /** Returns the files of the page; undefined serves the API only. */
  readonly page?: (() => Promise<PageFiles>) | undefined;
}

const streamsMax = 256;
const connectionsMax = 1024;

/** Serves the page and its API. Everything is read with GET; nothing that is asked for changes anything. */
export class UiServer implements AsyncDisposable {
  readonly #settings: UiSettings;
  readonly #access: Access;
  readonly #streams = new Set<EventStream>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #tlsWatch: Disposable | undefined;

  constructor(settings: UiSettings) {
    this.#settings = settings;
    this.#access = settings.access ?? openAccess;
  }

  /** Starts to listen. Returns the port. Throws an Error that names the address. */
  async listen(place: Place): Promise<number> {
    const server = this.#create();
    server.maxConnections = connectionsMax;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    const options = 'unix' in place ? { path: place.unix } : { host: place.host, port: place.port };
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => {
        reject(new Error(`serve the page on ${listenText(place)}: ${cause.message}`, { cause }));
      });
      server.listen(options, () => resolve());
    });
    // A process without free descriptors cannot accept a connection; those that it has go on.
    server.on('error', (error) => this.#settings.log?.(`serve the page: ${error.message}`));
    this.#server = server;
    const address = server.address() as AddressInfo | string | null;
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  async close(): Promise<void> {
    this.#tlsWatch?.[Symbol.dispose]();
    const closing = { error: { code: 'unavailable' as const, text: 'The relay ends.' } };
    for (const stream of this.#streams) stream.close(closing);
    const server = this.#server;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroySoon();
    const deadline = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, 500);
    await closed;
    clearTimeout(deadline);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #create(): Server {
    const handler = (request: IncomingMessage, response: ServerResponse) => {
      void this.#answer(request, response);
    };
    const { tls, log } = this.#settings;
    if (!tls) return createServer(handler);
    const material = readTlsFiles(tls);
    const contextOf = ({ cert, key }: typeof material) => ({
      ...{ cert, key, minVersion: 'TLSv1.2' as const },
    });
    const server = createTlsServer(contextOf(material), handler);
    this.#tlsWatch = watchTlsFiles(tls, {
      material,
      apply: (changed) => server.setSecureContext(contextOf(changed)),
      onProblem: (problem) => log?.(`serve the page: ${problem}`),
    });
    return server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    setHeaders(response);
    try {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('Allow', 'GET, HEAD');
        throw new ApiProblem(405, 'unknown', 'The relay is only read, with GET.');
      }
      checkOrigin(request, this.#access.isProtected ? undefined : (this.#settings.hosts ?? []));
      const url = urlOf(request);
      const api = /\/api\/(.*)$/.exec(url.pathname);
      if (api) await this.#answerApi(request, response, partsOf(api[1]!), url.searchParams);
      else await this.#sendPage(request, response, url.pathname);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  async #answerApi(
    request: IncomingMessage,
    response: ServerResponse,
    path: readonly string[],
    parameters: URLSearchParams,
  ): Promise<void> {
    const token = bearerToken(request);
    const reader = await this.#access.admit(token);
    switch (path[0]) {
      case 'stream':
        return this.#stream(response, parameters, reader, token);
      case 'export':
        return sendExport(
          viewOf(this.#settings.traffic, parameters, reader.canSee),
          parameters,
          response,
        );
      default:
        sendJson(request, response, await answer(this.#settings, path, parameters, reader));
    }
  }

  #stream(
    response: ServerResponse,
    parameters: URLSearchParams,
    reader: Reader,
    token: string | undefined,
  ): void {
    if (this.#streams.size >= streamsMax) {
      throw new ApiProblem(503, 'unavailable', `The relay has ${streamsMax} streams already.`);
    }
    const wish = streamWish(parameters, filterOf(parameters.get('f') ?? ''), mapForm(parameters));
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    const settings = this.#settings;
    const source = {
      traffic: settings.traffic,
      hello: () => hello(settings, reader),
      counts: (canSee: Reader['canSee']) => counts(settings, canSee),
      renew: async () => {
        try {
          return (await this.#access.admit(token)).canSee;
        } catch (error) {
          return errorOf(this.#problemOf('renew the rights of a stream', error));
        }
      },
    };
    const stream = new EventStream(response, wish, source, reader.canSee);
    this.#streams.add(stream);
    response.once('close', () => this.#streams.delete(stream));
  }

  async #sendPage(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const files = await this.#settings.page?.();
    const name = path.slice(path.lastIndexOf('/') + 1) || 'index.html';
    const file = files && Object.hasOwn(files, name) ? files[name as keyof PageFiles] : undefined;
    if (!file) throw new ApiProblem(404, 'unknown', `There is no ${name}.`);
    sendBody(request, response, file.type, file.body);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const problem = this.#problemOf(`answer ${request.url?.slice(0, 200)}`, error);
    sendProblem(request, response, problem);
  }

  /** Returns an error as a problem. The cause of one that the relay does not expect is for its log only. */
  #problemOf(what: string, error: unknown): ApiProblem {
    if (error instanceof ApiProblem) return error;
    this.#settings.log?.(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    const text = 'The relay could not answer; its log has the reason.';
    return new ApiProblem(500, 'unavailable', text);
  }
}

function urlOf({ url = '/' }: IncomingMessage): URL {
  if (!URL.canParse(url, 'http://relay')) {
    throw new ApiProblem(400, 'unknown', 'The address of the request cannot be read.');
  }
  return new URL(url, 'http://relay');
}

/** Returns the parts of a path. Throws ApiProblem for a part that is no encoded text. */
function partsOf(path: string): string[] {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    throw new ApiProblem(400, 'unknown', 'The path of the request cannot be read.');
  }
}
