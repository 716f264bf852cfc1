import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { backendNames, ports, ServiceLab } from '../../testing/service-lab.ts';

// A client that continues to send from one socket must follow the service's pods. With conntrack
// alone it would continue to send to a removed pod.
describe('UDP while the server of a service is replaced', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('udp', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

  const address = '10.96.6.1';
  const targets = [{ port: ports.dns, protocol: 'UDP' }];
  const spec = (more: object = {}) => ({
    type: 'NodePort',
    ports: [{ port: 80, nodePort: 30480, protocol: 'UDP' }],
    ...more,
  });
  const serve = (endpoints: readonly (string | object)[], more: object = {}) =>
    setup.agentLab.apply(
      service('udp', [address], spec(more)),
      slice('udp', endpoints as string[], { ports: targets, addressType: 'IPv4' }),
    );

  for (const [scenario, where, from, more] of [
    ['a ClusterIP', 'cluster', 'pod', {}],
    ['a NodePort', 'node', 'pod', {}],
    ['a ClusterIP, for a client on the host network', 'cluster', 'node', {}],
    [
      'a ClusterIP with internalTrafficPolicy Local',
      'cluster',
      'pod',
      { internalTrafficPolicy: 'Local' },
    ],
  ] as const) {
    test(`${scenario}: the socket moves to the new pod`, async () => {
      const client = from === 'pod' ? setup.client : setup.onNode;
      const [host, port] =
        where === 'cluster' ? [address, 80] : [setup.agentLab.node.addresses.v4, 30480];
      const here = (number: number) =>
        endpoint(setup.v4(number)[0]!, { ready: true }, { nodeName: 'node1' });
      for (const how of ['unconnected', 'connected'] as const) {
        const ask = () => client.udp(host, port, `${scenario} ${how}`, how);
        await serve([here(1)], more);
        assert.equal((await ask()).pod, backendNames(1)[0]);
        await serve([here(1), here(2)], more);
        assert.equal((await ask()).pod, backendNames(1)[0], 'it stays as long as its pod does');
        await serve([here(2)], more);
        // A connected socket is closed a moment later, and the application opens another. An
        // unconnected socket reaches the new pod with the next datagram.
        if (how === 'unconnected') assert.equal((await ask()).pod, backendNames(2)[0]);
        await setup.agentLab.until('the socket to move', async () => {
          return (await ask()).pod === backendNames(2)[0];
        });
        await serve([], more);
        await setup.agentLab.until('the socket to be refused', async () => {
          return (await ask()).pod === 'ECONNREFUSED';
        });
        await serve([here(3)], more);
        assert.equal((await ask()).pod, backendNames(3)[0]);
      }
    });
  }

  test('a socket that was refused reaches an endpoint that becomes ready later', async () => {
    const at = (ready: boolean) => [endpoint(setup.v4(1)[0]!, { ready, serving: ready })];
    await serve(at(false));
    const ask = () => setup.client.udp(address, 80, 'patient');
    for (let i = 0; i < 3; i++) assert.equal((await ask()).pod, 'ECONNREFUSED');
    await serve(at(true));
    assert.equal((await ask()).pod, backendNames(1)[0]);
  });

  test('a socket that continues to send moves to another port of the pod', async () => {
    const write = (port: number) =>
      setup.agentLab.apply(
        service('udp', [address], spec()),
        slice('udp', setup.v4(1), { ports: [{ port, protocol: 'UDP' }] }),
      );
    const node = setup.agentLab.node.addresses.v4;
    await write(ports.dns);
    const ask = () => setup.client.udp(node, 30480, 'ports');
    assert.equal((await ask()).pod, backendNames(1)[0]);
    await write(ports.dns + 1);
    // No process listens there. The test is that the old port gets no more datagrams.
    assert.match((await ask()).pod, /^(ECONNREFUSED|timeout)$/);
    await write(ports.dns);
    assert.equal((await ask()).pod, backendNames(1)[0]);
  });
});
