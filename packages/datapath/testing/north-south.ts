import assert from 'node:assert/strict';
import {
  askHttp,
  askUdp,
  BlockingSocket,
  connectUdp,
  echoBytes,
  LabHost,
  type LabOptions,
  type LabPod,
  pattern,
  setOffloads,
} from '@heddle/lab';
import type { Forwarding } from '@heddle/objects';
import { SysError } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import type { DatapathOptions } from '../src/datapath-options.ts';
import { Cluster } from './cluster.ts';
import { takeFromXdp } from './port-xdp.ts';

// Helpers of the tests of external traffic.

export const ends = ['v4', 'v6'] as const;

/** A way to have the datapath under which every scenario must hold. */
export interface Mode {
  readonly name: string;
  readonly datapath?: Partial<DatapathOptions>;
  /** Default: snat. */
  readonly forwarding?: Forwarding;
  /** Packets have right checksums and fit their link from the start, as those of a real wire. */
  readonly wire?: boolean;
  /** Backends of other nodes see the client's address, too. */
  readonly keepsClient?: boolean;
}

export const modes: readonly Mode[] = [
  { name: 'snat/tc' },
  { name: 'snat/tc, packets as on a wire', wire: true },
  { name: 'snat/xdp generic', wire: true, datapath: { xdp: 'generic' } },
  { name: 'snat/xdp native', wire: true, datapath: { xdp: 'native' } },
  { name: 'dsr/tc', forwarding: 'dsr', keepsClient: true },
  {
    name: 'dsr/xdp generic',
    ...{ forwarding: 'dsr', keepsClient: true, wire: true, datapath: { xdp: 'generic' } },
  },
  {
    name: 'dsr/xdp native',
    ...{ forwarding: 'dsr', keepsClient: true, wire: true, datapath: { xdp: 'native' } },
  },
];

/** Heddle is the network of the pods, which are translated at their interfaces without further settings. */
export const podNetwork: Mode = {
  name: 'pod network',
  datapath: { network: { tunnelPort: 8472 } },
};

/** Three nodes with pods that serve, two each unless said otherwise, and two hosts outside. */
export async function openCluster(
  name: string,
  mode: Mode,
  lab: Omit<LabOptions, 'name'> = {},
): Promise<Cluster> {
  const cluster = new Cluster(
    { name, nodes: 3, podsPerNode: 2, outside: 2, ...lab },
    mode.datapath,
    mode.forwarding,
  );
  try {
    setWire(cluster, mode);
    await cluster.start();
    return cluster;
  } catch (error) {
    cluster[Symbol.dispose]();
    throw error;
  }
}

/** Has the nodes go over to another mode, as new agents with other settings do. */
export function switchTo(cluster: Cluster, mode: Mode): void {
  setWire(cluster, mode);
  for (const node of cluster.lab.nodes) {
    cluster.restart(node, mode.datapath ?? {}, mode.forwarding ?? 'snat');
  }
}

function setWire(cluster: Cluster, { wire = false, datapath }: Mode): void {
  const { lab } = cluster;
  cluster.ports?.[Symbol.dispose]();
  cluster.ports = datapath?.xdp === 'native' ? takeFromXdp(lab) : undefined;
  for (const place of [...lab.pods, ...lab.outside]) {
    setOffloads(place, 'eth0', { checksum: !wire, tso: !wire, gso: !wire });
  }
}

/** Returns a client in the pod's network namespace, but outside of the cgroup whose sockets are translated. */
export function machineIn(pod: LabPod, { lab }: Cluster): LabHost {
  const { name, netnsPath, addresses, platform } = pod;
  return new LabHost(platform, { name, netnsPath, addresses, cgroup: lab.underlay.cgroup });
}

export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Returns an address as it is written before a port. */
export const startOf = (address: string) =>
  address.includes(':') ? `[${address}]:` : `${address}:`;

/** Returns the client's address, as the backend sees it. */
export const clientSeenAt = (from: LabHost, to: SocketAddress): string =>
  JSON.parse(askHttp(from, to, '/client')).client;

/** Sends a word on a connection to an echo port and checks that it returns. */
export function exchange(socket: BlockingSocket, word: string): void {
  socket.send(word);
  assert.equal(text(socket.receive()), word);
}

/** Tests all kinds of requests at addresses that lead to one pod. */
export function converse(
  from: LabHost,
  at: (port: 'http' | 'echo' | 'udp') => SocketAddress,
  name: string,
): void {
  assert.equal(askHttp(from, at('http')), name);
  assert.equal(askUdp(from, at('udp'), 'hello'), `${name} hello`);
  for (const size of [1, 2_000_000]) echoBytes(from, at('echo'), size);
}

/**
 * Sends so many datagrams of `size` bytes, one after the other, and looks whether each comes back as it
 * was. One that is lost while the ends learn of a narrow path is sent again, a few times in all.
 */
export function echoDatagrams(
  from: LabHost,
  to: SocketAddress,
  name: string,
  size: number,
  count: number,
): void {
  using socket = connectUdp(from, to, 500);
  const sent = pattern(size);
  const expected = Buffer.concat([Buffer.from(`${name} `), sent]);
  let lost = 0;
  for (let i = 0; i < count; ) {
    // Each is another one, so that a late answer is none to the next question.
    sent[0] = expected[name.length + 1] = i;
    try {
      socket.send(sent);
      const got = socket.receive();
      if (got[name.length + 1] !== i % 256 && lost > 0) continue;
      assert.ok(expected.equals(got), `datagram ${i} of ${size} bytes comes back as it was`);
      i++;
    } catch (error) {
      const isLost = error instanceof SysError && ['EMSGSIZE', 'ETIMEDOUT'].includes(error.code);
      // Twice on the way there, twice on the way back.
      if (!isLost || ++lost > 4) throw error;
    }
  }
}

/** Returns a TCP connection from a port of the test's choice; to be closed by the caller. */
export function connectFrom(from: LabHost, port: number, to: SocketAddress): BlockingSocket {
  const family = to.address.includes(':') ? 6 : 4;
  const socket = from.enter(() => BlockingSocket.open(from.platform, { protocol: 'tcp', family }));
  socket.bind({ address: to.address.includes(':') ? '::' : '0.0.0.0', port });
  socket.connect(to);
  return socket;
}
