import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AgentEvent } from '@heddle/agent';
import { askTcp, askUdp, connectTcp, type LabHost, type LabPod, startBackend } from '@heddle/lab';
import { addAddress, removeAddress } from '@heddle/netlink';
import { decodeUtf8, SysError } from '@heddle/sys';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { pod, service, slice } from '../../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
const loopback = { v4: '127.0.0.1', v6: '::1' } as const;
/** The node's second and third addresses. */
const second = { v4: '198.51.100.1', v6: 'fd00:198:51:100::1' } as const;
const third = { v4: '198.51.100.2', v6: 'fd00:198:51:100::2' } as const;
const bits = { v4: 32, v6: 128 } as const;
const nodePort = 30_700;
const hostPort = 7000;
const refused = 'ECONNREFUSED';

function replyTo(from: LabHost, address: string, port: number, ask = askTcp): string {
  try {
    return ask(from, { address, port }, 'who?', 1000).split(' ')[0]!;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

describe('the addresses of NodePorts and hostPorts', () => {
  let cluster: ClusterLab;
  let outside: LabHost;
  let server: LabPod;
  before(async () => {
    cluster = await ClusterLab.open('node-ports', { podsPerNode: 2, outside: 1 });
    outside = cluster.lab.outside[0]!;
    server = cluster.pod(0);
    await startBackend(server, { tcp: [8080], udp: [8080] });
    for (const end of ipVersions) {
      add(second[end], end);
      for (const address of [second[end], third[end]]) {
        cluster.lab.routeTo(cluster.node, address);
      }
    }
    await writeNode({ InternalIP: cluster.node.addresses });
    const targets = [
      { name: 'tcp', port: 8080 },
      { name: 'udp', port: 8080, protocol: 'UDP' },
    ];
    await cluster.start();
    await cluster.apply(
      service('web', ['10.96.6.1', 'fd00:96::6:1'], {
        type: 'NodePort',
        ports: targets.map((target) => ({ ...target, port: 80, nodePort })),
      }),
      ...ipVersions.map((end) =>
        slice('web', [server.addresses[end]], { name: `web-${end}`, ports: targets }),
      ),
      service('inside', ['10.96.6.2']),
      slice('inside', [server.addresses.v4]),
      pod(
        ...(['local', cluster.node.name, [server.addresses.v4, server.addresses.v6]] as const),
        targets.map(({ protocol }) => ({ containerPort: 8080, hostPort, protocol })),
      ),
      pod(
        'bound',
        cluster.node.name,
        [server.addresses.v4],
        [{ containerPort: 8080, hostPort: hostPort + 1, hostIP: cluster.node.addresses.v4 }],
      ),
    );
  });
  after(() => cluster?.[Symbol.dispose]());

  const onDevice =
    (work: typeof addAddress | typeof removeAddress) => (address: string, end: 'v4' | 'v6') => {
      const { index } = cluster.node.link('eth0');
      cluster.node.configure((socket) => work(socket, index, `${address}/${bits[end]}`));
    };
  const add = onDevice(addAddress);
  const remove = onDevice(removeAddress);

  /** Returns the Node object with addresses by type. */
  const writeNode = (byType: Readonly<Record<string, { v4: string; v6: string }>>) =>
    cluster.write({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: cluster.node.name },
      status: {
        addresses: Object.entries(byType).flatMap(([type, addresses]) =>
          ipVersions.map((end) => ({ type, address: addresses[end] })),
        ),
      },
    } as never);

  /**
   * Returns the replies at the NodePort and the hostPort of an address, to an external client and
   * to the node.
   */
  const answers = (address: string) =>
    [nodePort, hostPort].flatMap((port) =>
      [outside, cluster.node].flatMap((from) => [
        replyTo(from, address, port),
        replyTo(from, address, port, askUdp),
      ]),
    );
  const assertServed = (address: string) =>
    assert.deepEqual(answers(address), Array(8).fill(server.name), address);
  const assertRefused = (address: string) =>
    assert.deepEqual(answers(address), Array(8).fill(refused), address);
  const assertOnLoopback = () => {
    for (const end of ipVersions) {
      assert.equal(replyTo(cluster.node, loopback[end], nodePort), server.name);
      assert.equal(replyTo(cluster.node, loopback[end], hostPort), server.name);
    }
  };

  test('NodePort addresses are the InternalIPs and ExternalIPs of the Node object', async () => {
    const { addresses } = cluster.node;
    for (const end of ipVersions) {
      assertServed(addresses[end]);
      assertRefused(second[end]);
    }
    assertOnLoopback();
    await writeNode({ InternalIP: addresses, ExternalIP: second });
    await cluster.until('the second address to be served', () =>
      ipVersions.every((end) => replyTo(outside, second[end], hostPort) === server.name),
    );
    for (const end of ipVersions) {
      assertServed(addresses[end]);
      assertServed(second[end]);
    }
    assert.deepEqual(
      (await cluster.status()).addresses,
      [...Object.values(addresses), ...Object.values(second)].sort(),
    );
    await writeNode({ InternalIP: addresses });
    await cluster.until('the second address to be given up', () =>
      ipVersions.every((end) => replyTo(outside, second[end], hostPort) === refused),
    );
    for (const end of ipVersions) assertRefused(second[end]);
  });

  test('NodePort addresses are those in the ranges, and a hostIP independent of them', async () => {
    await cluster.kill();
    await cluster.start('--nodeport-addresses', '198.51.100.0/24,fd00:198:51:100::/64');
    const { addresses } = cluster.node;
    for (const end of ipVersions) {
      assertServed(second[end]);
      assertRefused(addresses[end]);
    }
    assertOnLoopback();
    for (const from of [outside, cluster.node]) {
      assert.equal(replyTo(from, addresses.v4, hostPort + 1), server.name);
      assert.equal(replyTo(from, second.v4, hostPort + 1), refused);
    }
  });

  test('NodePort addresses follow those of the node without an effect on open connections and other addresses', async () => {
    const events: string[] = [];
    const since = async (name: string) => (await cluster.service(name)).map((row) => row.since);
    const inside = await since('inside');
    const bound = await since('default/pod/bound');
    const talks = ipVersions.flatMap((end) =>
      [nodePort, hostPort].map((port) => connectTcp(outside, { address: second[end], port })),
    );
    const talk = () => {
      for (const each of talks) {
        each.send('x');
        events.push(decodeUtf8(each.receive()).split(' ')[0]!);
      }
      assert.deepEqual(events.splice(0), Array(4).fill(server.name));
    };
    try {
      talk();
      for (const end of ipVersions) add(third[end], end);
      await cluster.until('the third address to be served', () =>
        ipVersions.every((end) => replyTo(outside, third[end], hostPort) === server.name),
      );
      for (const end of ipVersions) for (const each of [second, third]) assertServed(each[end]);
      talk();
      for (const end of ipVersions) remove(third[end], end);
      await cluster.until(
        'the third address to be gone',
        async () => !(await cluster.status()).addresses.includes(third.v6),
      );
      talk();
      for (const end of ipVersions) assertServed(second[end]);
      assert.deepEqual(await since('inside'), inside);
      assert.deepEqual(await since('default/pod/bound'), bound);
    } finally {
      for (const each of talks) each[Symbol.dispose]();
    }
  });

  test('NodePort addresses are those of the named interfaces, and an unknown interface is reported', async () => {
    await cluster.kill();
    await cluster.start('--nodeport-addresses', 'eth*,eth9');
    for (const end of ipVersions) {
      assertServed(second[end]);
      assertServed(cluster.node.addresses[end]);
    }
    const { items } = await cluster.request<{ items: AgentEvent[] }>('events.list');
    assert.ok(
      items.some(
        ({ message }) => message === 'nodePortAddresses: no network interface eth9 has an address',
      ),
    );
    await cluster.kill();
    await cluster.start();
    for (const end of ipVersions) assertRefused(second[end]);
  });
});
