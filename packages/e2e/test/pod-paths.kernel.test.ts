// Pods whose network is Heddle: their interfaces come from the CNI plug-in and the agents, and their packets pass
// no stack of a node. Nodes 1 and 2 are on one link, node 3 is behind a router.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askHttp, askUdp, echoBytes, LabHost, type LabPod, startBackend } from '@heddle/lab';
import { listAddresses, listRoutes } from '@heddle/netlink';
import { routeProtocol, tunnelName } from '@heddle/podnet';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { assertReaches, exchange } from '../testing/traffic/reachability.ts';

const families = ['v4', 'v6'] as const;
const served = { http: [8080], echo: [8081], udp: [8083] };
const ports = [
  { name: 'http', protocol: 'TCP', port: 80, targetPort: 8080, nodePort: 30080 },
  { name: 'echo', protocol: 'TCP', port: 81, targetPort: 8081, nodePort: 30081 },
  { name: 'udp', protocol: 'UDP', port: 83, targetPort: 8083, nodePort: 30083 },
];

/** Returns a Service of both families with one pod, and its EndpointSlices. */
function serviceOf(name: string, number: number, pod: LabPod) {
  const clusterIPs = [`10.96.0.${number}`, `fd00:10:96::${number}`];
  const metadata = { name, namespace: 'default' };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: 'NodePort',
        clusterIP: clusterIPs[0],
        clusterIPs,
        ipFamilies: ['IPv4', 'IPv6'],
        ipFamilyPolicy: 'RequireDualStack',
        ports: ports.map((port) => ({ ...port, nodePort: port.nodePort + 100 * number })),
      },
    },
    ...families.map((family) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        ...metadata,
        name: `${name}-${family}`,
        labels: { 'kubernetes.io/service-name': name },
      },
      addressType: family === 'v4' ? 'IPv4' : 'IPv6',
      ports: ports.map(({ name, protocol, targetPort: port }) => ({ name, protocol, port })),
      endpoints: [
        {
          addresses: [pod.addresses[family]],
          nodeName: pod.node.name,
          conditions: { ready: true },
        },
      ],
    })),
  ];
}

describe('pods of nodes on one link and behind a router', () => {
  let network: NodeNetworkLab;
  /** Two pods on the first node, one on each of the others. */
  let pods: [LabPod, LabPod, LabPod, LabPod];
  before(async () => {
    network = new NodeNetworkLab('podnet', { nodes: 3, farFrom: 3, outside: 1, hasPods: false });
    for (const node of network.lab.nodes) await network.startOn(node);
    pods = [
      await network.addPod(network.node(1)),
      await network.addPod(network.node(1)),
      await network.addPod(network.node(2)),
      await network.addPod(network.node(3)),
    ];
    await Promise.all(pods.map((pod) => startBackend(pod, served)));
    network.add(...pods.flatMap((pod, i) => serviceOf(`service-${i + 1}`, i + 1, pod)));
    await network.until('all services to be programmed', async () => {
      for (const node of network.lab.nodes) {
        const { rows } = await network.status(node);
        if (rows.pending > 0 || rows.done < 24) return false;
      }
      return true;
    });
  });
  after(() => network?.[Symbol.dispose]());

  for (const family of families) {
    test(`pods reach each other on one node, directly and through the tunnel, ${family}`, () => {
      for (const from of pods) {
        for (const to of pods) {
          if (from === to) continue;
          exchange(from, to, family, { bytes: 2_000_000 });
          assertReaches(from, to, family);
        }
      }
    });

    test(`external clients reach services on any node at any node, ${family}`, () => {
      const [client] = network.lab.outside;
      for (const [i, pod] of pods.entries()) {
        for (const node of network.lab.nodes) {
          const address = node.addresses[family];
          const at = (port: number) => ({ address, port: port + 100 * (i + 1) });
          assert.equal(askHttp(client!, at(30080)), pod.name, `${pod.name} at ${node.name}`);
          assert.equal(askUdp(client!, at(30083), 'hello'), `${pod.name} hello`);
          echoBytes(client!, at(30081), 500_000);
        }
      }
    });

    test(`sockets, virtual machines and nodes reach services on any node, ${family}`, () => {
      for (const [i, pod] of pods.entries()) {
        const address = family === 'v4' ? `10.96.0.${i + 1}` : `fd00:10:96::${i + 1}`;
        for (const from of pods) {
          const { name, netnsPath, addresses, platform } = from;
          const { cgroup } = network.lab.underlay;
          const machine = new LabHost(platform, { name, netnsPath, addresses, cgroup });
          for (const client of [from, machine, from.node]) {
            const what = `${pod.name} from ${client.name} ${client === machine}`;
            assert.equal(askHttp(client, { address, port: 80 }), pod.name, what);
            assert.equal(askUdp(client, { address, port: 83 }, 'hello'), `${pod.name} hello`, what);
            echoBytes(client, { address, port: 81 }, 500_000);
          }
        }
      }
    });
  }

  test('an agent that cannot read the Nodes yet leaves the paths to other nodes as they are', async () => {
    const [from, , direct, behindTunnel] = pods;
    const node = network.node(1);
    const links = () =>
      node.configure((socket) => [
        listRoutes(socket).filter(({ protocol }) => protocol === routeProtocol),
        listAddresses(socket, node.link(tunnelName).index),
      ]);
    const before = links();
    await network.kill(node);
    await network.startWithoutApiServer(node);
    assert.deepEqual(links(), before);
    for (const to of [direct, behindTunnel]) {
      for (const family of families) {
        exchange(from, to, family, { bytes: 1000 });
        exchange(to, from, family, { bytes: 1000 });
        exchange(node, to, family, { bytes: 1000 });
      }
    }
    await network.kill(node);
    await network.startOn(node);
    assert.deepEqual(links(), before);
  });
});
