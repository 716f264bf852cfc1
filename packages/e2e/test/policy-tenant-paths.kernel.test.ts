// Two tenants with the policies that `heddle policy tenants` prints, over every path between pods of two nodes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { heddle } from '@heddle/cli/testing/heddle';
import { askTcp, askUdp, type LabHost, type LabPod, startBackend } from '@heddle/lab';
import { service, slice } from '@heddle/objects/testing/objects';
import { SysError } from '@heddle/sys';
import { parseAllDocuments } from 'yaml';
import { type ManifestObject, NodeNetworkLab } from '../testing/node-network-lab.ts';

/** The pods by namespace and name, and their nodes. Those of `a` and `b` are of a tenant each. */
const specs = {
  client: ['a', 1],
  own: ['a', 2],
  near: ['b', 1],
  far: ['b', 2],
  dns: ['kube-system', 2],
} as const;
type Name = keyof typeof specs;
const servers = ['own', 'near', 'far'] as const;
const nodePort = { own: 30081, near: 30082, far: 30083 } as const;
const clusterIp = { own: '10.96.9.71', near: '10.96.9.72', far: '10.96.9.73' } as const;
/** The hostPorts at the nodes of their pods. */
const hostPort = { near: 18080, own: 18080, far: 18081 } as const;

const isServer = (name: Name): name is (typeof servers)[number] =>
  (servers as readonly string[]).includes(name);

describe('tenants on two nodes', () => {
  let network: NodeNetworkLab;
  let pods: Record<Name, LabPod>;
  let outside: LabHost;

  const podObject = (name: Name) => ({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: {
      ...{ name, namespace: specs[name][0] },
      labels: name === 'dns' ? { 'k8s-app': 'kube-dns' } : { app: name },
    },
    spec: {
      nodeName: network.node(specs[name][1]).name,
      containers: [
        {
          name: 'main',
          ports: isServer(name) ? [{ containerPort: 8080, hostPort: hostPort[name] }] : undefined,
        },
      ],
    },
    status: {
      phase: 'Running',
      podIPs: [{ ip: pods[name].addresses.v4 }, { ip: pods[name].addresses.v6 }],
    },
  });

  before(async () => {
    network = new NodeNetworkLab('policy-tenants', { nodes: 2, hasPods: false, outside: 1 });
    const namespace = (name: string, labels?: object) => ({
      ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } },
    });
    network.add(
      namespace('a', { team: 'a' }),
      namespace('b', { team: 'b' }),
      namespace('kube-system'),
    );
    await network.start();
    const added = new Map<string, LabPod>();
    for (const [name, [namespaceName, node]] of Object.entries(specs)) {
      const pod = await network.addPod(network.node(node), { namespace: namespaceName, name });
      added.set(name, pod);
      await startBackend(pod, { echo: [8080, 8081], udp: [53] });
    }
    pods = Object.fromEntries(added) as typeof pods;
    [outside] = network.lab.outside as [LabHost];
    network.add(
      ...Object.keys(specs).map((name) => podObject(name as Name)),
      ...servers.flatMap((name): ManifestObject[] => {
        const namespaceName = specs[name][0];
        const ports = [{ port: 80, nodePort: nodePort[name] }];
        return [
          service(name, clusterIp[name], {
            namespace: namespaceName,
            type: 'NodePort',
            ports,
          }) as never,
          slice(name, [pods[name].addresses.v4], { namespace: namespaceName }) as never,
        ];
      }),
    );
    for (const number of [1, 2]) await network.settled(network.node(number));
    // All paths are open before the policies.
    for (const [path, [address, port]] of Object.entries(paths())) {
      await network.until(`an answer over ${path}`, async () =>
        connects(pods.client, address, port),
      );
    }
    const { code, stdout, stderr } = await heddle([
      ...['policy', 'tenants', '--label', 'team', '--allow-dns'],
      ...['--socket', network.socketOf(network.node(1))],
    ]);
    assert.deepEqual([code, stderr], [0, '']);
    const policies = parseAllDocuments(stdout).map((document) => document.toJS());
    assert.deepEqual(
      policies.map(({ metadata }) => metadata.name),
      ['tenant-team-a', 'tenant-team-b', 'tenants-team'],
    );
    network.add(...policies);
    await network.until('the tenants to be isolated', async () =>
      [pods.near, pods.far].every(
        ({ addresses }) => !connects(pods.client, addresses.v4, 8080, 300),
      ),
    );
  });
  after(() => network?.[Symbol.dispose]());

  /** The destinations that the client tries, by path. */
  function paths(): Readonly<Record<string, readonly [address: string, port: number]>> {
    const nodes = [network.node(1).addresses.v4, network.node(2).addresses.v4] as const;
    return {
      ...Object.fromEntries(
        servers.flatMap((name) => [
          [`the pod ${name}`, [pods[name].addresses.v4, 8080]],
          [`the pod ${name} by IPv6`, [pods[name].addresses.v6, 8080]],
          [`the service ${name}`, [clusterIp[name], 80]],
          [`the NodePort of ${name} at the own node`, [nodes[0], nodePort[name]]],
          [`the NodePort of ${name} at the other node`, [nodes[1], nodePort[name]]],
        ]),
      ),
      'the hostPort of near': [nodes[0], hostPort.near],
      'the hostPort of own': [nodes[1], hostPort.own],
      'the hostPort of far': [nodes[1], hostPort.far],
    };
  }

  /** Returns whether a server answers; other errors than silence are thrown. */
  function connects(from: LabHost, address: string, port: number, timeoutMs = 1000): boolean {
    try {
      return askTcp(from, { address, port }, 'hello', timeoutMs) === 'hello';
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return false;
    }
  }

  test('a pod reaches its own tenant over each path, and the other tenant over none', () => {
    let tried = 0;
    for (const [path, [address, port]] of Object.entries(paths())) {
      // A NodePort at another node is denied to all tenants.
      const isOwn = /\bown\b(?! node)/.test(path) && !/at the other node/.test(path);
      assert.equal(connects(pods.client, address, port, isOwn ? 3000 : 400), isOwn, path);
      tried++;
    }
    assert.equal(tried, 18);
  });

  test('both tenants reach DNS, and nothing else of its pods', () => {
    const address = pods.dns.addresses.v4;
    for (const name of ['client', 'near', 'far'] as const) {
      assert.ok(askUdp(pods[name], { address, port: 53 }, 'query').length > 0, name);
      assert.equal(connects(pods[name], address, 8080, 400), false, name);
    }
  });

  test('a node reaches its own pods, and external clients reach the tenants', () => {
    assert.equal(connects(network.node(1), pods.near.addresses.v4, 8080, 3000), true);
    assert.equal(connects(network.node(1), pods.client.addresses.v4, 8080, 3000), true);
    for (const name of servers) {
      const node = network.node(specs[name][1]).addresses.v4;
      assert.equal(connects(outside, node, nodePort[name], 3000), true, name);
    }
  });
});
