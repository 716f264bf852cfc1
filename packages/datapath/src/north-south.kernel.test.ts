import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  askHttp,
  askUdp,
  BlockingSocket,
  connectTcp,
  type Endpoint,
  echoBytes,
  eth,
  type LabNode,
  type LabPod,
  Packet,
  type Place,
  setOffloads,
  Tap,
} from '@heddle/lab';
import { Cluster, type End, type Served } from '../testing/cluster.ts';
import type { DatapathOptions } from './datapath.ts';

const ends = ['v4', 'v6'] as const;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const clientSeenAt = (from: Place, to: Endpoint): string =>
  JSON.parse(askHttp(from, to, '/client')).client;
const startOf = (address: string) => (address.includes(':') ? `[${address}]:` : `${address}:`);
const exchange = (socket: BlockingSocket, word: string) => {
  socket.send(word);
  assert.equal(text(socket.receive()), word);
};

/** The cluster that all scenarios share: nodes `a`, `b` and `c`, clients outside. */
let cluster: Cluster;
let a: LabNode;
let b: LabNode;
let c: LabNode;
let client: Place;
let other: Place;
const pod = (node: LabNode, n = 0): LabPod => node.pods[n]!;

/** Everything that clients do, at addresses that lead to one pod. */
function converse(from: Place, at: (port: 'http' | 'echo' | 'udp') => Endpoint, name: string) {
  assert.equal(askHttp(from, at('http')), name);
  assert.equal(askUdp(from, at('udp'), 'hello'), `${name} hello`);
  for (const size of [1, 2_000_000]) echoBytes(from, at('echo'), size);
}

function connectUdp(from: Place, to: Endpoint): BlockingSocket {
  const family = to.address.includes(':') ? 6 : 4;
  const socket = from.enter(() => BlockingSocket.open(from.platform, { protocol: 'udp', family }));
  socket.connect(to);
  return socket;
}

function connectFrom(from: Place, port: number, to: Endpoint): BlockingSocket {
  const family = to.address.includes(':') ? 6 : 4;
  const socket = from.enter(() => BlockingSocket.open(from.platform, { protocol: 'tcp', family }));
  socket.bind({ address: family === 6 ? '::' : '0.0.0.0', port });
  socket.connect(to);
  return socket;
}

/** A way to have the datapath under which every scenario must hold. */
interface Mode {
  readonly name: string;
  readonly datapath?: Partial<DatapathOptions>;
  /** Packets have right checksums and fit their link from the start, as those of a real wire. */
  readonly wire?: boolean;
}

const modes: readonly Mode[] = [
  { name: 'snat, packets as the kernel keeps them' },
  { name: 'snat, packets as on a wire', wire: true },
];

function asOnAWire({ lab }: Cluster): void {
  for (const place of [...lab.pods, ...lab.outside]) {
    setOffloads(place, 'eth0', { checksum: false, tso: false, gso: false });
  }
}

for (const mode of modes) describe(mode.name, () => scenarios(mode));

function scenarios(mode: Mode): void {
  before(async () => {
    cluster = new Cluster(
      { name: 'north-south', nodes: 3, podsPerNode: 2, outside: 2 },
      mode.datapath,
    );
    if (mode.wire) asOnAWire(cluster);
    [a, b, c] = cluster.lab.nodes as [LabNode, LabNode, LabNode];
    [client, other] = cluster.lab.outside as [Place, Place];
    await cluster.start();
  });
  after(() => cluster?.[Symbol.dispose]());

  describe('ways in from outside', () => {
    for (const end of ends) {
      test(`a NodePort of each node leads to a pod of any node, over IP${end}`, () => {
        for (const home of [a, b]) {
          const service = cluster.serve({ pods: [pod(home)] });
          for (const entry of [a, b, c]) {
            converse(client, (port) => service.nodePort(port, entry, end), pod(home).name);
          }
          cluster.remove(service);
        }
      });

      test(`a load balancer's address, an externalIP and a ClusterIP that is routed here, over IP${end}`, () => {
        const balancer = end === 'v4' ? '198.51.100.1' : 'fd00:198:51:100::1';
        const external = end === 'v4' ? '198.51.100.2' : 'fd00:198:51:100::2';
        const service = cluster.serve({
          pods: [pod(b)],
          ingress: [balancer],
          spec: { externalIPs: [external] },
        });
        for (const address of [balancer, external, service.clusterIP(end)]) {
          for (const entry of [a, b]) {
            cluster.lab.leadTo(entry, address);
            converse(client, (port) => service.at(port, address), pod(b).name);
          }
        }
        cluster.remove(service);
      });
    }

    test('a pod on this node sees who the client is, one on another node sees this node', () => {
      for (const end of ends) {
        const service = cluster.serve({ pods: [pod(a)] });
        const at = (entry: LabNode) => service.nodePort('http', entry, end);
        assert.ok(clientSeenAt(client, at(a)).startsWith(startOf(client.addresses[end])));
        assert.ok(clientSeenAt(client, at(b)).startsWith(startOf(b.addresses[end])));
        cluster.remove(service);
      }
    });

    test('connections spread over all pods', () => {
      const pods = [pod(a), pod(a, 1), pod(b), pod(c)];
      const service = cluster.serve({ pods });
      for (const end of ends) {
        const seen = new Set<string>();
        // Each of 100 misses one of four pods with a chance of 4 * 0.75^100: once in 10^11.
        for (let i = 0; i < 100; i++) seen.add(askHttp(client, service.nodePort('http', a, end)));
        assert.deepEqual([...seen].sort(), pods.map(({ name }) => name).sort());
      }
      cluster.remove(service);
    });

    test('pods and processes of the nodes reach NodePorts too, a pod also itself', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      for (const end of ends) {
        for (const from of [pod(a), pod(b), pod(b, 1), a, b, c]) {
          for (const entry of [a, b]) {
            const at = service.nodePort('http', entry, end);
            assert.equal(askHttp(from, at), pod(b).name, `${from.name} at ${entry.name} IP${end}`);
          }
          const internal = service.at('http', service.clusterIP(end));
          assert.equal(askHttp(from, internal), pod(b).name, `${from.name} ClusterIP ${end}`);
        }
      }
      cluster.remove(service);
    });
  });

  describe('who serves', () => {
    const refused = (service: Served, entry: LabNode, end: End) => {
      assert.throws(() => connectTcp(client, service.nodePort('http', entry, end)), {
        code: 'ECONNREFUSED',
      });
      assert.throws(() => askUdp(client, service.nodePort('udp', entry, end), 'x'), {
        code: 'ECONNREFUSED',
      });
    };

    test('without endpoints the client is told at once, TCP by a reset, UDP by ICMP', () => {
      const service = cluster.serve({ pods: [] });
      for (const end of ends) for (const entry of [a, b]) refused(service, entry, end);
      cluster.change(service, { pods: [pod(a)] });
      for (const end of ends) {
        assert.equal(askHttp(client, service.nodePort('http', b, end)), pod(a).name);
      }
      cluster.change(service, { pods: [] });
      for (const end of ends) refused(service, b, end);
      cluster.remove(service);
    });

    test('externalTrafficPolicy Local: own pods only, who see the client; other nodes are silent', () => {
      const spec = { externalTrafficPolicy: 'Local' };
      const service = cluster.serve({ pods: [pod(a), pod(a, 1), pod(b)], spec });
      for (const end of ends) {
        for (let i = 0; i < 20; i++) {
          assert.match(askHttp(client, service.nodePort('http', a, end)), /^pod-1-/);
          assert.equal(askHttp(client, service.nodePort('http', b, end)), 'pod-2-1');
        }
        for (const entry of [a, b]) {
          const seen = clientSeenAt(client, service.nodePort('http', entry, end));
          assert.ok(seen.startsWith(startOf(client.addresses[end])), seen);
        }
        // No answer at all: a load balancer shall not mistake one for a service that is gone.
        for (const port of ['http', 'udp'] as const) {
          using tap = Tap.open(client, 'eth0');
          const at = service.nodePort(port, c, end);
          const ask = () =>
            port === 'udp' ? askUdp(client, at, 'x', 200) : connectTcp(client, at, 200);
          assert.throws(ask, { code: 'ETIMEDOUT' });
          assert.deepEqual(
            tap.drain().filter(({ direction }) => direction === 'in'),
            [],
          );
        }
        // From inside, all pods serve.
        for (const from of [pod(c), c]) {
          assert.match(askHttp(from, service.nodePort('http', c, end)), /^pod-[12]-/);
        }
      }
      cluster.remove(service);
    });

    test('sessionAffinity: a client keeps its pod, over TCP and UDP, whatever its port', () => {
      const pods = [pod(a), pod(a, 1), pod(b), pod(b, 1), pod(c), pod(c, 1)];
      const spec = { sessionAffinity: 'ClientIP' };
      const service = cluster.serve({ pods, spec });
      for (const end of ends) {
        for (const from of [client, other]) {
          const first = askHttp(from, service.nodePort('http', a, end));
          for (let i = 0; i < 15; i++) {
            assert.equal(askHttp(from, service.nodePort('http', a, end)), first);
          }
          const name = askUdp(from, service.nodePort('udp', a, end), 'x');
          for (let i = 0; i < 15; i++) {
            assert.equal(askUdp(from, service.nodePort('udp', a, end), 'x'), name);
          }
        }
      }
      cluster.remove(service);
    });

    test('pods that end: connections go on, new ones go elsewhere, or to them when nobody else is left', () => {
      const ending = { ready: false, serving: true, terminating: true };
      for (const spec of [{}, { externalTrafficPolicy: 'Local' }]) {
        const service = cluster.serve({ pods: [pod(a)], spec });
        for (const end of ends) {
          cluster.change(service, { pods: [pod(a)], spec });
          using established = connectTcp(client, service.nodePort('echo', a, end));
          exchange(established, 'before');
          cluster.change(service, { pods: [{ pod: pod(a), conditions: ending }, pod(a, 1)], spec });
          for (let i = 0; i < 20; i++) {
            assert.equal(askHttp(client, service.nodePort('http', a, end)), pod(a, 1).name);
          }
          exchange(established, 'while it ends');
          cluster.change(service, { pods: [{ pod: pod(a), conditions: ending }], spec });
          assert.equal(askHttp(client, service.nodePort('http', a, end)), pod(a).name);
          exchange(established, 'to the end');
        }
        cluster.remove(service);
      }
    });

    test('when a pod is gone, its TCP connections are reset and UDP flows go elsewhere', () => {
      for (const end of ends) {
        for (const home of [a, b]) {
          const service = cluster.serve({ pods: [pod(home)] });
          using tcp = connectTcp(client, service.nodePort('echo', a, end));
          exchange(tcp, 'before');
          using udp = connectUdp(client, service.nodePort('udp', a, end));
          udp.send('before');
          assert.equal(text(udp.receive()), `${pod(home).name} before`);
          cluster.change(service, { pods: [pod(c)] });
          udp.send('after');
          assert.equal(text(udp.receive()), `${pod(c).name} after`);
          tcp.send('after');
          assert.throws(() => tcp.receive(), { code: 'ECONNRESET' });
          cluster.remove(service);
        }
      }
    });
  });

  describe('what is under way', () => {
    test('large datagrams arrive, in fragments', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      const large = 'x'.repeat(4000);
      for (const end of ends) {
        for (const entry of [a, b]) {
          const at = service.nodePort('udp', entry, end);
          assert.equal(askUdp(client, at, large), `${pod(b).name} ${large}`);
        }
      }
      cluster.remove(service);
    });

    test('a port that a service does not have is not passed on, and one that the node has is the node’s', () => {
      const balancer = '198.51.100.4';
      const service = cluster.serve({ pods: [pod(b)], ingress: [balancer] });
      cluster.lab.leadTo(a, balancer);
      using tap = Tap.open(a, 'eth0');
      assert.throws(() => connectTcp(client, { address: balancer, port: 9999 }, 200), {
        code: 'ETIMEDOUT',
      });
      const seen = tap.drain().filter(({ packet }) => `${packet}`.includes(balancer));
      assert.ok(seen.length > 0);
      assert.ok(
        seen.every(({ direction }) => direction === 'in'),
        'it goes round in circles',
      );
      assert.throws(() => connectTcp(client, { address: a.addresses.v4, port: 9999 }), {
        code: 'ECONNREFUSED',
      });
      cluster.remove(service);
    });

    test('a segment that belongs nowhere does not end the connection', () => {
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        using tap = Tap.open(pod(home), 'eth0');
        using socket = connectTcp(client, service.nodePort('echo', a, 'v4'));
        exchange(socket, 'before');
        const sent = tap
          .drain()
          .find(({ direction, packet }) => direction === 'out' && `${packet}`.includes('SYN+ACK'))!;
        // As a pod whose connection tracking lost its place would send: far beyond the window.
        const { checksum: _, ...answer } = sent.packet.layer('tcp')!;
        const far = (answer.seq! + 0x40000000) >>> 0;
        const stray = new Packet({
          layers: [...sent.packet.layers.slice(0, 2), { ...answer, syn: false, seq: far }],
        });
        tap.send(stray);
        exchange(socket, 'after');
        cluster.remove(service);
      }
    });

    test('a datagram without a checksum arrives without one', () => {
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        using tap = Tap.open(client, 'eth0');
        using atPod = Tap.open(pod(home), 'eth0');
        const { address, port } = service.nodePort('udp', a, 'v4');
        const frame = eth(client.firstHop).ipv4({ src: client.addresses.v4, dst: address });
        tap.send(frame.udp({ sport: 4000, dport: port, checksum: 'none' }).payload('plain'));
        atPod.find('datagram', ({ packet }) =>
          / > 8083 checksum none\n.*"plain"/.test(`${packet}`),
        );
        const reply = tap.find('reply', ({ packet }) => packet.layer('udp') !== undefined);
        assert.match(`${reply.packet}`, new RegExp(`udp ${port} > 4000.*\n.*"pod-\\d-1 plain"$`));
        cluster.remove(service);
      }
    });

    test('a segment of no known connection is answered by a reset', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      using tap = Tap.open(client, 'eth0');
      for (const end of ends) {
        const { address, port } = service.nodePort('echo', a, end);
        const ip = { src: client.addresses[end], dst: address };
        const tcp = { sport: 4000, dport: port, ack: true, seq: 1000, ackSeq: 77 };
        const frame = eth(client.firstHop);
        tap.send((end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip)).tcp(tcp).payload('lost'));
        const { packet } = tap.find('reset', (each) => each.packet.layer('tcp')?.rst === true);
        assert.match(`${packet}`, new RegExp(`tcp ${port} > 4000 RST seq 77 window`));
        assert.doesNotMatch(`${packet}`, /WRONG/);
      }
      cluster.remove(service);
    });

    test('two services with one pod tell the connections of one client port apart', () => {
      for (const home of [a, b]) {
        const services = [
          cluster.serve({ pods: [pod(home)] }),
          cluster.serve({ pods: [pod(home)] }),
        ];
        for (const end of ends) {
          const sockets = services.map((service) =>
            connectFrom(client, 21_000, service.nodePort('echo', a, end)),
          );
          for (const [i, socket] of sockets.entries()) exchange(socket, `by way ${i}`);
          for (const socket of sockets) socket[Symbol.dispose]();
        }
        for (const service of services) cluster.remove(service);
      }
    });

    test('hundreds of connections from several clients to one pod are kept apart', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      for (const end of ends) {
        const at = service.nodePort('echo', a, end);
        const sockets = Array.from({ length: 200 }, (_, i) =>
          connectTcp(i % 2 ? client : other, at),
        );
        for (const [i, socket] of sockets.entries()) socket.send(`number ${i}`);
        for (const [i, socket] of sockets.entries()) {
          assert.equal(text(socket.receive()), `number ${i}`);
          socket[Symbol.dispose]();
        }
      }
      cluster.remove(service);
    });

    test('a new agent, and one that was killed, are not noticed', () => {
      const service = cluster.serve({ pods: [pod(a), pod(b)] });
      for (const end of ends) {
        const sockets = Array.from({ length: 20 }, () =>
          connectTcp(client, service.nodePort('echo', a, end)),
        );
        for (const socket of sockets) exchange(socket, 'before');
        cluster.restart(a);
        for (const socket of sockets) {
          exchange(socket, 'after');
          socket[Symbol.dispose]();
        }
        assert.match(askHttp(client, service.nodePort('http', a, end)), /^pod-[12]-1$/);
      }
      cluster.remove(service);
    });

    test('one client port serves for one connection after the other', () => {
      const service = cluster.serve({ pods: [pod(a), pod(b)] });
      for (const end of ends) {
        for (let i = 0; i < 50; i++) {
          using socket = connectFrom(client, 22_000, service.nodePort('echo', a, end));
          exchange(socket, `round ${i}`);
          // A reset instead of a FIN leaves the port free at once at both ends.
          socket.setOption(1, 13, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
        }
      }
      cluster.remove(service);
    });
  });
}
