import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { endpoint, service, slice } from '../testing/objects.ts';
import { kinds, named, ports, Site } from '../testing/site.ts';

const serviceAddresses = ['10.96.4.1', 'fd00:96::4:1'] as const;

describe('UDP through services, by an application with sockets of Node', () => {
  let site: Site;
  before(async () => {
    site = await Site.open('datagrams');
  });
  after(() => site?.[Symbol.dispose]());

  const udpPorts = [{ port: 53, protocol: 'UDP' }];
  const targets = [{ port: ports.dns, protocol: 'UDP' }];

  async function write(
    name: string,
    addresses: readonly string[],
    v4: readonly (string | object)[],
    v6: readonly string[] = [],
    spec: object = {},
  ): Promise<void> {
    await site.product.apply(
      `${name}.yaml`,
      service(name, addresses, { ports: udpPorts, ...spec }),
      slice(name, v4 as string[], { ports: targets }),
      slice(name, v6, { ports: targets, name: `${name}-v6`, addressType: 'IPv6' }),
    );
  }

  test('replies come from the service, on connected sockets and on others, in both families', async () => {
    await write('dns', serviceAddresses, site.v4(1, 2), site.v6(1, 2));
    for (const host of serviceAddresses) {
      for (const how of ['unconnected', 'connected'] as const) {
        const pods: string[] = [];
        for (let i = 0; i < 24; i++) {
          const { pod, from } = await site.client.udp(host, 53, `${how} ${host} ${i}`, how);
          assert.equal(from, `${host} 53`);
          pods.push(pod);
        }
        assert.deepEqual(kinds(pods), named(1, 2));
      }
    }
    const mapped = await site.client.udp(`::ffff:${serviceAddresses[0]}`, 53, 'mapped');
    assert.equal(mapped.from, `::ffff:${serviceAddresses[0]} 53`);
  });

  test('one socket talks to two services and to a backend at the same time', async () => {
    await write('one', ['10.96.4.2'], site.v4(1));
    await write('two', ['10.96.4.3'], site.v4(2));
    const direct = site.v4(2)[0]!;
    for (let round = 0; round < 3; round++) {
      for (const [host, port, pod] of [
        ['10.96.4.2', 53, named(1)[0]],
        ['10.96.4.3', 53, named(2)[0]],
        [direct, ports.dns, named(2)[0]],
      ] as const) {
        assert.deepEqual(await site.client.udp(host, port, 'shared'), {
          pod,
          from: `${host} ${port}`,
        });
      }
    }
  });

  test('a socket keeps its backend while that drains, and leaves it when it is gone', async () => {
    const draining = { ready: false, serving: true, terminating: true };
    const [one, two] = [site.v4(1)[0]!, site.v4(2)[0]!];
    await write('moves', ['10.96.4.4'], [one]);
    for (const how of ['unconnected', 'connected'] as const) {
      await write('moves', ['10.96.4.4'], [one]);
      const ask = () => site.client.udp('10.96.4.4', 53, `moves ${how}`, how);
      assert.equal((await ask()).pod, named(1)[0]);
      await write('moves', ['10.96.4.4'], [endpoint(one, draining), two]);
      assert.equal((await ask()).pod, named(1)[0], `${how}: draining`);
      await write('moves', ['10.96.4.4'], [two]);
      if (how === 'connected') {
        await site.product.until('the stale socket to be destroyed', async () => {
          return (await site.product.status()).datapath.socketsDestroyed > 0;
        });
        // The application is told, and connects anew.
        assert.match((await ask()).pod, /^(ECONNABORTED|EDESTADDRREQ)$/);
      }
      assert.equal((await ask()).pod, named(2)[0], `${how}: gone`);
    }
  });

  test('without endpoints the send is refused, and works as soon as there is one', async () => {
    for (const how of ['unconnected', 'connected'] as const) {
      await write('empty', ['10.96.4.5'], []);
      const ask = () => site.client.udp('10.96.4.5', 53, `empty ${how}`, how);
      assert.equal((await ask()).pod, 'ECONNREFUSED', how);
      await write('empty', ['10.96.4.5'], site.v4(3));
      assert.equal((await ask()).pod, named(3)[0], how);
    }
  });

  test('a NodePort over UDP, from a pod and on loopback of the node', async () => {
    const { product, client, onNode } = site;
    await write('nodeport', ['10.96.4.6'], site.v4(1), [], {
      type: 'NodePort',
      ports: [{ ...udpPorts[0], nodePort: 30053 }],
    });
    const { v4 } = product.node.addresses;
    const expected = (host: string) => ({ pod: named(1)[0], from: `${host} 30053` });
    assert.deepEqual(await client.udp(v4, 30053, 'nodeport'), expected(v4));
    for (const host of [v4, '127.0.0.1']) {
      assert.deepEqual(await onNode.udp(host, 30053, `node ${host}`), expected(host));
      assert.deepEqual(await onNode.udp(host, 30053, `c ${host}`, 'connected'), expected(host));
    }
  });
});
