import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHttpClient } from '@heddle/lab';
import { Cluster } from '../../testing/cluster.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { outputOf } from '../../testing/output.ts';
import { kinds, named, ports, Site } from '../../testing/site.ts';
import { Client } from '../../testing/traffic/client.ts';

const tries = 40;

describe('the life of services', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('services', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const v4 = (...numbers: readonly number[]) => site.v4(...numbers);
  const v6 = (...numbers: readonly number[]) => site.v6(...numbers);
  const pods = async (address: string, port = 80) =>
    kinds(await site.client.pods(address, port, tries));

  test('one endpoint, then two, then the other one, then none', async () => {
    const { product } = site;
    const address = '10.96.2.1';
    await product.apply(service('basic', [address]), slice('basic', v4(1)));
    assert.deepEqual(await pods(address), named(1));
    await product.apply(slice('basic', v4(1, 2)));
    assert.deepEqual(await pods(address), named(1, 2));
    await product.apply(slice('basic', v4(2)));
    assert.deepEqual(await pods(address), named(2));
    await product.apply(slice('basic', []));
    assert.deepEqual(await pods(address), ['ECONNREFUSED']);
  });

  test('several ports, each with pods of its own', async () => {
    const { product } = site;
    const address = '10.96.2.2';
    await product.apply(
      service('ports', [address], {
        ports: [
          { name: 'one', port: 80 },
          { name: 'two', port: 81 },
        ],
      }),
      slice('ports', v4(1), { ports: [{ name: 'one', port: ports.http }] }),
      slice('ports', v4(2), { name: 'ports-2', ports: [{ name: 'two', port: ports.https }] }),
    );
    assert.deepEqual(await pods(address, 80), named(1));
    assert.deepEqual(await pods(address, 81), named(2));
    await product.remove('EndpointSlice', 'ports-2');
    assert.deepEqual(await pods(address, 80), named(1));
    assert.deepEqual(await pods(address, 81), ['ECONNREFUSED']);
  });

  test('ports are added, renumbered and deleted while it serves', async () => {
    const { product } = site;
    const address = '10.96.2.3';
    const write = (...list: [name: string, port: number][]) =>
      product.apply(
        service('changing', [address], { ports: list.map(([name, port]) => ({ name, port })) }),
        slice('changing', v4(1), {
          ports: list.map(([name]) => ({ name, port: name === 'b' ? ports.https : ports.http })),
        }),
      );
    await write(['a', 80]);
    assert.deepEqual(await pods(address, 80), named(1));
    assert.deepEqual(await pods(address, 443), ['ECONNREFUSED']);
    await write(['a', 80], ['b', 443]);
    assert.deepEqual(await pods(address, 443), named(1));
    await write(['a', 8000], ['b', 443]);
    assert.deepEqual(await pods(address, 80), ['ECONNREFUSED']);
    assert.deepEqual(await pods(address, 8000), named(1));
    await write(['b', 443]);
    assert.deepEqual(await pods(address, 8000), ['ECONNREFUSED']);
    assert.deepEqual(await pods(address, 443), named(1));
  });

  test('a named target port that is another number on another pod', async () => {
    const { product } = site;
    const address = '10.96.2.4';
    await product.apply(
      service('named', [address], { ports: [{ name: 'web', port: 80, targetPort: 'web' }] }),
      slice('named', v4(1), { ports: [{ name: 'web', port: ports.http }] }),
      slice('named', v4(2), { name: 'named-2', ports: [{ name: 'web', port: ports.https }] }),
    );
    assert.deepEqual(await pods(address), named(1, 2));
  });

  test('deleted and made again, with the same address or another', async () => {
    const { product } = site;
    for (const address of ['10.96.2.5', '10.96.2.5', '10.96.2.6']) {
      await product.apply(service('again', [address]), slice('again', v4(1, 2)));
      assert.deepEqual(await pods(address), named(1, 2));
      await product.remove('Service', 'again');
      await product.remove('EndpointSlice', 'again-1');
      assert.deepEqual(await product.service('again'), []);
      assert.doesNotMatch(await site.client.pod(address, 80), /^pod/);
    }
    await product.apply(service('again', ['10.96.2.5']), slice('again', v4(3)));
    assert.deepEqual(await pods('10.96.2.5'), named(3));
  });

  test('the backend sees the address of the pod that asks', async () => {
    const { product } = site;
    const addresses = ['10.96.2.7', 'fd00:96::2:7'];
    // The backend's HTTP server tells who asked; `client` reads that through the service.
    await product.apply(
      service('source', addresses),
      slice('source', v4(1), { ports: [{ port: 80 }] }),
      slice('source', v6(1), { name: 'source-v6', ports: [{ port: 80 }] }),
    );
    const pod = product.pod(0);
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
    const { product } = site;
    const addresses = ['10.96.2.8', 'fd00:96::2:8'];
    await product.apply(
      service('hairpin', addresses),
      slice('hairpin', v4(1)),
      slice('hairpin', v6(1), { name: 'hairpin-v6' }),
    );
    const itself = new Client(product.pod(2));
    for (const address of addresses) {
      assert.deepEqual(kinds(await itself.pods(address, 80, 5)), named(1));
      assert.deepEqual((await itself.tcp(address, 80)).from, `${address} 80`);
    }
  });

  test('labels that give a service to another proxy, or make it headless, and take that back', async () => {
    const { product } = site;
    const address = '10.96.2.9';
    const write = (labels: Record<string, string>) => {
      const object = slice('labels', v4(1));
      const metadata = { ...object.metadata, labels: { ...object.metadata.labels, ...labels } };
      return product.apply(service('labels', [address], {}, { labels }), { ...object, metadata });
    };
    await write({});
    assert.deepEqual(await pods(address), named(1));
    for (const label of ['service-proxy-name', 'headless']) {
      await write({ [`service.kubernetes.io/${label}`]: 'foo' });
      assert.deepEqual(await product.service('labels'), []);
      assert.doesNotMatch(await site.client.pod(address, 80), /^pod/);
      await write({});
      assert.deepEqual(await pods(address), named(1));
    }
  });

  test('addresses with leading zeros are decimal', async () => {
    const { product } = site;
    const [plain] = v4(1);
    const funny = plain!.replace(/\.(\d+)$/, (_, last: string) => `.${last.padStart(3, '0')}`);
    assert.notEqual(funny, plain);
    await product.apply(service('funny', ['10.096.002.010']), slice('funny', [funny]));
    assert.deepEqual(await pods('10.96.2.10'), named(1));
  });

  test('the agent restarts: existing services go on, new ones come', async () => {
    const { product } = site;
    await product.apply(service('before', ['10.96.2.11']), slice('before', v4(1)));
    await product.kill();
    assert.deepEqual(await pods('10.96.2.11'), named(1), 'nobody needs the agent to connect');
    await product.write(service('while', ['10.96.2.12']), slice('while', v4(2)));
    await product.start();
    assert.deepEqual(await pods('10.96.2.11'), named(1));
    assert.deepEqual(await pods('10.96.2.12'), named(2));
    await product.apply(service('after', ['10.96.2.13']), slice('after', v4(3)));
    assert.deepEqual(await pods('10.96.2.13'), named(3));
  });

  test('the API server restarts: existing services go on, new ones come', async () => {
    const { product } = site;
    await product.apply(service('kept', ['10.96.2.14']), slice('kept', v4(1)));
    await product.server.stop();
    assert.deepEqual(await pods('10.96.2.14'), named(1));
    await product.server.compact();
    await product.write(service('newer', ['10.96.2.15']), slice('newer', v4(2)));
    await product.server.resume();
    await product.apply(service('newest', ['10.96.2.16']), slice('newest', v4(3)));
    assert.deepEqual(await pods('10.96.2.14'), named(1));
    assert.deepEqual(await pods('10.96.2.15'), named(2));
    assert.deepEqual(await pods('10.96.2.16'), named(3));
  });

  test('a blue-green deployment fails no connection', async () => {
    const { product } = site;
    const address = '10.96.2.17';
    const draining = { ready: false, serving: true, terminating: true };
    await product.apply(
      service('green', [address], { ports: [{ port: 80 }] }),
      slice('green', v4(1), { ports: [{ port: 80 }] }),
    );
    const load = startHttpClient(product.pod(1), { targets: { green: [`${address}:80`] } });
    await load.started;
    for (let round = 0; round < 6; round++) {
      const [blue, green] = round % 2 === 0 ? [1, 2] : [2, 1];
      const [old, next] = [v4(blue)[0]!, v4(green)[0]!];
      for (const endpoints of [[old, next], [endpoint(old, draining), next], [next]]) {
        await product.apply(slice('green', endpoints, { ports: [{ port: 80 }] }));
      }
      assert.deepEqual(kinds(await site.client.pods(address, 80, 1)).length, 1);
    }
    const { targets } = await load.stop();
    assert.ok(targets.green!.requests > 100, `${targets.green!.requests} requests`);
    assert.equal(targets.green!.failed, 0);
  });
});
