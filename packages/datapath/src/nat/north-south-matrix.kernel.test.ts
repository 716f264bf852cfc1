import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  describeCaptured,
  echoBytes,
  type LabHost,
  type LabNode,
  type LabOptions,
  type LabPod,
  Tap,
} from '@heddle/lab';
import type { Cluster } from '../../testing/cluster.ts';
import {
  clientSeenAt,
  echoDatagrams,
  ends,
  type Mode,
  modes,
  openCluster,
  startOf,
  switchTo,
} from '../../testing/north-south.ts';

// Every way to have the datapath, over every kind of path, from a client outside to a pod of the node
// that is asked and to one of another node, in both families and protocols. Whatever is sent comes
// back to the byte.

interface Path extends Pick<LabOptions, 'mtu' | 'pathMtu' | 'podPathMtu'> {
  readonly name: string;
  /** The path MTU that the client gets when its backend is on the node that it asks, or elsewhere. */
  readonly told?: { readonly local?: number; readonly remote: number };
}

const paths: readonly Path[] = [
  { name: 'MTU 1500' },
  { name: 'MTU 9000', mtu: 9000 },
  { name: 'narrow before the nodes', pathMtu: 1400, told: { local: 1400, remote: 1400 } },
  {
    name: 'as narrow as IPv6 allows before jumbo frames',
    ...{ mtu: 9000, pathMtu: 1280, told: { local: 1280, remote: 1280 } },
  },
  { name: 'narrow between the nodes', podPathMtu: 1350, told: { remote: 1350 } },
  {
    name: 'narrow before the nodes, and narrower between them',
    ...{ mtu: 9000, pathMtu: 1450, podPathMtu: 1300, told: { local: 1450, remote: 1300 } },
  },
];

for (const { name, told, ...network } of paths) {
  describe(name, () => {
    let cluster: Cluster;
    before(async () => {
      cluster = await openCluster('matrix', modes[0]!, { podsPerNode: 1, ...network });
    });
    after(() => cluster?.[Symbol.dispose]());

    for (const mode of modes) {
      test(mode.name, () => {
        switchTo(cluster, mode);
        for (const where of ['local', 'remote'] as const) {
          transfer(cluster, mode, network, { where, told: told?.[where] });
        }
      });
    }
  });
}

/** Bytes of the IP header that a tunnel adds. */
const overhead = { v4: 20, v6: 40 };

function transfer(
  cluster: Cluster,
  mode: Mode,
  { mtu = 1500, podPathMtu }: Omit<Path, 'name'>,
  { where, told }: { where: 'local' | 'remote'; told: number | undefined },
): void {
  const [front, other] = cluster.lab.nodes as [LabNode, LabNode];
  const [client] = cluster.lab.outside as [LabHost];
  const [pod] = (where === 'local' ? front : other).pods as [LabPod];
  const service = cluster.serve({ pods: [pod] });
  cluster.forgetPaths();
  for (const end of ends) {
    const at = (port: 'http' | 'echo' | 'udp') => service.nodePort(port, front, end);
    // The header of a tunnel to the other node takes some of the path MTU.
    const tunnel = mode.forwarding === 'dsr' && where === 'remote' ? overhead[end] : 0;
    const inTunnel = (podPathMtu ?? mtu) - tunnel;
    const isTooNarrow = tunnel > 0 && end === 'v6' && inTunnel < 1280;
    if (isTooNarrow) {
      // IPv6 allows no MTU below 1280, so this connection gets stuck, and the client's next ones use SNAT.
      assert.throws(() => echoBytes(client, at('echo'), 2_000_000, 1000), {
        code: /^(EAGAIN|ETIMEDOUT|EALREADY)$/,
      });
    }
    using tap = Tap.open(client, 'eth0', 'icmp');
    for (const size of [1, 2_000_000]) echoBytes(client, at('echo'), size);
    // A byte, then what just fits a frame, then 2 MB in datagrams of many fragments.
    for (const [size, count] of [
      [1, 1],
      [mtu - 100, 20],
      [20_000, 100],
    ] as const) {
      echoDatagrams(client, at('udp'), pod.name, size, count);
    }
    const seen = clientSeenAt(client, at('http'));
    const keepsClient = where === 'local' || (mode.keepsClient && !isTooNarrow);
    const { addresses } = keepsClient ? client : front;
    assert.ok(seen.startsWith(startOf(addresses[end])), `the backend saw ${seen}`);
    const tunnelled = podPathMtu === undefined && told !== undefined ? told : inTunnel;
    const expected = tunnel > 0 && !isTooNarrow ? tunnelled : told;
    assertReported(describeCaptured(tap.drain()), end, expected);
  }
  cluster.remove(service);
}

/** ICMP errors to the client embed its own packets, and come from the service's address. */
function assertReported(seen: string, end: 'v4' | 'v6', mtu: number | undefined): void {
  const name = end === 'v4' ? 'fragmentation-needed' : 'packet-too-big';
  const received = new Set(seen.match(new RegExp(`${name} mtu \\d+`, 'g')));
  if (mtu === undefined) assert.deepEqual([...received], []);
  else assert.ok(received.has(`${name} mtu ${mtu}`), `${[...received]} instead of ${mtu}`);
  assert.doesNotMatch(seen, /10\.244\.|fd00:10:244:|WRONG/);
}
