import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackendEntry } from '@heddle/agent';
import { BlockingSocket } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { service, slice } from '../testing/objects.ts';
import { counts, kinds, named, Site } from '../testing/site.ts';

describe('the choice of a backend', () => {
  let site: Site;
  before(async () => {
    site = await Site.open('choice');
  });
  after(() => site?.[Symbol.dispose]());

  test('session affinity: one backend for each pod and service, switched while running', async () => {
    const { product, client, other, onNode } = site;
    const address = '10.96.3.1';
    const write = (spec: object, ...numbers: number[]) =>
      product.apply(
        'sticky.yaml',
        service('sticky', [address], { ...spec }),
        slice('sticky', site.v4(...numbers)),
      );
    const sticky = (timeoutSeconds: number) => ({
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds } },
    });
    const pods = () => client.pods(address, 80, 30);
    await write({}, 1, 2, 3);
    // Of 30 connections one of three is left out once in 64,000 times.
    assert.deepEqual(kinds(await pods()), named(1, 2, 3));
    await write(sticky(600), 1, 2, 3);
    const [mine, ...rest] = kinds(await pods());
    assert.deepEqual(rest, []);
    for (const each of [other, onNode])
      assert.equal(kinds(await each.pods(address, 80, 20)).length, 1);
    assert.deepEqual(kinds(await pods()), [mine], 'others have not changed it');

    const number = named(1, 2, 3).indexOf(mine!) + 1;
    const others = [1, 2, 3].filter((each) => each !== number);
    await write(sticky(600), ...others);
    const moved = kinds(await pods());
    assert.ok(moved.length === 1 && moved[0] !== mine, 'a backend that is gone is left');
    await write(sticky(600), 1, 2, 3);
    assert.deepEqual(kinds(await pods()), moved, 'and its return moves nobody');
    await write({}, 1, 2, 3);
    assert.deepEqual(kinds(await pods()), named(1, 2, 3));

    // When its time is over the choice is free again: of 12 tries one differs, but once in 177,000.
    await write(sticky(1), 1, 2, 3);
    const after: string[] = [];
    for (let i = 0; i < 12 && kinds(after).length < 2; i++) {
      after.push(...kinds(await pods()));
      await sleep(1050);
    }
    assert.ok(kinds(after).length > 1, `always ${after[0]}`);
  });

  test('algorithms by annotation, changed while running', async () => {
    const { product, client, other } = site;
    const address = '10.96.3.2';
    const write = (algorithm: string, weights = '') =>
      product.apply(
        'spread.yaml',
        service(
          'spread',
          [address],
          {},
          {
            annotations: { 'heddle.io/algorithm': algorithm, 'heddle.io/weights': weights },
          },
        ),
        slice('spread', site.v4(1, 2, 3)),
      );
    const spread = async (count: number) => counts(await client.pods(address, 80, count));
    const even = { [named(1)[0]!]: 30, [named(2)[0]!]: 30, [named(3)[0]!]: 30 };
    await write('round-robin');
    assert.deepEqual(await spread(90), even);

    await write('weighted', `${site.v4(1)}=1, ${site.v4(2)}=2, ${site.v4(3)}=7`);
    const weighted = await spread(1000);
    // Six standard deviations each: a correct one fails once in 10^8 times.
    for (const [i, share] of [0.1, 0.2, 0.7].entries()) {
      const got = weighted[named(i + 1)[0]!] ?? 0;
      const deviation = Math.sqrt(1000 * share * (1 - share));
      assert.ok(Math.abs(got - 1000 * share) < 6 * deviation, JSON.stringify(weighted));
    }

    await write('maglev');
    for (const each of [client, other])
      assert.equal(kinds(await each.pods(address, 80, 20)).length, 1);

    await write('least-connections');
    using open = new DisposableStack();
    const pods = Array.from({ length: 9 }, () => {
      const socket = open.use(
        product
          .pod(0)
          .enter(() => BlockingSocket.open(product.platform, { protocol: 'tcp', family: 4 })),
      );
      socket.connect({ address, port: 80 });
      socket.send('x');
      return decodeUtf8(socket.receive()).split(' ')[0]!;
    });
    assert.deepEqual(counts(pods), { 'pod-1-3': 3, 'pod-1-4': 3, 'pod-1-5': 3 });
    const { backends } = (await product.heddle('backend', 'list', '--service', 'spread')) as {
      backends: BackendEntry[];
    };
    assert.deepEqual(
      backends.map(({ active }) => active),
      [3, 3, 3],
    );

    await write('random');
    const random = await spread(900);
    for (const pod of named(1, 2, 3)) {
      assert.ok(Math.abs(random[pod]! - 300) < 6 * Math.sqrt(200), JSON.stringify(random));
    }
    await write('fastest');
    const [row] = await product.service('spread');
    assert.match(row!.problems.join(), /annotation heddle\.io\/algorithm is "fastest"/);
    assert.equal(row!.status, 'done');
  });
});
