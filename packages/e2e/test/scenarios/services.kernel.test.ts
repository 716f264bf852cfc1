import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHttpClient } from '@heddle/lab';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { outputOf } from '../../testing/output.ts';
import { backendNames, distinct, ports, ServiceLab } from '../../testing/service-lab.ts';
import { Client } from '../../testing/traffic/client.ts';

const tries = 40;

describe('the lifecycle of services', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('services', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

  const v4 = (...numbers: readonly number[]) => setup.v4(...numbers);
  const v6 = (...numbers: readonly number[]) => setup.v6(...numbers);
  const pods = async (address: string, port = 80) =>
    distinct(await setup.client.pods(address, port, tries));

  test('connections go to one endpoint, then two, then the other one, then are refused', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.1';
    await agentLab.apply(service('basic', [address]), slice('basic', v4(1)));
    assert.deepEqual(await pods(address), backendNames(1));
    await agentLab.apply(slice('basic', v4(1, 2)));
    assert.deepEqual(await pods(address), backendNames(1, 2));
    await agentLab.apply(slice('basic', v4(2)));
    assert.deepEqual(await pods(address), backendNames(2));
    await agentLab.apply(slice('basic', []));
    assert.deepEqual(await pods(address), ['ECONNREFUSED']);
  });

  test('several ports are served by different pods', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.2';
    await agentLab.apply(
      service('ports', [address], {
        ports: [
          { name: 'one', port: 80 },
          { name: 'two', port: 81 },
        ],
      }),
      slice('ports', v4(1), { ports: [{ name: 'one', port: ports.http }] }),
      slice('ports', v4(2), { name: 'ports-2', ports: [{ name: 'two', port: ports.https }] }),
    );
    assert.deepEqual(await pods(address, 80), backendNames(1));
    assert.deepEqual(await pods(address, 81), backendNames(2));
    await agentLab.remove('EndpointSlice', 'ports-2');
    assert.deepEqual(await pods(address, 80), backendNames(1));
    assert.deepEqual(await pods(address, 81), ['ECONNREFUSED']);
  });

  test('a service is served while ports are added, renumbered and deleted', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.3';
    const write = (...list: [name: string, port: number][]) =>
      agentLab.apply(
        service('changing', [address], { ports: list.map(([name, port]) => ({ name, port })) }),
        slice('changing', v4(1), {
          ports: list.map(([name]) => ({ name, port: name === 'b' ? ports.https : ports.http })),
        }),
      );
    await write(['a', 80]);
    assert.deepEqual(await pods(address, 80), backendNames(1));
    assert.deepEqual(await pods(address, 443), ['ECONNREFUSED']);
    await write(['a', 80], ['b', 443]);
    assert.deepEqual(await pods(address, 443), backendNames(1));
    await write(['a', 8000], ['b', 443]);
    assert.deepEqual(await pods(address, 80), ['ECONNREFUSED']);
    assert.deepEqual(await pods(address, 8000), backendNames(1));
    await write(['b', 443]);
    assert.deepEqual(await pods(address, 8000), ['ECONNREFUSED']);
    assert.deepEqual(await pods(address, 443), backendNames(1));
  });

  test('a named target port may have another number on another pod', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.4';
    await agentLab.apply(
      service('named', [address], { ports: [{ name: 'web', port: 80, targetPort: 'web' }] }),
      slice('named', v4(1), { ports: [{ name: 'web', port: ports.http }] }),
      slice('named', v4(2), { name: 'named-2', ports: [{ name: 'web', port: ports.https }] }),
    );
    assert.deepEqual(await pods(address), backendNames(1, 2));
  });

  test('a recreated service is served with the same address or another', async () => {
    const { agentLab } = setup;
    for (const address of ['10.96.2.5', '10.96.2.5', '10.96.2.6']) {
      await agentLab.apply(service('again', [address]), slice('again', v4(1, 2)));
      assert.deepEqual(await pods(address), backendNames(1, 2));
      await agentLab.remove('Service', 'again');
      await agentLab.remove('EndpointSlice', 'again-1');
      assert.deepEqual(await agentLab.service('again'), []);
      assert.doesNotMatch(await setup.client.pod(address, 80), /^pod/);
    }
    await agentLab.apply(service('again', ['10.96.2.5']), slice('again', v4(3)));
    assert.deepEqual(await pods('10.96.2.5'), backendNames(3));
  });

  test('the backend observes the address of the client pod', async () => {
    const { agentLab } = setup;
    const addresses = ['10.96.2.7', 'fd00:96::2:7'];
    // The backend's HTTP server returns the client's address.
    await agentLab.apply(
      service('source', addresses),
      slice('source', v4(1), { ports: [{ port: 80 }] }),
      slice('source', v6(1), { name: 'source-v6', ports: [{ port: 80 }] }),
    );
    const pod = agentLab.pod(0);
    for (const [host, own] of [
      ['10.96.2.7', pod.addresses.v4],
      ['[fd00:96::2:7]', `[${pod.addresses.v6}]`],
    ] as const) {
      const text = await outputOf(pod, 'curl', ['-sS', '--max-time', '5', `http://${host}/client`]);
      const { client } = JSON.parse(text) as { client: string };
      assert.equal(client.slice(0, client.lastIndexOf(':')), own);
    }
  });

  test('a pod reaches itself through its own service', async () => {
    const { agentLab } = setup;
    const addresses = ['10.96.2.8', 'fd00:96::2:8'];
    await agentLab.apply(
      service('hairpin', addresses),
      slice('hairpin', v4(1)),
      slice('hairpin', v6(1), { name: 'hairpin-v6' }),
    );
    const itself = new Client(agentLab.pod(2));
    for (const address of addresses) {
      assert.deepEqual(distinct(await itself.pods(address, 80, 5)), backendNames(1));
      assert.deepEqual((await itself.tcp(address, 80)).from, `${address} 80`);
    }
  });

  test('labels that give a service to another proxy or make it headless can be set and removed', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.9';
    const write = (labels: Record<string, string>) => {
      const object = slice('labels', v4(1));
      const metadata = { ...object.metadata, labels: { ...object.metadata.labels, ...labels } };
      return agentLab.apply(service('labels', [address], {}, { labels }), { ...object, metadata });
    };
    await write({});
    assert.deepEqual(await pods(address), backendNames(1));
    for (const label of ['service-proxy-name', 'headless']) {
      await write({ [`service.kubernetes.io/${label}`]: 'foo' });
      assert.deepEqual(await agentLab.service('labels'), []);
      assert.doesNotMatch(await setup.client.pod(address, 80), /^pod/);
      await write({});
      assert.deepEqual(await pods(address), backendNames(1));
    }
  });

  test('addresses with leading zeros are decimal', async () => {
    const { agentLab } = setup;
    const [plain] = v4(1);
    const funny = plain!.replace(/\.(\d+)$/, (_, last: string) => `.${last.padStart(3, '0')}`);
    assert.notEqual(funny, plain);
    await agentLab.apply(service('funny', ['10.096.002.010']), slice('funny', [funny]));
    assert.deepEqual(await pods('10.96.2.10'), backendNames(1));
  });

  test('existing services are served while the agent restarts, and new ones after it', async () => {
    const { agentLab } = setup;
    await agentLab.apply(service('before', ['10.96.2.11']), slice('before', v4(1)));
    await agentLab.kill();
    assert.deepEqual(
      await pods('10.96.2.11'),
      backendNames(1),
      'connections do not need the agent',
    );
    await agentLab.write(service('while', ['10.96.2.12']), slice('while', v4(2)));
    await agentLab.start();
    assert.deepEqual(await pods('10.96.2.11'), backendNames(1));
    assert.deepEqual(await pods('10.96.2.12'), backendNames(2));
    await agentLab.apply(service('after', ['10.96.2.13']), slice('after', v4(3)));
    assert.deepEqual(await pods('10.96.2.13'), backendNames(3));
  });

  test('existing services are served while the API server restarts, and new ones after it', async () => {
    const { agentLab } = setup;
    await agentLab.apply(service('kept', ['10.96.2.14']), slice('kept', v4(1)));
    await agentLab.server.stop();
    assert.deepEqual(await pods('10.96.2.14'), backendNames(1));
    await agentLab.server.compact();
    await agentLab.write(service('newer', ['10.96.2.15']), slice('newer', v4(2)));
    await agentLab.server.resume();
    await agentLab.apply(service('newest', ['10.96.2.16']), slice('newest', v4(3)));
    assert.deepEqual(await pods('10.96.2.14'), backendNames(1));
    assert.deepEqual(await pods('10.96.2.15'), backendNames(2));
    assert.deepEqual(await pods('10.96.2.16'), backendNames(3));
  });

  test('a blue-green deployment fails no connection', async () => {
    const { agentLab } = setup;
    const address = '10.96.2.17';
    const draining = { ready: false, serving: true, terminating: true };
    await agentLab.apply(
      service('green', [address], { ports: [{ port: 80 }] }),
      slice('green', v4(1), { ports: [{ port: 80 }] }),
    );
    const load = startHttpClient(agentLab.pod(1), { targets: { green: [`${address}:80`] } });
    await load.started;
    for (let round = 0; round < 6; round++) {
      const [blue, green] = round % 2 === 0 ? [1, 2] : [2, 1];
      const [old, next] = [v4(blue)[0]!, v4(green)[0]!];
      for (const endpoints of [[old, next], [endpoint(old, draining), next], [next]]) {
        await agentLab.apply(slice('green', endpoints, { ports: [{ port: 80 }] }));
      }
      assert.deepEqual(distinct(await setup.client.pods(address, 80, 1)).length, 1);
    }
    const { targets } = await load.stop();
    assert.ok(targets.green!.requests > 100, `${targets.green!.requests} requests`);
    assert.equal(targets.green!.failed, 0);
  });
});
