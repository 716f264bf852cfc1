import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  askHttp,
  askUdp,
  type BlockingSocket,
  connectTcp,
  connectUdp,
  eth,
  type LabHost,
  type LabNode,
  type LabPod,
  Tap,
} from '@heddle/lab';
import type { Cluster, End, Served } from '../../testing/cluster.ts';
import {
  clientSeenAt,
  converse,
  ends,
  exchange,
  type Mode,
  modes,
  openCluster,
  startOf,
  text,
} from '../../testing/north-south.ts';

/** The cluster that all scenarios share, its nodes, and clients outside. */
let cluster: Cluster;
let a: LabNode;
let b: LabNode;
let c: LabNode;
let client: LabHost;
let other: LabHost;
const pod = (node: LabNode, n = 0): LabPod => node.pods[n]!;

for (const mode of modes) describe(mode.name, () => scenarios(mode));

function scenarios(mode: Mode): void {
  before(async () => {
    cluster = await openCluster('north-south', mode);
    [a, b, c] = cluster.lab.nodes as [LabNode, LabNode, LabNode];
    [client, other] = cluster.lab.outside as [LabHost, LabHost];
  });
  after(() => cluster?.[Symbol.dispose]());

  describe('external traffic to services', () => {
    for (const end of ends) {
      test(`a NodePort of each node reaches pods of all nodes, over IP${end}`, () => {
        for (const home of [a, b]) {
          const service = cluster.serve({ pods: [pod(home)] });
          for (const entry of [a, b, c]) {
            converse(client, (port) => service.nodePort(port, entry, end), pod(home).name);
          }
          cluster.remove(service);
        }
      });

      test(`a load balancer address, an externalIP and a routed ClusterIP reach pods, over IP${end}`, () => {
        const balancer = end === 'v4' ? '198.51.100.1' : 'fd00:198:51:100::1';
        const external = end === 'v4' ? '198.51.100.2' : 'fd00:198:51:100::2';
        const service = cluster.serve({
          pods: [pod(b)],
          ingress: [balancer],
          spec: { externalIPs: [external] },
        });
        for (const address of [balancer, external, service.clusterIP(end)]) {
          for (const entry of [a, b]) {
            cluster.lab.routeTo(entry, address);
            converse(client, (port) => service.at(port, address), pod(b).name);
          }
        }
        cluster.remove(service);
      });
    }

    test("a local pod sees the client's address, a remote one only with dsr", () => {
      for (const end of ends) {
        const service = cluster.serve({ pods: [pod(a)] });
        const at = (entry: LabNode) => service.nodePort('http', entry, end);
        assert.ok(clientSeenAt(client, at(a)).startsWith(startOf(client.addresses[end])));
        const seen = mode.keepsClient ? client : b;
        assert.ok(clientSeenAt(client, at(b)).startsWith(startOf(seen.addresses[end])));
        cluster.remove(service);
      }
    });

    test('connections are spread over all pods', () => {
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

    test('pods and processes of the nodes reach NodePorts, and a pod reaches itself', () => {
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

  describe('choice of backends for external traffic', () => {
    const refused = (service: Served, entry: LabNode, end: End) => {
      assert.throws(() => connectTcp(client, service.nodePort('http', entry, end)), {
        code: 'ECONNREFUSED',
      });
      assert.throws(() => askUdp(client, service.nodePort('udp', entry, end), 'x'), {
        code: 'ECONNREFUSED',
      });
    };

    test('a service without endpoints refuses at once, TCP by a reset and UDP by ICMP', () => {
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

    test('externalTrafficPolicy Local uses local pods, which see the client; other nodes drop packets', () => {
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

    test("sessionAffinity keeps a client's pod over TCP and UDP, whatever its port", () => {
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

    test('connections to terminating pods continue, and new ones reach them only when no other pod is left', () => {
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

    test('only the UDP flows of a removed NodePort end', async () => {
      const [moved, kept] = [0, 1].map(() => cluster.serve({ pods: [pod(a)] })) as [Served, Served];
      for (const end of ends) {
        cluster.change(moved, { pods: [pod(a)] });
        const sockets = [moved, kept].map((service) =>
          connectUdp(client, service.nodePort('udp', a, end)),
        ) as [BlockingSocket, BlockingSocket];
        const ask = (socket: BlockingSocket) => {
          socket.send('x');
          return text(socket.receive());
        };
        for (const socket of sockets) assert.equal(ask(socket), `${pod(a).name} x`);
        const ports = [{ name: 'udp', protocol: 'UDP', port: 83, nodePort: 32_000 }];
        cluster.change(moved, { pods: [pod(a)], spec: { ports } });
        const old = sockets[0];
        await assert.rejects(
          async () => {
            for (;;) {
              assert.equal(ask(old), `${pod(a).name} x`);
              await new Promise((resolve) => setTimeout(resolve, 10));
            }
          },
          { code: 'ECONNREFUSED' },
        );
        assert.equal(ask(sockets[1]), `${pod(a).name} x`);
        // A late packet of the pod to the client has the frontend as its source.
        using tap = Tap.open(pod(a), 'eth0', 'nothing');
        const ip = { src: pod(a).addresses[end], dst: client.addresses[end] };
        const frame = eth(pod(a).firstHop);
        const ports83 = { sport: 8083, dport: old.localAddress.port };
        tap.send((end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip)).udp(ports83).payload('late'));
        assert.equal(text(old.receive()), 'late');
        for (const socket of sockets) socket[Symbol.dispose]();
      }
      for (const service of [moved, kept]) cluster.remove(service);
    });

    test('when a pod is removed, its TCP connections are reset and its UDP flows get another one', () => {
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
}
