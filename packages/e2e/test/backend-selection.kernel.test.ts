import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackendEntry } from '@heddle/agent';
import { BlockingSocket } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { service, slice } from '../testing/objects.ts';
import { backendNames, countEach, distinct, ServiceLab } from '../testing/service-lab.ts';

describe('the choice of a backend', () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.open('choice');
  });
  after(() => setup?.[Symbol.dispose]());

  test('session affinity gives each pod one backend per service, and can be changed at runtime', async () => {
    const { agentLab, client, other, onNode } = setup;
    const address = '10.96.3.1';
    const write = (spec: object, ...numbers: number[]) =>
      agentLab.apply(
        'sticky.yaml',
        service('sticky', [address], { ...spec }),
        slice('sticky', setup.v4(...numbers)),
      );
    const sticky = (timeoutSeconds: number) => ({
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds } },
    });
    const pods = () => client.pods(address, 80, 30);
    await write({}, 1, 2, 3);
    // 30 connections miss one of three backends once in 64,000 runs.
    assert.deepEqual(distinct(await pods()), backendNames(1, 2, 3));
    await write(sticky(600), 1, 2, 3);
    const [mine, ...rest] = distinct(await pods());
    assert.deepEqual(rest, []);
    for (const each of [other, onNode])
      assert.equal(distinct(await each.pods(address, 80, 20)).length, 1);
    assert.deepEqual(distinct(await pods()), [mine], 'others have not changed it');

    const number = backendNames(1, 2, 3).indexOf(mine!) + 1;
    const others = [1, 2, 3].filter((each) => each !== number);
    await write(sticky(600), ...others);
    const moved = distinct(await pods());
    assert.ok(moved.length === 1 && moved[0] !== mine, 'a backend that is gone is left');
    await write(sticky(600), 1, 2, 3);
    assert.deepEqual(distinct(await pods()), moved, 'its return moves no connection');
    await write({}, 1, 2, 3);
    assert.deepEqual(distinct(await pods()), backendNames(1, 2, 3));

    // After the timeout the choice is free again: one of 12 tries differs, except once in 177,000
    // runs.
    await write(sticky(1), 1, 2, 3);
    const after: string[] = [];
    for (let i = 0; i < 12 && distinct(after).length < 2; i++) {
      after.push(...distinct(await pods()));
      await sleep(1050);
    }
    assert.ok(distinct(after).length > 1, `always ${after[0]}`);
  });

  test('the annotation sets the algorithm, and can be changed at runtime', async () => {
    const { agentLab, client, other } = setup;
    const address = '10.96.3.2';
    const write = (algorithm: string, weights = '') =>
      agentLab.apply(
        'spread.yaml',
        service(
          'spread',
          [address],
          {},
          {
            annotations: { 'heddle.io/algorithm': algorithm, 'heddle.io/weights': weights },
          },
        ),
        slice('spread', setup.v4(1, 2, 3)),
      );
    const spread = async (count: number) => countEach(await client.pods(address, 80, count));
    const even = {
      [backendNames(1)[0]!]: 30,
      [backendNames(2)[0]!]: 30,
      [backendNames(3)[0]!]: 30,
    };
    await write('round-robin');
    assert.deepEqual(await spread(90), even);

    await write('weighted', `${setup.v4(1)}=1, ${setup.v4(2)}=2, ${setup.v4(3)}=7`);
    const weighted = await spread(1000);
    // Six standard deviations each: a correct algorithm fails once in 10^8 runs.
    for (const [i, share] of [0.1, 0.2, 0.7].entries()) {
      const got = weighted[backendNames(i + 1)[0]!] ?? 0;
      const deviation = Math.sqrt(1000 * share * (1 - share));
      assert.ok(Math.abs(got - 1000 * share) < 6 * deviation, JSON.stringify(weighted));
    }

    await write('maglev');
    for (const each of [client, other])
      assert.equal(distinct(await each.pods(address, 80, 20)).length, 1);

    await write('least-connections');
    using open = new DisposableStack();
    const pods = Array.from({ length: 9 }, () => {
      const socket = open.use(
        agentLab
          .pod(0)
          .enter(() => BlockingSocket.open(agentLab.platform, { protocol: 'tcp', family: 4 })),
      );
      socket.connect({ address, port: 80 });
      socket.send('x');
      return decodeUtf8(socket.receive()).split(' ')[0]!;
    });
    assert.deepEqual(countEach(pods), { 'pod-1-3': 3, 'pod-1-4': 3, 'pod-1-5': 3 });
    const { backends } = (await agentLab.heddle('backend', 'list', '--service', 'spread')) as {
      backends: BackendEntry[];
    };
    assert.deepEqual(
      backends.map(({ active }) => active),
      [3, 3, 3],
    );

    await write('random');
    const random = await spread(900);
    for (const pod of backendNames(1, 2, 3)) {
      assert.ok(Math.abs(random[pod]! - 300) < 6 * Math.sqrt(200), JSON.stringify(random));
    }
    await write('fastest');
    const [row] = await agentLab.service('spread');
    assert.match(row!.problems.join(), /annotation heddle\.io\/algorithm is "fastest"/);
    assert.equal(row!.status, 'done');
  });
});
