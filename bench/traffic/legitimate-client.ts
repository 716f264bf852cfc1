// Legitimate clients during a flood: `node legitimate-client.ts CPU`, in the network namespace of the clients.

import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import type { SocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { quantile } from '../statistics.ts';
import { lastingRequest, request } from './messages.ts';
import { Sockets } from './sockets.ts';

/** Opens connections that shall last: half of them are in use during the flood, half rest. */
export interface Opening {
  readonly do: 'open';
  readonly to: SocketAddress;
  readonly count: number;
}

/** Makes new connections to each of `tcp` and requests to `udp`, at `rate` per second. */
export interface Visiting {
  readonly do: 'visit';
  readonly tcp: readonly SocketAddress[];
  readonly udp: SocketAddress;
  readonly rate: number;
  readonly seconds: number;
  /** True when the connections that rested are asked, too. */
  readonly isOver: boolean;
}

export interface Share {
  readonly tried: number;
  readonly succeeded: number;
}

export interface Visits {
  readonly connections: Share;
  readonly datagrams: Share;
  /** The share of the lasting connections that still answer. */
  readonly lasting: Share;
  /** Microseconds from connect to the end of the answer, of those that succeeded. */
  readonly p99Us: number;
}

/** A SYN that is lost is sent again after 1 s (RFC 6298): that, too, is a success. */
export const timeoutMs = 2000;
const pauseMs = 50;

new Sockets(nodePlatform()).pinTo(Number(process.argv[2]));
let lasting: Lasting[] = [];

process.on('message', async (work: Opening | Visiting) => {
  process.send!(work.do === 'open' ? await open(work) : await visit(work));
});
process.on('disconnect', () => process.exit(0));
process.send!('ready');

/** Replaces the lasting connections and returns their local ports. */
async function open({ to, count }: Opening): Promise<number[]> {
  for (const connection of lasting) connection.end();
  lasting = Array.from({ length: count }, () => new Lasting(to));
  for (const connection of lasting) await connection.asks();
  return lasting.map(({ port }) => port);
}

async function visit(work: Visiting): Promise<Visits> {
  const { tcp, udp, rate, seconds, isOver } = work;
  const times: number[] = [];
  const connections: Promise<boolean>[] = [];
  const datagrams: Promise<boolean>[] = [];
  const busy = lasting.filter((_, i) => isOver || i % 2 === 0);
  const start = performance.now();
  for (let done = 0; done < rate * seconds; ) {
    const due = Math.min(rate * seconds, ((performance.now() - start) * rate) / 1000);
    for (; done < due; done++) {
      for (const to of tcp) connections.push(connectsTo(to, times));
      datagrams.push(asks(udp));
    }
    for (const connection of busy) connection.asks();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return {
    connections: await shareOf(connections),
    datagrams: await shareOf(datagrams),
    lasting: await shareOf(busy.map((connection) => connection.asks())),
    p99Us: times.length === 0 ? 0 : 1000 * quantile(times, 0.99),
  };
}

async function shareOf(outcomes: readonly Promise<boolean>[]): Promise<Share> {
  const succeeded = (await Promise.all(outcomes)).filter((each) => each).length;
  return { tried: outcomes.length, succeeded };
}

/** Connects, asks, and waits for the answer and its end. */
function connectsTo({ address: host, port }: SocketAddress, times: number[]): Promise<boolean> {
  return new Promise((resolve) => {
    const start = performance.now();
    let answered = false;
    const socket = connect({ host, port });
    const settle = (ok: boolean) => {
      clearTimeout(late);
      socket.destroy();
      if (ok) times.push(performance.now() - start);
      resolve(ok);
    };
    const late = setTimeout(() => settle(false), timeoutMs);
    socket.on('connect', () => socket.write(request));
    socket.on('data', () => {
      answered = true;
    });
    socket.on('end', () => settle(answered));
    socket.on('error', () => settle(false));
  });
}

/** Sends one datagram from a port of its own, and waits for the answer. */
function asks({ address, port }: SocketAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const settle = (ok: boolean) => {
      clearTimeout(late);
      socket.close();
      resolve(ok);
    };
    const late = setTimeout(() => settle(false), timeoutMs);
    socket.once('message', () => settle(true));
    socket.once('error', () => settle(false));
    socket.send('question', port, address);
  });
}

/** A connection on which one question follows the other. */
class Lasting {
  readonly #socket: Socket;
  #isBroken = false;
  #asked: Promise<boolean> | undefined;

  constructor({ address: host, port }: SocketAddress) {
    this.#socket = connect({ host, port });
    for (const event of ['error', 'end', 'close'] as const) {
      this.#socket.on(event, () => {
        this.#isBroken = true;
      });
    }
  }

  get port(): number {
    return this.#socket.localPort!;
  }

  /** Returns true when the connection answers. It asks no second question while one is open. */
  asks(): Promise<boolean> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #ask(): Promise<boolean> {
    if (this.#isBroken) return false;
    const answered = new Promise<boolean>((resolve) => {
      const late = setTimeout(() => settle(false), timeoutMs);
      const settle = (ok: boolean) => {
        clearTimeout(late);
        this.#socket.off('data', onData);
        this.#socket.off('close', onClose);
        resolve(ok);
      };
      const onData = () => settle(true);
      const onClose = () => settle(false);
      this.#socket.on('data', onData);
      this.#socket.on('close', onClose);
    });
    this.#socket.write(lastingRequest);
    const ok = await answered;
    if (!ok) this.#isBroken = true;
    return ok;
  }

  end(): void {
    this.#socket.destroy();
  }
}
