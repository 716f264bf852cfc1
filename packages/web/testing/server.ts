import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { buildPage } from '@heddle/web/build';
import type { ApiError, MapAnswer } from '@heddle/web/contract';
import { firstError, parseFilter } from '@heddle/web/filter';
import { contentSecurityPolicy } from '@heddle/web/security-policy';
import { explain } from './drops.ts';
import { flowsOfTick, flowsOfTicks, tickMilliseconds } from './flows.ts';
import { deltaOf, mapOf } from './map.ts';
import type { ScriptedRelay } from './relay.ts';
import { whyEmpty } from './why-empty.ts';
import { workloadOf } from './workload.ts';

/** Serves the page and the answers of a scripted relay on a loopback address. */
export class ScriptedServer implements AsyncDisposable {
  readonly relay: ScriptedRelay;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  constructor(relay: ScriptedRelay) {
    this.relay = relay;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Listens; after `stop`, at the same port again. */
  async start(port = this.#port): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: Error) => {
        response.writeHead(500).end(error.stack);
      });
    });
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Ends all connections, as a relay that is killed. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    response.setHeader('Content-Security-Policy', contentSecurityPolicy);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Referrer-Policy', 'no-referrer');
    if (!pathname.startsWith('/api/')) return sendPage(pathname, response);
    const path = pathname.slice('/api/'.length).split('/').map(decodeURIComponent);
    const filter = parseFilter(searchParams.get('f') ?? '');
    const word = firstError(filter);
    if (word >= 0) {
      const text = filter.words[word]!.error!.text;
      return sendJson(response, { error: { code: 'filter', text, word } }, 400);
    }
    if (path[0] === 'stream') return this.#stream(searchParams, response);
    const answer = this.#find(path, searchParams);
    const unknown: ApiError = {
      error: { code: 'unknown', text: `There is no ${path.join('/')}.` },
    };
    sendJson(response, answer ?? unknown, answer ? 200 : 404);
  }

  #find(path: readonly string[], parameters: URLSearchParams): unknown {
    const { relay } = this;
    const f = parameters.get('f') ?? '';
    const to = Number(parameters.get('to')) || relay.now;
    const from = Number(parameters.get('from')) || to - 900_000;
    switch (path[0]) {
      case 'hello':
        return relay.hello();
      case 'map':
        return this.#map(parameters, 1);
      case 'timeline':
        return relay.timeline(f, from, to, Number(parameters.get('step')) || 300);
      case 'drops': {
        if (path.length === 1) return relay.drops(f, from, to);
        const kind = relay.kinds.find(({ id }) => id === path[1]);
        return kind && explain(kind, relay.now);
      }
      case 'events':
        return relay.events();
      case 'changes':
        return relay.changes(f, range(parameters.get('a')), range(parameters.get('b')));
      case 'workload':
      case 'pod':
      case 'service':
      case 'outside':
        return workloadOf(relay, path.slice(1), from, to);
      case 'flows': {
        const before = Number(parameters.get('before')) || Math.floor(to / tickMilliseconds);
        const limit = Math.min(500, Number(parameters.get('limit')) || 500);
        const oldest = Math.floor(Math.max(from, relay.now - 1200_000) / tickMilliseconds);
        const rows = flowsOfTicks(relay.sources(f), before, Math.max(0, before - oldest), limit);
        return Number(rows.next) <= oldest ? { ...rows, next: undefined } : rows;
      }
      case 'find':
        return relay.find(parameters.get('q') ?? '');
      case 'values':
        return relay.values(parameters.get('key') ?? '', parameters.get('prefix') ?? '');
      case 'why-empty':
        return whyEmpty(relay, parseFilter(f), from);
      case 'nodes':
        return relay.nodes();
      default:
        return undefined;
    }
  }

  #map(parameters: URLSearchParams, seq: number): MapAnswer {
    const { relay } = this;
    const to = Number(parameters.get('to')) || relay.now;
    const wish = {
      links: relay.links(parameters.get('f') ?? ''),
      level: parameters.get('level') === 'ns' ? ('ns' as const) : ('workload' as const),
      open: (parameters.get('open') ?? '').split(',').filter(Boolean),
      ...{ from: Number(parameters.get('from')) || to - 900_000, to },
    };
    return mapOf(relay.cluster, wish, seq);
  }

  #stream(parameters: URLSearchParams, response: ServerResponse): void {
    const { relay } = this;
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    let id = 0;
    const send = (event: string, data: unknown) => {
      if (relay.faults.isSilent || response.writableNeedDrain) return;
      response.write(`id: ${++id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    send('hello', relay.hello());
    send('counts', relay.counts());
    const timers = [setInterval(() => send('counts', relay.counts()), 1000)];
    if (parameters.get('view') === 'map') {
      let map = this.#map(parameters, 1);
      send('map', map);
      timers.push(
        setInterval(() => {
          const next = this.#map(parameters, map.seq + 1);
          send('map', deltaOf(map, next));
          map = next;
        }, 2000),
      );
    } else if (parameters.get('view') === 'flows') {
      const filter = parameters.get('f') ?? '';
      let tick = Math.floor(relay.now / tickMilliseconds);
      timers.push(
        setInterval(() => {
          for (const until = Math.floor(relay.now / tickMilliseconds); tick < until; tick++) {
            send('flows', flowsOfTick(relay.sources(filter), tick));
          }
        }, tickMilliseconds),
      );
    }
    response.on('close', () => {
      for (const timer of timers) clearInterval(timer);
    });
  }
}

function range(text: string | null): { from: number; to: number } {
  const [from = 0, to = 0] = (text ?? '').split('..').map(Number);
  return { from, to };
}

function sendJson(response: ServerResponse, answer: unknown, status: number): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
}

async function sendPage(pathname: string, response: ServerResponse): Promise<void> {
  const files = await buildPage();
  const name = pathname === '/' ? 'index.html' : pathname.slice(1);
  if (!Object.hasOwn(files, name)) {
    response.writeHead(404).end();
    return;
  }
  const { type, body, hash } = files[name as keyof typeof files];
  response.writeHead(200, { 'Content-Type': type, ETag: `"${hash}"` }).end(body);
}
