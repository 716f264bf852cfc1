// `socketLB: hostNamespaceOnly`: sockets of pods keep the service's address, and their packets are
// translated at the pod's interface, by two agents that are the pod network.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type LabHost, type LabNode, type LabPod, Tap } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
type IpVersion = (typeof ipVersions)[number];
const protocols = ['tcp', 'udp'] as const;
type Protocol = (typeof protocols)[number];
/** The last part of the ClusterIP, and of the NodePort, by service. */
const numbers = {
  here: 51,
  there: 52,
  own: 53,
  allowed: 54,
  denied: 55,
  near: 56,
  far: 57,
} as const;
type Name = keyof typeof numbers;
const clusterIp = (name: Name, end: IpVersion) =>
  `${end === 'v4' ? '10.96.9.' : 'fd00:96::9:'}${numbers[name]}`;
const balancerIp = (name: Name, end: IpVersion) =>
  `${end === 'v4' ? '198.51.100.' : 'fd00:198:51:100::'}${numbers[name]}`;
const nodePort = (name: Name) => 30_500 + numbers[name];

describe('sockets of pods keep the address of a service with socketLB hostNamespaceOnly', () => {
  let network: NodeNetworkLab;
  let pods: Record<'client' | 'here' | 'there', LabPod>;

  before(async () => {
    network = new NodeNetworkLab('socket-lb', { nodes: 2, hasPods: false });
    await network.start('--socket-lb', 'hostNamespaceOnly');
    const [one, two] = network.lab.nodes as [LabNode, LabNode];
    pods = {
      ...{ client: await network.addPod(one), here: await network.addPod(one) },
      there: await network.addPod(two),
    };
    const add = (name: Name, backends: readonly LabPod[], spec: object = {}) => {
      const ports = protocols.map((each) => ({
        ...{ name: each, port: 80, targetPort: 8080, nodePort: nodePort(name) },
        protocol: each.toUpperCase(),
      }));
      network.add(
        service(
          name,
          [clusterIp(name, 'v4'), clusterIp(name, 'v6')],
          { type: 'LoadBalancer', ipFamilyPolicy: 'RequireDualStack', ports, ...spec },
          {
            status: {
              loadBalancer: { ingress: ipVersions.map((end) => ({ ip: balancerIp(name, end) })) },
            },
          },
        ),
        ...ipVersions.map((end) =>
          slice(
            name,
            backends.map((pod) => endpoint(pod.addresses[end], {}, { nodeName: pod.node.name })),
            {
              name: `${name}-${end}`,
              ports: ports.map(({ name: each, protocol }) => ({
                name: each,
                protocol,
                port: 8080,
              })),
            },
          ),
        ),
      );
    };
    add('here', [pods.here], { externalTrafficPolicy: 'Local' });
    add('there', [pods.there], { externalTrafficPolicy: 'Local' });
    add('own', [pods.client]);
    add('allowed', [pods.here], {
      loadBalancerSourceRanges: ['10.244.0.0/16', 'fd00:10:244::/48'],
    });
    add('denied', [pods.here], { loadBalancerSourceRanges: ['192.0.2.0/24', '2001:db8::/32'] });
    add('near', [pods.here, pods.there], { internalTrafficPolicy: 'Local' });
    add('far', [pods.there], { internalTrafficPolicy: 'Local' });
    await network.until('the services to be programmed', async () => {
      const { rows, synced } = await network.status(one);
      return synced && rows.pending === 0 && rows.done >= 28;
    });
  });
  after(() => network?.[Symbol.dispose]());

  const open = (host: LabHost, protocol: Protocol, end: IpVersion, timeoutMs = 3000) =>
    host.enter(() =>
      BlockingSocket.open(host.platform, { protocol, family: end === 'v4' ? 4 : 6, timeoutMs }),
    );

  /** Returns the destinations of what a pod sends while `work` runs. */
  function destinations(pod: LabPod, work: () => void): Set<string> {
    using tap = Tap.open(pod, 'eth0');
    work();
    return new Set(
      tap
        .drain()
        .filter(({ direction }) => direction === 'out')
        .flatMap(({ packet }) => (packet.layer('ipv4') ?? packet.layer('ipv6'))?.dst ?? []),
    );
  }

  /** Sends a message from a host to a service and back. Returns the peers that both sockets see. */
  function exchange(
    from: LabHost,
    to: { readonly address: string; readonly port: number },
    backend: LabPod,
    { protocol, end }: { protocol: Protocol; end: IpVersion },
  ) {
    using server = open(backend, protocol, end);
    server.bind({ address: backend.addresses[end], port: 8080 });
    if (protocol === 'tcp') server.listen();
    using client = open(from, protocol, end);
    client.connect(to);
    if (protocol === 'udp') {
      client.send('ask');
      const { bytes, from: sender } = server.receiveFrom();
      server.send('answer', sender);
      assert.deepEqual([decodeUtf8(bytes), decodeUtf8(client.receive())], ['ask', 'answer']);
      return { peer: client.peerAddress, seen: sender };
    }
    using connection = server.accept();
    client.send('ask');
    assert.equal(decodeUtf8(connection.receive()), 'ask');
    connection.send('answer');
    assert.equal(decodeUtf8(client.receive()), 'answer');
    return { peer: client.peerAddress, seen: connection.peerAddress };
  }

  for (const end of ipVersions) {
    for (const protocol of protocols) {
      for (const name of ['here', 'there'] as const) {
        test(`a backend ${name}, ${protocol} ${end}`, () => {
          const { client } = pods;
          for (const to of [
            { address: clusterIp(name, end), port: 80 },
            { address: balancerIp(name, end), port: 80 },
            { address: client.node.addresses[end], port: nodePort(name) },
          ]) {
            const sent = destinations(client, () => {
              const { peer, seen } = exchange(client, to, pods[name], { protocol, end });
              assert.deepEqual(peer, to);
              assert.equal(seen.address, client.addresses[end]);
            });
            assert.ok(sent.has(to.address) && !sent.has(pods[name].addresses[end]), `${[...sent]}`);
          }
          // Processes of the node are connected to the backend itself.
          const to = { address: clusterIp(name, end), port: 80 };
          const { peer } = exchange(client.node, to, pods[name], { protocol, end });
          assert.deepEqual(peer, to);
        });
      }

      test(`a pod that is its own backend, ${protocol} ${end}`, () => {
        const to = { address: clusterIp('own', end), port: 80 };
        const sent = destinations(pods.client, () => {
          const { peer, seen } = exchange(pods.client, to, pods.client, { protocol, end });
          assert.deepEqual(peer, to);
          // Its own address would be a source that no packet from elsewhere may have.
          assert.equal(seen.address, pods.client.node.addresses[end]);
        });
        assert.ok(sent.has(to.address), `${[...sent]}`);
      });

      test(`source ranges and local policies, ${protocol} ${end}`, () => {
        const balancer = { address: balancerIp('allowed', end), port: 80 };
        exchange(pods.client, balancer, pods.here, { protocol, end });
        for (let i = 0; i < 4; i++) {
          const near = { address: clusterIp('near', end), port: 80 };
          exchange(pods.client, near, pods.here, { protocol, end });
        }
        for (const to of [balancerIp('denied', end), clusterIp('far', end)]) {
          using client = open(pods.client, protocol, end, 300);
          assert.throws(
            () => {
              client.connect({ address: to, port: 80 });
              client.send('ask');
              client.receive();
            },
            { code: /ETIMEDOUT|ECONNREFUSED|EINPROGRESS|EAGAIN/ },
          );
        }
      });
    }
  }
});
