import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AgentEvent, FlowItem, ServiceEntry } from '@heddle/agent';
import { trace } from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import {
  askHttp,
  askTcp,
  askUdp,
  BlockingSocket,
  connectTcp,
  echoBytes,
  type LabHost,
  type LabPod,
  startBackend,
} from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { pod, service, slice } from '../../testing/objects.ts';
import { Client } from '../../testing/traffic/client.ts';

const ipVersions = ['v4', 'v6'] as const;
const loopback = { v4: '127.0.0.1', v6: '::1' } as const;
const protocols = ['TCP', 'UDP'] as const;

type PodMore = NonNullable<Parameters<typeof pod>[4]>;

const old = { metadata: { creationTimestamp: '2020-01-01T00:00:00Z' } };

/** Returns the name of the pod that replied, or the error code. */
function answerOf(ask: () => string): string {
  try {
    return ask().split(' ')[0]!;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

function replyTo(from: LabHost, protocol: string, address: string, port: number): string {
  const ask = protocol === 'TCP' ? askTcp : askUdp;
  return answerOf(() => ask(from, { address, port }, 'who?', 1000));
}

/**
 * Sends a request on a connection and returns the name in the reply, or 'EOF' if the peer has
 * closed it.
 */
function say(socket: BlockingSocket): string {
  return answerOf(() => {
    socket.send('x');
    const answer = decodeUtf8(socket.receive());
    return answer === '' ? 'EOF' : answer;
  });
}

describe('hostPorts of pods', () => {
  let cluster: ClusterLab;
  let outside: LabHost;
  let onNode: Client;
  /** A pod on the agent's node. */
  let pods: readonly LabPod[];
  before(async () => {
    cluster = await ClusterLab.open('host-ports', { nodes: 2, podsPerNode: 3, outside: 1 });
    outside = cluster.lab.outside[0]!;
    pods = cluster.node.pods;
    await Promise.all(
      cluster.lab.pods.map((place) =>
        startBackend(place, { tcp: [8080], udp: [8080], http: [8000], echo: [8081] }),
      ),
    );
    onNode = new Client(cluster.node);
    await cluster.start();
  });
  after(() => cluster?.[Symbol.dispose]());

  const both = (place: LabPod) => [place.addresses.v4, place.addresses.v6];
  const tcpAndUdp = (hostPort: number, more: object = {}) =>
    protocols.map((protocol) => ({ containerPort: 8080, hostPort, protocol, ...more }));
  const make = (name: string, place: LabPod, ports: readonly object[], more: PodMore = {}) =>
    pod(name, cluster.node.name, both(place), ports as never, more);
  const rowsOf = async (name: string) => await cluster.service(`default/pod/${name}`);

  for (const end of ipVersions) {
    for (const protocol of protocols) {
      test(`${protocol} over IP${end}: a hostPort is served to all clients until the pod is deleted, and bind is guarded`, async () => {
        const node = cluster.node.addresses[end];
        const port = 9000;
        const [server, neighbour] = pods as [LabPod, LabPod];
        const far = cluster.lab.nodes[1]!.pods[0]!;
        const bind = end === 'v4' ? ['0.0.0.0', '127.0.0.1', node] : ['::', '::1', node];
        await cluster.apply(make('server', server, tcpAndUdp(port)));
        for (const from of [outside, far, neighbour, server, cluster.node]) {
          assert.equal(replyTo(from, protocol, node, port), server.name, from.name);
        }
        assert.equal(replyTo(cluster.node, protocol, loopback[end], port), server.name);
        assert.equal(
          replyTo(neighbour, protocol, loopback[end], port),
          'ECONNREFUSED',
          "a pod's loopback is its own",
        );
        for (const host of bind) assert.equal(await onNode.bind(host, port), 'EADDRINUSE', host);
        const own = new Client(server);
        assert.equal(await own.bind(bind[0]!, port), 'bound', "and so are a pod's ports");

        await cluster.remove('Pod', 'server');
        for (const from of [outside, far, neighbour, cluster.node]) {
          assert.equal(replyTo(from, protocol, node, port), 'ECONNREFUSED', from.name);
        }
        for (const host of bind) assert.equal(await onNode.bind(host, port), 'bound', host);
      });
    }
  }

  test('the pod observes an external client’s address, and large requests are echoed unchanged', async () => {
    const [server] = pods as [LabPod];
    const ports = [
      { containerPort: 8000, hostPort: 9010 },
      { containerPort: 8081, hostPort: 9011 },
      { containerPort: 8080, hostPort: 9012, protocol: 'UDP' },
    ];
    await cluster.apply(make('server', server, ports));
    for (const end of ipVersions) {
      const address = cluster.node.addresses[end];
      const { client } = JSON.parse(askHttp(outside, { address, port: 9010 }, '/client'));
      assert.ok(client.includes(outside.addresses[end]), client);
      for (const size of [1, 2_000_000]) echoBytes(outside, { address, port: 9011 }, size);
      assert.equal(replyTo(outside, 'UDP', address, 9012), server.name);
      const { flows } = (await cluster.heddle(
        ...['flow', 'list', '-s', 'default/pod/server', '--protocol', 'udp'],
      )) as { flows: FlowItem[] };
      const flow = flows.find(({ client: from }) => from === outside.addresses[end])!;
      assert.deepEqual([flow.source, flow.sourcePort], [flow.client, flow.clientPort]);
    }
  });

  test("the agent's own port is refused as a hostPort, and a process that listens at a hostPort is reported", async () => {
    const warnings = async () =>
      (await cluster.status()).warnings.filter((text) => text.includes('listens at'));
    const countOf = async (sentence: string) => {
      const { items } = await cluster.request<{ items: AgentEvent[] }>('events.list');
      return items.filter(({ message }) => message === sentence).length;
    };
    using listener = cluster.node.enter(() => {
      const socket = BlockingSocket.open(cluster.platform, { protocol: 'tcp', family: 4 });
      socket.bind({ address: '0.0.0.0', port: 22 });
      socket.listen();
      return socket;
    });
    await cluster.apply(
      make('greedy', pods[0]!, [
        { containerPort: 8080, hostPort: 10_256 },
        { containerPort: 8080, hostPort: 22 },
      ]),
    );
    for (const { port, frontends, problems } of await rowsOf('greedy')) {
      if (port === '22') continue;
      assert.deepEqual(frontends, []);
      assert.deepEqual(problems, [
        "HostPort is refused: port 10256/TCP is reserved for the agent's health checks (healthAddress)",
      ]);
    }
    for (const end of ipVersions) {
      const node = cluster.node.addresses[end];
      assert.notEqual(replyTo(outside, 'TCP', node, 10_256), pods[0]!.name);
    }
    assert.equal(cluster.get(10_256, '/readyz'), 'ok\n', 'the agent keeps its port');
    // As with kube-proxy and portmap, the hostPort is served although a process listened before.
    const { v4 } = cluster.node.addresses;
    assert.equal(replyTo(outside, 'TCP', v4, 22), pods[0]!.name);
    const sentence =
      'HostPort 22 of default/pod/greedy: a process of this node listens at 0.0.0.0:22/TCP and gets nothing of what comes to the service (give one of them another port or address)';
    assert.deepEqual(await warnings(), [sentence]);
    await cluster.until('the agent to report it', async () => (await countOf(sentence)) > 0);
    assert.equal(await countOf(sentence), 1);
    await cluster.remove('Pod', 'greedy');
    assert.deepEqual(await warnings(), []);
    assert.ok(listener);
  });

  test('pods may share a hostPort number with different hostIPs or protocols (Kubernetes e2e)', async () => {
    const port = 54_323;
    const names = pods.map(({ name }) => name);
    for (const end of ipVersions) {
      const node = cluster.node.addresses[end];
      const ports = (hostIP: string, protocol: string) => [
        { containerPort: 8080, hostPort: port, hostIP, protocol },
      ];
      await cluster.apply(
        make('one', pods[0]!, ports(loopback[end], 'TCP')),
        make('two', pods[1]!, ports(node, 'TCP')),
        make('three', pods[2]!, ports(node, 'UDP')),
      );
      for (const name of ['one', 'two', 'three']) {
        const [row] = await rowsOf(name);
        assert.deepEqual([row!.status, row!.problems, row!.frontends.length], ['done', [], 1]);
      }
      // From the node through loopback, with any source address.
      using bound = cluster.node.enter(() => {
        const socket = BlockingSocket.open(cluster.platform, {
          ...{ protocol: 'tcp', family: end === 'v4' ? 4 : 6 },
        });
        socket.bind({ address: node, port: 0 });
        return socket;
      });
      bound.connect({ address: loopback[end], port });
      assert.equal(say(bound), names[0]);
      assert.equal(replyTo(cluster.node, 'TCP', loopback[end], port), names[0]);
      assert.equal(replyTo(cluster.node, 'UDP', loopback[end], port), 'ECONNREFUSED');
      for (const from of [outside, cluster.node, cluster.lab.nodes[1]!.pods[0]!]) {
        assert.equal(replyTo(from, 'TCP', node, port), names[1], from.name);
        assert.equal(replyTo(from, 'UDP', node, port), names[2], from.name);
      }
      assert.equal(replyTo(pods[1]!, 'TCP', loopback[end], port), 'ECONNREFUSED');
      for (const host of [loopback[end], node]) {
        assert.equal(await onNode.bind(host, port), 'EADDRINUSE', host);
      }
      const other = end === 'v4' ? '127.0.0.2' : '::';
      assert.equal(await onNode.bind(other, port), 'bound', 'no object uses that port');
      for (const name of ['one', 'two', 'three']) await cluster.remove('Pod', name);
    }
  });

  test('a recreated pod gets new connections, with the same name or another', async () => {
    const port = 9020;
    const [first, second, third] = pods as [LabPod, LabPod, LabPod];
    const node = cluster.node.addresses;
    const udp = new Client(outside);
    await cluster.apply(make('set-0', first, tcpAndUdp(port)));
    assert.equal((await udp.udp(node.v4, port, 'kept')).pod, first.name);
    assert.equal((await onNode.udp('127.0.0.1', port, 'kept')).pod, first.name);
    await cluster.apply(make('set-0', second, tcpAndUdp(port)));
    const isThere = async ({ name }: LabPod) => {
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          assert.equal(replyTo(outside, protocol, node[end], port), name);
          assert.equal(replyTo(cluster.node, protocol, loopback[end], port), name);
        }
      }
      // Sockets continue to send from the same ports.
      assert.equal((await udp.udp(node.v4, port, 'kept')).pod, name);
      assert.equal((await onNode.udp('127.0.0.1', port, 'kept')).pod, name);
    };
    await isThere(second);
    await cluster.server.remove('Pod', 'default', 'set-0');
    await cluster.apply(make('set-1', third, tcpAndUdp(port)));
    await isThere(third);
    await cluster.remove('Pod', 'set-1');
  });

  test('a terminating pod keeps its connections, and new ones go to its successor', async () => {
    const port = 9030;
    const [first, second] = pods as [LabPod, LabPod];
    await cluster.apply(make('old', first, tcpAndUdp(port), old));
    const talks = ipVersions.map((end) =>
      connectTcp(outside, { address: cluster.node.addresses[end], port }),
    );
    try {
      const whoAnswers = () => talks.map(say);
      assert.deepEqual(whoAnswers(), [first.name, first.name]);
      const going = { ...old.metadata, deletionTimestamp: '2024-01-01T00:00:00Z' };
      await cluster.apply(make('old', first, tcpAndUdp(port), { metadata: going }));
      assert.equal(replyTo(outside, 'TCP', cluster.node.addresses.v4, port), first.name);
      await cluster.apply(make('new', second, tcpAndUdp(port)));
      for (const end of ipVersions) {
        for (const from of [outside, cluster.node]) {
          assert.equal(replyTo(from, 'TCP', cluster.node.addresses[end], port), second.name);
        }
      }
      assert.deepEqual(whoAnswers(), [first.name, first.name]);
      const [row] = await rowsOf('old');
      assert.deepEqual(row!.backends, { active: 0, draining: 1 });
      await cluster.remove('Pod', 'old');
      assert.deepEqual(whoAnswers(), ['ECONNRESET', 'ECONNRESET']);
      assert.equal(replyTo(outside, 'TCP', cluster.node.addresses.v4, port), second.name);
      await cluster.remove('Pod', 'new');
    } finally {
      for (const talk of talks) talk[Symbol.dispose]();
    }
  });

  test('of a NodePort and a hostPort with one number the older is served, and the other has a reason', async () => {
    const port = 30_550;
    const [first, second] = pods as [LabPod, LabPod];
    const { v4 } = cluster.node.addresses;
    const nodePort = { type: 'NodePort', ports: [{ port: 80, nodePort: port }] };
    await cluster.apply(
      make('claimant', first, [{ containerPort: 8080, hostPort: port }]),
      service('claimant', ['10.96.5.50'], nodePort),
      slice('claimant', [second.addresses.v4]),
    );
    // First the service is the older one, then the pod.
    for (const [serviceTime, podTime, winner, loser] of [
      ['2020', '2021', second, `default/pod/claimant:${port}/TCP/IPv4`],
      ['2023', '2021', first, 'default/claimant:80/TCP/IPv4'],
    ] as const) {
      const at = (year: string) => ({ creationTimestamp: `${year}-01-01T00:00:00Z` });
      const made = service('claimant', ['10.96.5.50'], nodePort);
      await cluster.apply(
        { ...made, metadata: { ...made.metadata, ...at(serviceTime) } },
        make('claimant', first, [{ containerPort: 8080, hostPort: port }], {
          metadata: at(podTime),
        }),
      );
      for (const from of [outside, cluster.node]) {
        assert.equal(replyTo(from, 'TCP', v4, port), winner.name);
      }
      const { services } = (await cluster.heddle('service', 'list')) as {
        services: ServiceEntry[];
      };
      const row = services.find(({ key }) => key === loser)!;
      const name = winner === first ? 'Pod' : 'Service';
      assert.ok(
        row.problems.some((problem) =>
          problem.endsWith(`is taken: ${name} default/claimant has it`),
        ),
        row.problems.join(),
      );
    }
    await cluster.remove('Pod', 'claimant');
    assert.equal(replyTo(outside, 'TCP', v4, port), second.name);
    await cluster.remove('Service', 'claimant');
  });

  test('pods that have ended, are on the host network or another node, or have no address have no hostPorts', async () => {
    const port = 9040;
    const { v4 } = cluster.node.addresses;
    const ports = [{ containerPort: 8080, hostPort: port }];
    const [server] = pods as [LabPod];
    for (const object of [
      make('none', server, ports, { status: { phase: 'Failed' } }),
      make('none', server, ports, { hostNetwork: true }),
      make('none', server, ports, { status: { podIP: undefined, podIPs: [] } }),
      make('none', server, ports, { nodeName: 'elsewhere' }),
    ]) {
      await cluster.apply(make('none', server, ports));
      assert.equal(replyTo(outside, 'TCP', v4, port), server.name);
      await cluster.apply(object);
      assert.deepEqual(await rowsOf('none'), []);
      assert.equal(replyTo(outside, 'TCP', v4, port), 'ECONNREFUSED');
      assert.equal(replyTo(cluster.node, 'TCP', '127.0.0.1', port), 'ECONNREFUSED');
    }
    const sidecar = { restartPolicy: 'Always', ports };
    await cluster.apply(make('none', server, [], { initContainers: [sidecar] }));
    assert.equal(replyTo(outside, 'TCP', v4, port), server.name);
    await cluster.remove('Pod', 'none');
  });

  test('a connection of the node itself from the same port number continues', async () => {
    const port = 40_960;
    const [server] = pods as [LabPod];
    await startBackend(outside, { tcp: [8080] });
    await cluster.apply(make('server', server, tcpAndUdp(port)));
    // The programs don't observe ports that the kernel chooses.
    cluster.node.setSysctl('net/ipv4/ip_local_port_range', `${port} ${port}`);
    try {
      for (const end of ipVersions) {
        const address = outside.addresses[end];
        using talk = connectTcp(cluster.node, { address, port: 8080 });
        assert.equal(say(talk), outside.name);
        assert.equal(replyTo(outside, 'TCP', cluster.node.addresses[end], port), server.name);
        assert.equal(say(talk), outside.name);
      }
    } finally {
      cluster.node.setSysctl('net/ipv4/ip_local_port_range', '32768 60999');
    }
    await cluster.remove('Pod', 'server');
  });

  test('trace and dump show hostPorts as they show services', async () => {
    const port = 9060;
    const [server] = pods as [LabPod];
    await cluster.apply(make('server', server, tcpAndUdp(port)));
    const node = cluster.node.addresses.v4;
    const dump = await openDump({ socket: cluster.socket, bpffs: cluster.node.bpffs });
    for (const [from, to] of [
      [outside.addresses.v4, node],
      [node, node],
      [node, 'default/pod/server'],
    ] as const) {
      const { verdict } = trace(dump, { from, to, port, protocol: 'tcp', reply: false });
      const { outcome, address, port: at } = verdict;
      assert.deepEqual([outcome, address, at], ['translated', server.addresses.v4, 8080]);
    }
    await cluster.remove('Pod', 'server');
  });

  test('hostPorts and their connections are not interrupted when the agent is killed and restarted', async () => {
    const port = 9050;
    const [server, other] = pods as [LabPod, LabPod];
    await cluster.apply(make('server', server, tcpAndUdp(port)));
    const { v4, v6 } = cluster.node.addresses;
    using talk = connectTcp(outside, { address: v6, port });
    assert.equal(say(talk), server.name);
    await cluster.kill();
    assert.equal(say(talk), server.name);
    assert.equal(replyTo(outside, 'UDP', v4, port), server.name);
    await cluster.start();
    assert.equal(say(talk), server.name);
    assert.equal((await cluster.status()).datapath.repaired, 0);
    await cluster.kill();
    await cluster.write(make('server', other, tcpAndUdp(port)));
    assert.equal(replyTo(outside, 'TCP', v4, port), server.name);
    await cluster.start();
    assert.equal(replyTo(outside, 'TCP', v4, port), other.name);
    await cluster.remove('Pod', 'server');
  });
});
