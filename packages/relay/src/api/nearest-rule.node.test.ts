import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AskNearest } from '@heddle/hubble';
import type { DropsAnswer, Explanation } from '@heddle/web/contract';
import { clusters } from '@heddle/web/testing/clusters';
import { InventedRelay } from '../../testing/invented-relay.ts';

/** Returns the explanation of the drops from checkout to ledger, as a relay over observers gives it. */
async function explain(t: TestContext, filter: string, nearest?: AskNearest) {
  const log: string[] = [];
  const relay = await InventedRelay.start(clusters['shop-berlin'](), {
    ...{ flowsPerSecond: 60, isLive: false, log: (message) => log.push(message) },
    ...(nearest ? { nearest } : {}),
  });
  t.after(() => relay.close());
  const get = async (path: string) => {
    const response = await fetch(`${relay.url}api/${path}`);
    assert.equal(response.status, 200, path);
    return response.json();
  };
  const drops = (await get(`drops?f=${encodeURIComponent(filter)}`)) as DropsAnswer;
  const [kind] = drops.kinds;
  assert.ok(kind, `no drops of ${filter}`);
  const explanation = (await get(`drops/${kind.id}`)) as Explanation;
  return { explanation, log };
}

const ledger = 'to:payments/ledger verdict:dropped';
const rule: Awaited<ReturnType<AskNearest>> = {
  tests: [
    { what: 'peer', rule: 'app=checkout', here: 'app=checkout', fits: true },
    { what: 'port', rule: 'TCP 8080', here: 'TCP 8443', fits: false },
  ],
  others: 2,
  source: {
    policy: 'NetworkPolicy payments/ledger-ingress',
    lines: ['spec:', '  ingress:', '    - ports:'],
    near: [1, 2],
    failing: [2],
  },
};

test('the observer of a dropped packet is asked for the nearest rule', async (t) => {
  const asked: Parameters<AskNearest>[0][] = [];
  const { explanation, log } = await explain(t, ledger, async (denial) => {
    asked.push(denial);
    return rule;
  });
  const { tests, others, source } = explanation;
  assert.deepEqual([tests, others], [rule.tests, rule.others]);
  const { policy: kind, ...text } = rule.source!;
  assert.deepEqual(source, { kind, ...text });
  const [{ source: from, destination, ...rest } = assert.fail('nothing was asked')] = asked;
  assert.equal(explanation.trace, `--from ${from} ${destination}:8443`);
  assert.deepEqual(rest, { protocol: 'TCP', port: 8443, direction: 'ingress' });
  assert.deepEqual(log, []);
});

test('without an answer of the observer a drop has no tests, and the log says why', async (t) => {
  const failing = await explain(t, ledger, async () => {
    throw new Error('the agent is away');
  });
  assert.deepEqual([failing.explanation.tests, failing.explanation.source], [[], undefined]);
  assert.match(failing.log.join(), /^the observer of .* explains no drop: .*the agent is away/);
  const old = await explain(t, ledger);
  assert.deepEqual(old.explanation.tests, []);
  assert.match(old.log.join(), /explains no drop/);
});

test('an answer beyond the bounds is cut, and unknown tests are left out', async (t) => {
  const { explanation } = await explain(t, ledger, async () => ({
    tests: [
      { ...rule.tests[0]!, here: 'x'.repeat(5000) },
      { ...rule.tests[1]!, what: 'moon' as never },
    ],
    others: 0,
    source: { ...rule.source!, lines: Array(5000).fill('x') },
  }));
  assert.deepEqual(
    explanation.tests.map(({ what, here }) => [what, here.length]),
    [['peer', 400]],
  );
  assert.equal(explanation.source, undefined);
});

test('packets that were dropped for other reasons are no question about rules', async (t) => {
  let asked = 0;
  const { explanation } = await explain(t, 'verdict:refused', async () => {
    asked++;
    return rule;
  });
  assert.deepEqual([explanation.tests, asked], [[], 0]);
});
