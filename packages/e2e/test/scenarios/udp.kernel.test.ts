import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster } from '../../testing/cluster.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { named, ports, Site } from '../../testing/site.ts';

// A client that goes on sending from one socket must follow the service's pods: with a table of
// translated connections it would go on talking to one that is gone.
describe('UDP, while the server behind the service is replaced', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('udp', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const address = '10.96.6.1';
  const targets = [{ port: ports.dns, protocol: 'UDP' }];
  const spec = (more: object = {}) => ({
    type: 'NodePort',
    ports: [{ port: 80, nodePort: 30480, protocol: 'UDP' }],
    ...more,
  });
  const serve = (endpoints: readonly (string | object)[], more: object = {}) =>
    site.product.apply(
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
      const client = from === 'pod' ? site.client : site.onNode;
      const [host, port] =
        where === 'cluster' ? [address, 80] : [site.product.node.addresses.v4, 30480];
      const here = (number: number) =>
        endpoint(site.v4(number)[0]!, { ready: true }, { nodeName: 'node1' });
      for (const how of ['unconnected', 'connected'] as const) {
        const ask = () => client.udp(host, port, `${scenario} ${how}`, how);
        await serve([here(1)], more);
        assert.equal((await ask()).pod, named(1)[0]);
        await serve([here(1), here(2)], more);
        assert.equal((await ask()).pod, named(1)[0], 'it stays as long as its pod does');
        await serve([here(2)], more);
        // A connected socket is closed under the application a moment later, which then makes
        // another; one that is not connected finds the new pod with the next datagram.
        if (how === 'unconnected') assert.equal((await ask()).pod, named(2)[0]);
        await site.product.until('the socket to move', async () => {
          return (await ask()).pod === named(2)[0];
        });
        await serve([], more);
        await site.product.until('the socket to be refused', async () => {
          return (await ask()).pod === 'ECONNREFUSED';
        });
        await serve([here(3)], more);
        assert.equal((await ask()).pod, named(3)[0]);
      }
    });
  }

  test('an endpoint that is not ready at first: the socket that was refused reaches it later', async () => {
    const at = (ready: boolean) => [endpoint(site.v4(1)[0]!, { ready, serving: ready })];
    await serve(at(false));
    const ask = () => site.client.udp(address, 80, 'patient');
    for (let i = 0; i < 3; i++) assert.equal((await ask()).pod, 'ECONNREFUSED');
    await serve(at(true));
    assert.equal((await ask()).pod, named(1)[0]);
  });

  test('another port of the pod: the socket that goes on sending moves to it', async () => {
    const write = (port: number) =>
      site.product.apply(
        service('udp', [address], spec()),
        slice('udp', site.v4(1), { ports: [{ port, protocol: 'UDP' }] }),
      );
    const node = site.product.node.addresses.v4;
    await write(ports.dns);
    const ask = () => site.client.udp(node, 30480, 'ports');
    assert.equal((await ask()).pod, named(1)[0]);
    await write(ports.dns + 1);
    // Nobody listens there. What matters is that the old port gets nothing any more.
    assert.match((await ask()).pod, /^(ECONNREFUSED|timeout)$/);
    await write(ports.dns);
    assert.equal((await ask()).pod, named(1)[0]);
  });
});
