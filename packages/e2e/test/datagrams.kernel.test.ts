import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { endpoint, service, slice } from '../testing/objects.ts';
import { backendNames, distinct, ports, ServiceLab } from '../testing/service-lab.ts';

const serviceAddresses = ['10.96.4.1', 'fd00:96::4:1'] as const;

describe('UDP services used by an application with Node.js sockets', () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.open('datagrams');
  });
  after(() => setup?.[Symbol.dispose]());

  const udpPorts = [{ port: 53, protocol: 'UDP' }];
  const targets = [{ port: ports.dns, protocol: 'UDP' }];

  async function write(
    name: string,
    addresses: readonly string[],
    v4: readonly (string | object)[],
    v6: readonly string[] = [],
    spec: object = {},
  ): Promise<void> {
    await setup.agentLab.apply(
      `${name}.yaml`,
      service(name, addresses, { ports: udpPorts, ...spec }),
      slice(name, v4 as string[], { ports: targets }),
      slice(name, v6, { ports: targets, name: `${name}-v6`, addressType: 'IPv6' }),
    );
  }

  test('replies have the service’s address on connected and unconnected sockets, in both families', async () => {
    await write('dns', serviceAddresses, setup.v4(1, 2), setup.v6(1, 2));
    for (const host of serviceAddresses) {
      for (const how of ['unconnected', 'connected'] as const) {
        const pods: string[] = [];
        for (let i = 0; i < 24; i++) {
          const { pod, from } = await setup.client.udp(host, 53, `${how} ${host} ${i}`, how);
          assert.equal(from, `${host} 53`);
          pods.push(pod);
        }
        assert.deepEqual(distinct(pods), backendNames(1, 2));
      }
    }
    const mapped = await setup.client.udp(`::ffff:${serviceAddresses[0]}`, 53, 'mapped');
    assert.equal(mapped.from, `::ffff:${serviceAddresses[0]} 53`);
  });

  test('one socket exchanges datagrams with two services and a backend at the same time', async () => {
    await write('one', ['10.96.4.2'], setup.v4(1));
    await write('two', ['10.96.4.3'], setup.v4(2));
    const direct = setup.v4(2)[0]!;
    for (let round = 0; round < 3; round++) {
      for (const [host, port, pod] of [
        ['10.96.4.2', 53, backendNames(1)[0]],
        ['10.96.4.3', 53, backendNames(2)[0]],
        [direct, ports.dns, backendNames(2)[0]],
      ] as const) {
        assert.deepEqual(await setup.client.udp(host, port, 'shared'), {
          pod,
          from: `${host} ${port}`,
        });
      }
    }
  });

  test('a socket keeps its backend while that drains, and gets another one when it is removed', async () => {
    const draining = { ready: false, serving: true, terminating: true };
    const [one, two] = [setup.v4(1)[0]!, setup.v4(2)[0]!];
    await write('moves', ['10.96.4.4'], [one]);
    for (const how of ['unconnected', 'connected'] as const) {
      await write('moves', ['10.96.4.4'], [one]);
      const ask = () => setup.client.udp('10.96.4.4', 53, `moves ${how}`, how);
      assert.equal((await ask()).pod, backendNames(1)[0]);
      await write('moves', ['10.96.4.4'], [endpoint(one, draining), two]);
      assert.equal((await ask()).pod, backendNames(1)[0], `${how}: draining`);
      await write('moves', ['10.96.4.4'], [two]);
      if (how === 'connected') {
        await setup.agentLab.until('the stale socket to be destroyed', async () => {
          return (await setup.agentLab.status()).datapath.socketsDestroyed > 0;
        });
        // The application gets an error and connects again.
        assert.match((await ask()).pod, /^(ECONNABORTED|EDESTADDRREQ)$/);
      }
      assert.equal((await ask()).pod, backendNames(2)[0], `${how}: gone`);
    }
  });

  test('a send without endpoints is refused, and succeeds as soon as there is one', async () => {
    for (const how of ['unconnected', 'connected'] as const) {
      await write('empty', ['10.96.4.5'], []);
      const ask = () => setup.client.udp('10.96.4.5', 53, `empty ${how}`, how);
      assert.equal((await ask()).pod, 'ECONNREFUSED', how);
      await write('empty', ['10.96.4.5'], setup.v4(3));
      assert.equal((await ask()).pod, backendNames(3)[0], how);
    }
  });

  test('a UDP NodePort is served to a pod and on the node’s loopback', async () => {
    const { agentLab, client, onNode } = setup;
    await write('nodeport', ['10.96.4.6'], setup.v4(1), [], {
      type: 'NodePort',
      ports: [{ ...udpPorts[0], nodePort: 30053 }],
    });
    const { v4 } = agentLab.node.addresses;
    const expected = (host: string) => ({ pod: backendNames(1)[0], from: `${host} 30053` });
    assert.deepEqual(await client.udp(v4, 30053, 'nodeport'), expected(v4));
    for (const host of [v4, '127.0.0.1']) {
      assert.deepEqual(await onNode.udp(host, 30053, `node ${host}`), expected(host));
      assert.deepEqual(await onNode.udp(host, 30053, `c ${host}`, 'connected'), expected(host));
    }
  });
});
