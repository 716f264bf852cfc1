import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { FlowItem, ServiceDetail } from '@heddle/agent';
import { askTcp, askUdp, echoBytes, type LabHost, startBackend } from '@heddle/lab';
import { addAddress, NetlinkSocket } from '@heddle/netlink';
import { SysError } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
const clusterIPs = { v4: '10.96.0.1', v6: 'fd00:96::1' };
const externals = { v4: '198.51.100.7', v6: 'fd00:198:51:100::7' };
const balancers = { v4: '198.51.100.8', v6: 'fd00:198:51:100::8' };

/** Returns the name of the pod that replied, or the error code. */
function outcome(ask: () => string): string {
  try {
    return ask().split(' ')[0]!;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

describe('external traffic to the services of an agent', () => {
  let agentLab: ManifestLab;
  let client: LabHost;
  before(async () => {
    agentLab = new ManifestLab('outside', { nodes: 2, podsPerNode: 1, outside: 1 });
    const { lab } = agentLab;
    client = lab.outside[0]!;
    for (const end of ipVersions) {
      lab.routeTo(agentLab.node, externals[end]);
      lab.routeTo(agentLab.node, balancers[end]);
    }
    await Promise.all(
      lab.pods.map((pod) => startBackend(pod, { tcp: [8080], udp: [8080], echo: [8081] })),
    );
    await agentLab.start();
  });
  after(() => agentLab?.[Symbol.dispose]());

  const pods = (end: 'v4' | 'v6', ...numbers: number[]) =>
    numbers.map((number) => {
      const pod = agentLab.lab.pods[number]!;
      return endpoint(pod.addresses[end], {}, { nodeName: pod.node.name });
    });
  const slices = (name: string, ...numbers: number[]) =>
    ipVersions.map((end) =>
      slice(name, pods(end, ...numbers), {
        name: `${name}-${end}`,
        ports: [
          { name: 'tcp', port: 8080 },
          { name: 'udp', protocol: 'UDP', port: 8080 },
          { name: 'echo', port: 8081 },
        ],
      }),
    );
  const web = (spec: object = {}) =>
    service(
      'web',
      [clusterIPs.v4, clusterIPs.v6],
      {
        type: 'LoadBalancer',
        ipFamilyPolicy: 'RequireDualStack',
        externalIPs: [externals.v4, externals.v6],
        ports: [
          { name: 'tcp', port: 80, nodePort: 30_080 },
          { name: 'udp', port: 80, protocol: 'UDP', nodePort: 30_080 },
          { name: 'echo', port: 81, nodePort: 30_081 },
        ],
        ...spec,
      },
      { status: { loadBalancer: { ingress: ipVersions.map((end) => ({ ip: balancers[end] })) } } },
    );
  const replies = (from: LabHost, address: string, port: number) => [
    outcome(() => askTcp(from, { address, port }, 'who?', 500)),
    outcome(() => askUdp(from, { address, port }, 'who?', 500)),
  ];
  const names = (number: number) => {
    const { name } = agentLab.lab.pods[number]!;
    return [name, name];
  };

  test('every address of a service reaches pods of this and another node, without changed bytes', async () => {
    for (const number of [0, 1]) {
      await agentLab.apply('web.yaml', web(), ...slices('web', number));
      for (const end of ipVersions) {
        assert.deepEqual(replies(client, agentLab.node.addresses[end], 30_080), names(number));
        assert.deepEqual(replies(client, externals[end], 80), names(number));
        assert.deepEqual(replies(client, balancers[end], 80), names(number));
        echoBytes(client, { address: externals[end], port: 81 }, 1);
        echoBytes(client, { address: agentLab.node.addresses[end], port: 30_081 }, 2_000_000);
      }
    }
    const { flows } = (await agentLab.heddle('flow', 'list', '-s', 'web')) as { flows: FlowItem[] };
    assert.ok(flows.length >= 24);
    assert.ok(flows.every(({ client: from }) => Object.values(client.addresses).includes(from)));
    const { destinations } = (await agentLab.heddle('nat', 'list')) as {
      destinations: { used: number; source: string }[];
    };
    assert.ok(destinations.length > 0);
    const own = Object.values(agentLab.node.addresses);
    assert.ok(destinations.every(({ used, source }) => used > 0 && own.includes(source)));
  });

  test("an externalIP is served while the node has it, and so is one that is the node's own address", async () => {
    const { node } = agentLab;
    const vip = { v4: '198.51.100.9', v6: 'fd00:198:51:100::9' };
    const ports = [
      { name: 'tcp', port: 82 },
      { name: 'udp', port: 82, protocol: 'UDP' },
    ];
    const externalIPs = ipVersions.flatMap((end) => [vip[end], node.addresses[end]]);
    const keepalived = service('vip', ['10.96.0.9', 'fd00:96::9'], { ports, externalIPs });
    await agentLab.apply('vip.yaml', keepalived, ...slices('vip', 1));
    const { index } = node.link('eth0');
    const ask = () => {
      for (const end of ipVersions) {
        agentLab.lab.routeTo(node, vip[end]);
        for (const address of [vip[end], node.addresses[end]]) {
          for (const from of [client, agentLab.lab.pods[0]!, node]) {
            assert.deepEqual(replies(from, address, 82), names(1), `${address} from ${from.name}`);
          }
          // The node's other ports are not translated.
          if (address !== vip[end])
            assert.deepEqual(replies(client, address, 83), ['ECONNREFUSED', 'ECONNREFUSED']);
        }
      }
    };
    ask();
    // Keepalived does this on the node that becomes the master.
    node.enter(() => {
      using socket = new NetlinkSocket(agentLab.platform);
      addAddress(socket, index, `${vip.v4}/32`);
      addAddress(socket, index, `${vip.v6}/128`);
    });
    await agentLab.until('the agent to see the address', async () =>
      agentLab.log.includes(`${vip.v4}`) ? true : undefined,
    );
    ask();
    for (const row of await agentLab.service('vip')) {
      assert.deepEqual([row.status, row.problems], ['done', []], row.key);
    }
    agentLab.remove('vip.yaml');
  });

  test('a ClusterIP is served to packets that are routed through the node', async () => {
    await agentLab.apply('web.yaml', web(), ...slices('web', 1));
    for (const end of ipVersions) {
      agentLab.lab.routeTo(agentLab.node, clusterIPs[end]);
      assert.deepEqual(replies(client, clusterIPs[end], 80), names(1));
    }
  });

  test('packets to a service without endpoints and to unknown ports are refused', async () => {
    await agentLab.apply('web.yaml', web());
    for (const end of ipVersions) {
      const refused = ['ECONNREFUSED', 'ECONNREFUSED'];
      assert.deepEqual(replies(client, agentLab.node.addresses[end], 30_080), refused);
      assert.deepEqual(replies(client, externals[end], 80), refused);
      assert.deepEqual(
        replies(client, externals[end], 99).map((code) => /TIMEDOUT|EAGAIN/.test(code)),
        [true, true],
        'dropped, not answered',
      );
    }
    const { drops } = await agentLab.status();
    const reasons = drops.filter(({ count }) => count > 0).map(({ reason }) => reason);
    assert.ok(reasons.includes('no endpoints'));
    assert.ok(reasons.includes('the service does not have this port'));
    const { services } = (await agentLab.heddle('service', 'get', 'web')) as {
      services: ServiceDetail[];
    };
    const counts = services.map(
      ({ protocol, refusals }) => `${protocol} ${JSON.stringify(refusals)}`,
    );
    // The NodePort and the externalIP; the unknown port is not counted for the service.
    const twice = '[{"reason":"no endpoints","count":2}]';
    assert.deepEqual(counts.sort(), [
      'TCP []',
      'TCP []',
      `TCP ${twice}`,
      `TCP ${twice}`,
      `UDP ${twice}`,
      `UDP ${twice}`,
    ]);
  });

  test('with externalTrafficPolicy Local and no pod on the node packets are dropped, except from the node', async () => {
    const local = web({ externalTrafficPolicy: 'Local', healthCheckNodePort: 30_999 });
    const [here, elsewhere] = [agentLab.lab.pods[0]!, agentLab.lab.pods[1]!];
    await agentLab.apply('web.yaml', local, ...slices('web', 1));
    for (const end of ipVersions) {
      const node = agentLab.node.addresses[end];
      for (const from of [client, elsewhere]) {
        assert.deepEqual(
          replies(from, node, 30_080).map((code) => /TIMEDOUT|EAGAIN/.test(code)),
          [true, true],
          'another node answers this',
        );
      }
      assert.deepEqual(replies(here, node, 30_080), names(1));
      assert.deepEqual(replies(agentLab.node, node, 30_080), names(1));
    }
    const check = (path: string) => {
      const to = { address: agentLab.node.addresses.v4, port: 30_999 };
      const answer = askTcp(
        client,
        to,
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      );
      const [, status, body] = /^HTTP\/1\.1 (\d+) .*?\r\n\r\n(.*)$/s.exec(answer)!;
      return { status, ...JSON.parse(body!) };
    };
    const service = { namespace: 'default', name: 'web' };
    const healthy = { service, serviceProxyHealthy: true };
    assert.deepEqual(check('/healthz'), { status: '503', localEndpoints: 0, ...healthy });
    await agentLab.apply('web.yaml', local, ...slices('web', 0, 1));
    assert.deepEqual(check('/'), { status: '200', localEndpoints: 1, ...healthy });
    for (const end of ipVersions) {
      for (let i = 0; i < 5; i++) {
        assert.deepEqual(replies(client, agentLab.node.addresses[end], 30_080), names(0));
      }
    }
  });
});
