import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  askHttp,
  askUdp,
  connectTcp,
  describeCaptured,
  type LabHost,
  type LabNode,
  type LabPod,
  Tap,
} from '@heddle/lab';
import {
  addNeighbour,
  addRoute,
  changeLink,
  createBridge,
  findLink,
  removeRoute,
} from '@heddle/netlink';
import type { Cluster } from '../../testing/cluster.ts';
import {
  clientSeenAt,
  converse,
  echoDatagrams,
  ends,
  type Mode,
  machineIn,
  modes,
  openCluster,
  podNetwork,
  startOf,
} from '../../testing/north-south.ts';

// Pods whose sockets no program sees, because they are in a separate machine: what they send to a
// service enters the node by the pod's device as it is, and is translated there.

for (const mode of [podNetwork, ...modes]) {
  describe(`pods in virtual machines, ${mode.name}`, () => scenarios(mode));
}

test('pods on one bridge reach each other through services', async () => {
  using cluster = await openCluster('bridged', modes[0]!, { nodes: 1, outside: 0 });
  const [node] = cluster.lab.nodes as [LabNode];
  const [one, two] = node.pods as [LabPod, LabPod];
  node.configure((socket) => {
    createBridge(socket, { name: 'pods0', up: true });
    const bridge = findLink(socket, 'pods0')!.index;
    for (const pod of node.pods) {
      const port = findLink(socket, pod.nodeLink)!.index;
      changeLink(socket, port, { master: bridge });
      for (const end of ends) {
        const address = pod.addresses[end];
        const lladdr = pod.link('eth0').address;
        addNeighbour(socket, { link: bridge, address, lladdr });
        const destination = `${address}/${end === 'v4' ? 32 : 128}`;
        removeRoute(socket, { destination, link: port });
        addRoute(socket, { destination, link: bridge, source: node.addresses[end] });
      }
    }
  });
  for (const [pod, other] of [
    [one, two],
    [two, one],
  ] as const) {
    pod.configure((socket) => {
      const link = findLink(socket, 'eth0')!.index;
      for (const end of ends) {
        const address = other.addresses[end];
        addNeighbour(socket, { link, address, lladdr: other.link('eth0').address });
        addRoute(socket, { destination: `${address}/${end === 'v4' ? 32 : 128}`, link });
      }
    });
  }
  const devices = [node.link('eth0'), { ...node.link('pods0'), pods: true }];
  node.enter(() => cluster.datapath(node).setNode(devices, Object.values(node.addresses)));
  const inside = machineIn(one, cluster);
  for (const pod of [one, two]) {
    const service = cluster.serve({ pods: [pod] });
    for (const end of ends) {
      converse(inside, (port) => service.at(port, service.clusterIP(end)), pod.name);
      const seen = clientSeenAt(inside, service.at('http', service.clusterIP(end)));
      assert.ok(seen.startsWith(startOf(node.addresses[end])), seen);
    }
    cluster.remove(service);
  }
});

function scenarios(mode: Mode): void {
  let cluster: Cluster;
  let a: LabNode;
  let b: LabNode;
  let inside: LabHost;
  before(async () => {
    cluster = await openCluster('machines', mode, { podPathMtu: 1350 });
    [a, b] = cluster.lab.nodes as [LabNode, LabNode];
    inside = machineIn(a.pods[0]!, cluster);
    cluster.servePods();
  });
  after(() => cluster?.[Symbol.dispose]());

  const skip = mode === podNetwork && 'each pod interface has one';
  test('a pod reaches no service without a program at its interface', { skip }, () => {
    const service = cluster.serve({ pods: [a.pods[1]!] });
    const to = service.at('http', service.clusterIP('v4'));
    assert.equal(askHttp(inside, to), a.pods[1]!.name);
    a.enter(() => cluster.datapath(a).setNode([a.link('eth0')], Object.values(a.addresses)));
    assert.throws(() => connectTcp(inside, to, 200), { code: 'ETIMEDOUT' });
    cluster.servePods();
    assert.equal(askHttp(inside, to), a.pods[1]!.name);
    cluster.remove(service);
  });

  for (const end of ends) {
    test(`pods reach ClusterIPs, NodePorts and external addresses of pods on any node, over IP${end}`, () => {
      const external = end === 'v4' ? '198.51.100.9' : 'fd00:198:51:100::9';
      for (const pod of [a.pods[1]!, b.pods[0]!]) {
        const service = cluster.serve({ pods: [pod], spec: { externalIPs: [external] } });
        for (const address of [service.clusterIP(end), external]) {
          converse(inside, (port) => service.at(port, address), pod.name);
          // The pod that asks is seen as what it is.
          const seen = clientSeenAt(inside, service.at('http', address));
          assert.ok(seen.startsWith(startOf(inside.addresses[end])), seen);
        }
        for (const entry of [a, b]) {
          converse(inside, (port) => service.nodePort(port, entry, end), pod.name);
        }
        echoDatagrams(inside, service.at('udp', service.clusterIP(end)), pod.name, 20_000, 20);
        cluster.remove(service);
      }
    });

    test(`a pod reaches itself through services, also at its node's address, over IP${end}`, () => {
      const service = cluster.serve({ pods: [a.pods[0]!] });
      for (const at of [
        (port: 'http' | 'echo' | 'udp') => service.at(port, service.clusterIP(end)),
        (port: 'http' | 'echo' | 'udp') => service.nodePort(port, a, end),
        (port: 'http' | 'echo' | 'udp') => service.nodePort(port, b, end),
      ]) {
        converse(inside, at, inside.name);
        echoDatagrams(inside, at('udp'), inside.name, 4000, 5);
        // From its own address it would answer itself, past the service.
        const seen = clientSeenAt(inside, at('http'));
        assert.ok(
          [a, b].some((node) => seen.startsWith(startOf(node.addresses[end]))),
          seen,
        );
      }
      cluster.remove(service);
    });

    test(`an ICMP error about the path MTU reaches the pod with the service's address, over IP${end}`, () => {
      const service = cluster.serve({ pods: [b.pods[1]!] });
      cluster.forgetPaths();
      using tap = Tap.open(a.pods[0]!, 'eth0', 'icmp');
      converse(inside, (port) => service.at(port, service.clusterIP(end)), b.pods[1]!.name);
      const seen = describeCaptured(tap.drain());
      const name = end === 'v4' ? 'fragmentation-needed' : 'packet-too-big';
      assert.ok(seen.includes(`${name} mtu 1350`), seen);
      assert.ok(seen.includes(`> ${service.clusterIP(end)} `), seen);
      assert.ok(!seen.includes(b.pods[1]!.addresses[end]), seen);
      cluster.remove(service);
    });

    test(`a service without endpoints refuses pods, over IP${end}`, () => {
      const service = cluster.serve({ pods: [] });
      const { clusterIP } = service;
      const to = (port: 'http' | 'udp') => service.at(port, clusterIP.call(service, end));
      assert.throws(() => connectTcp(inside, to('http')), { code: 'ECONNREFUSED' });
      assert.throws(() => askUdp(inside, to('udp'), 'x'), { code: 'ECONNREFUSED' });
      cluster.remove(service);
    });

    test(`a port that the ClusterIP does not have is refused, over IP${end}`, () => {
      const service = cluster.serve({ pods: [b.pods[0]!] });
      const unknown = { address: service.clusterIP(end), port: 4444 };
      for (const from of [inside, a.pods[1]!]) {
        assert.throws(() => connectTcp(from, unknown), { code: 'ECONNREFUSED' }, from.name);
        assert.throws(() => askUdp(from, unknown, 'x'), { code: 'ECONNREFUSED' }, from.name);
      }
      cluster.remove(service);
    });

    test(`a port that an external address does not have is passed to its host, over IP${end}`, () => {
      const external = cluster.lab.outside[0]!.addresses[end];
      const service = cluster.serve({ pods: [b.pods[0]!], spec: { externalIPs: [external] } });
      assert.equal(askHttp(inside, service.at('http', external)), b.pods[0]!.name);
      // The host outside that has the address answers for itself.
      for (const from of [inside, a.pods[1]!]) {
        assert.throws(() => connectTcp(from, { address: external, port: 4444 }), {
          code: 'ECONNREFUSED',
        });
      }
      cluster.remove(service);
    });

    test(`source ranges apply to pods, externalTrafficPolicy Local does not, over IP${end}`, () => {
      const balancer = end === 'v4' ? '198.51.100.10' : 'fd00:198:51:100::10';
      const serve = (...loadBalancerSourceRanges: string[]) =>
        cluster.serve({
          pods: [b.pods[0]!],
          ingress: [balancer],
          spec: { externalTrafficPolicy: 'Local', loadBalancerSourceRanges },
        });
      const service = serve('192.0.2.77/32', 'fd00:192:0:2::77/128');
      // Its own node has no endpoint.
      assert.equal(askHttp(inside, service.nodePort('http', a, end)), b.pods[0]!.name);
      const balanced = service.at('http', balancer);
      assert.throws(() => connectTcp(inside, balanced, 200), { code: 'ETIMEDOUT' });
      cluster.remove(service);
      const allowed = serve(`${inside.addresses[end]}/${end === 'v4' ? 32 : 128}`);
      assert.equal(askHttp(inside, allowed.at('http', balancer)), b.pods[0]!.name);
      cluster.remove(allowed);
      // To another node it is an external client.
      const [, , c] = cluster.lab.nodes;
      const other = serve();
      const elsewhere = other.nodePort('http', c!, end);
      assert.throws(() => connectTcp(inside, elsewhere, 200), { code: 'ETIMEDOUT' });
      cluster.remove(other);
    });

    test(`external clients and other pods reach services too, over IP${end}`, () => {
      for (const pod of [a.pods[0]!, b.pods[0]!]) {
        const service = cluster.serve({ pods: [pod] });
        const [client] = cluster.lab.outside;
        converse(client!, (port) => service.nodePort(port, a, end), pod.name);
        for (const from of [a.pods[1]!, pod, a]) {
          converse(from, (port) => service.at(port, service.clusterIP(end)), pod.name);
        }
        cluster.remove(service);
      }
    });
  }
}
