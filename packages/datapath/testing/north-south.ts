import assert from 'node:assert/strict';
import {
  askHttp,
  askUdp,
  BlockingSocket,
  type Endpoint,
  echoBytes,
  type Place,
  setOffloads,
} from '@heddle/lab';
import type { DatapathOptions } from '../src/datapath.ts';
import { Cluster } from './cluster.ts';

// What the scenarios of traffic from outside have in common.

export const ends = ['v4', 'v6'] as const;

/** A way to have the datapath under which every scenario must hold. */
export interface Mode {
  readonly name: string;
  readonly datapath?: Partial<DatapathOptions>;
  /** Packets have right checksums and fit their link from the start, as those of a real wire. */
  readonly wire?: boolean;
}

export const modes: readonly Mode[] = [
  { name: 'snat, packets as the kernel keeps them' },
  { name: 'snat, packets as on a wire', wire: true },
];

/** Three nodes with two pods each that serve, and two hosts outside. */
export async function openCluster(name: string, mode: Mode): Promise<Cluster> {
  const cluster = new Cluster({ name, nodes: 3, podsPerNode: 2, outside: 2 }, mode.datapath);
  try {
    for (const place of mode.wire ? [...cluster.lab.pods, ...cluster.lab.outside] : []) {
      setOffloads(place, 'eth0', { checksum: false, tso: false, gso: false });
    }
    await cluster.start();
    return cluster;
  } catch (error) {
    cluster[Symbol.dispose]();
    throw error;
  }
}

export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** How an address begins when a port follows. */
export const startOf = (address: string) =>
  address.includes(':') ? `[${address}]:` : `${address}:`;

/** Who the client is, as the backend sees it. */
export const clientSeenAt = (from: Place, to: Endpoint): string =>
  JSON.parse(askHttp(from, to, '/client')).client;

/** On a connection to an echo port: a word comes back. */
export function exchange(socket: BlockingSocket, word: string): void {
  socket.send(word);
  assert.equal(text(socket.receive()), word);
}

/** Everything that clients do, at addresses that lead to one pod. */
export function converse(
  from: Place,
  at: (port: 'http' | 'echo' | 'udp') => Endpoint,
  name: string,
): void {
  assert.equal(askHttp(from, at('http')), name);
  assert.equal(askUdp(from, at('udp'), 'hello'), `${name} hello`);
  for (const size of [1, 2_000_000]) echoBytes(from, at('echo'), size);
}

/** A UDP socket that is connected; to be closed by the caller. */
export function connectUdp(from: Place, to: Endpoint): BlockingSocket {
  const socket = open(from, 'udp', to);
  socket.connect(to);
  return socket;
}

/** A TCP connection from a port of the test's choice; to be closed by the caller. */
export function connectFrom(from: Place, port: number, to: Endpoint): BlockingSocket {
  const socket = open(from, 'tcp', to);
  socket.bind({ address: to.address.includes(':') ? '::' : '0.0.0.0', port });
  socket.connect(to);
  return socket;
}

function open(from: Place, protocol: 'tcp' | 'udp', to: Endpoint): BlockingSocket {
  const family = to.address.includes(':') ? 6 : 4;
  return from.enter(() => BlockingSocket.open(from.platform, { protocol, family }));
}
