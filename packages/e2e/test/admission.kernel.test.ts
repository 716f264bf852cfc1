// More frontends than a node may serve: the older services come first, and nobody takes all the room.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { askTcp, startBackend } from '@heddle/lab';
import { service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';

const day = (number: number) => `2026-01-0${number}T00:00:00Z`;

describe('services that ask for more frontends than there is room for', () => {
  let product: Product;
  let args: string[];
  before(async () => {
    product = new Product('admission', { podsPerNode: 2 });
    await startBackend(product.lab.pods[1]!, { tcp: [8080] });
    const config = `${product.folder}/../agent.yaml`;
    writeFileSync(config, 'sizes: {services: 32, servicesMax: 80}\n');
    args = ['--config', config];
  });
  after(() => product?.[Symbol.dispose]());

  const made = (name: string, address: string, namespace: string, created: string, spec = {}) => {
    const object = service(name, [address], spec);
    const metadata = { ...object.metadata, namespace, creationTimestamp: created };
    const ip = product.lab.pods[1]!.addresses.v4;
    const endpoints = slice(name, [ip], {
      ports: portsOf(spec).map((port) => ({ ...port, port: 8080 })),
    });
    return [
      { ...object, metadata },
      { ...endpoints, metadata: { ...endpoints.metadata, namespace } },
    ];
  };
  const portsOf = ({ ports = [{ port: 80 }] }: { ports?: object[] }) =>
    ports.map((each) => ('name' in each ? { name: each.name } : {}));
  const answers = (address: string, port = 80) => {
    try {
      return askTcp(product.lab.pods[0]!, { address, port }, 'who?', 500).split(' ')[0]!;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const pod = () => product.lab.pods[1]!.name;

  test('one service gets a quarter, others are served, and a restart decides the same', async () => {
    // Four addresses and the ClusterIP at each of ten ports: 50 frontends.
    const ports = Array.from({ length: 10 }, (_, i) => ({ name: `p${i}`, port: 1000 + i }));
    const externalIPs = Array.from({ length: 4 }, (_, i) => `198.51.100.${i + 1}`);
    product.write(
      'huge.yaml',
      ...made('huge', '10.96.0.2', 'team', day(1), { ports, externalIPs }),
    );
    product.write('old.yaml', ...made('old', '10.96.0.3', 'team', day(2)));
    product.write('young.yaml', ...made('young', '10.96.0.4', 'default', day(3)));
    for (let restarts = 0; restarts < 2; restarts++) {
      await product.start(...args);
      assert.equal(answers('10.96.0.3'), pod());
      assert.equal(answers('10.96.0.4'), pod());
      assert.equal(answers('10.96.0.2', 1000), pod());
      assert.equal(answers('198.51.100.4', 1003), pod());
      const rows = await product.service('team/huge');
      const failed = rows.filter(({ status }) => status === 'failed');
      assert.deepEqual([rows.length, failed.length], [10, 6], 'four ports of five frontends fit');
      for (const { reason } of failed) {
        assert.equal(
          reason,
          'not programmed: one service may have 20 frontends, a quarter of sizes.servicesMax (80), and this one asks for more (use fewer ports or addresses, or raise sizes.servicesMax)',
        );
      }
      assert.equal((await product.status()).rows.failed, 6);
      await product.kill();
    }
  });

  test('an older service that comes later takes the place of a younger one', async () => {
    await product.start(...args);
    const crowd = (namespace: string, first: number) =>
      [1, 2].flatMap((n) =>
        made(`crowd-${n}`, `10.97.${first}.${n}`, namespace, day(4 + n), {
          ports: Array.from({ length: 19 }, (_, i) => ({ name: `p${i}`, port: 1000 + i })),
        }),
      );
    // 22 are taken; three of these have 19 each, the youngest finds one.
    await product.apply('crowd.yaml', ...crowd('a', 1), ...crowd('b', 2));
    const programmed = async (name: string) =>
      (await product.service(name)).filter(({ status }) => status === 'done').length;
    const counts = async () =>
      Promise.all(['a/crowd-1', 'a/crowd-2', 'b/crowd-1', 'b/crowd-2'].map(programmed));
    assert.deepEqual(await counts(), [19, 19, 19, 1]);
    assert.equal(answers('10.97.2.2', 1000), pod());
    await product.apply(
      'late.yaml',
      ...made('late', '10.96.0.9', 'c', day(1), {
        ports: Array.from({ length: 5 }, (_, i) => ({ name: `p${i}`, port: 1000 + i })),
      }),
    );
    assert.deepEqual(await counts(), [19, 15, 19, 0]);
    assert.equal(answers('10.96.0.9', 1004), pod());
    assert.equal(answers('10.97.2.1', 1014), pod());
    assert.notEqual(answers('10.97.2.2', 1000), pod());
    product.remove('crowd.yaml');
    await product.until('all to be in force but the huge one', async () => {
      return (await product.status()).rows.failed === 6;
    });
  });
});
