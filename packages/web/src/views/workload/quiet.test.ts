import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScriptedRelay } from '../../../testing/relay.ts';
import { shop } from '../../../testing/shop.ts';
import { workloadOf } from '../../../testing/workload.ts';
import { filterWord, namespacesOf, quietSentence } from './quiet.ts';

const now = Date.parse('2026-11-30T14:10:00Z');
const relay = new ScriptedRelay(shop(), () => now);
const answerOf = (...path: string[]) => workloadOf(relay, path, now - 900_000, now)!;

test('nothing is quiet while one caller connects', () => {
  const answer = answerOf('data', 'catalogue-db');
  assert.ok(answer.callers.some(({ last }) => last < now - 3_600_000));
  assert.equal(quietSentence(answer, now), undefined);
  assert.ok(namespacesOf(answer.callers) >= 3);
});

test('a workload whose callers are all quiet names them and the last time', () => {
  const answer = answerOf('data', 'catalogue-db');
  const quiet = answer.callers.filter(({ last }) => last < now - 3_600_000);
  const sentence = quietSentence({ ...answer, callers: quiet }, now);
  assert.match(
    sentence!,
    /^Nobody has connected since .*; in 24 h 1 caller did: batch\/price-import\.$/,
  );
  assert.equal(
    quietSentence({ ...answer, callers: [] }, now),
    'Nobody has connected in the last 24 h.',
  );
});

test('callers beyond the third are counted', () => {
  const answer = answerOf('data', 'catalogue-db');
  const callers = answer.callers.slice(0, 5).map((each) => ({ ...each, last: now - 7_200_000 }));
  assert.match(quietSentence({ ...answer, callers }, now)!, /5 callers did: .* and 2 more\.$/);
});

test('the filter of a service is the service, not its name', () => {
  assert.equal(filterWord('service', ['shop', 'cart']), 'svc:shop/cart');
  assert.equal(filterWord('pod', ['shop', 'cart-1']), 'with:shop/cart-1');
  assert.equal(filterWord('outside', ['internet']), 'with:internet');
});
