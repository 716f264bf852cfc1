import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ScriptedRelay } from '../../../testing/relay.ts';
import { shop } from '../../../testing/shop.ts';
import { changesAsText, changeText, countChanges, eventText, sortChanges } from './change-words.ts';
import {
  around,
  formatRange,
  lastTwoHours,
  minute,
  moveEnd,
  moveRange,
  nowAndYesterday,
  parseRange,
} from './ranges.ts';

const now = Date.parse('2026-11-30T14:10:00Z');
const day = { from: now - 1440 * minute, to: now };
const relay = new ScriptedRelay(shop(), () => now);
const rollout = relay.events()[0]!;
const { a, b } = around(rollout.at, now);
const answer = relay.changes('', a, b);

test('a range survives the URL, and a wrong one counts as missing', () => {
  const range = { from: now - 5 * minute, to: now };
  assert.deepEqual(parseRange(formatRange(range)), range);
  for (const text of [undefined, '', '..', 'a..b', formatRange({ from: now, to: now - 1 })]) {
    assert.equal(parseRange(text), undefined, `${text}`);
  }
});

test('A is before B and ends where B begins or earlier', () => {
  for (const each of [lastTwoHours(now), nowAndYesterday(now), around(now - 90 * minute, now)]) {
    assert.ok(each.a.from < each.a.to && each.a.to <= each.b.from && each.b.from < each.b.to);
    assert.ok(each.b.to <= now);
  }
  const near = around(now, now);
  assert.ok(near.b.from < near.b.to);
});

test('a moved range keeps its length and stays within the day', () => {
  const times = fc.integer({ min: -2000 * minute, max: 2000 * minute });
  fc.assert(
    fc.property(times, times, (by, end) => {
      const moved = moveRange(a, by, day);
      assert.equal(moved.to - moved.from, a.to - a.from);
      assert.ok(moved.from >= day.from && moved.to <= day.to);
      for (const side of ['from', 'to'] as const) {
        const resized = moveEnd(a, side, now + end, day);
        assert.ok(resized.to - resized.from >= minute);
        assert.ok(resized.from >= day.from && resized.to <= day.to);
      }
    }),
  );
});

test('the changes around a rollout begin with what is dropped, after the rollout', () => {
  const sorted = sortChanges(answer.links);
  assert.equal(sorted[0]?.change, 'dropped');
  assert.equal(changeText(sorted[0]!), 'now dropped');
  assert.equal(eventText(sorted[0]!), '6 s after rollout of shop/checkout, revision 41');
  assert.equal(eventText({ ...sorted[0]!, event: undefined! }), 'no event near it');
  assert.equal(
    countChanges(answer.links).reduce((sum, [, count]) => sum + count, 0),
    answer.links.length,
  );
});

test('the words for more and less are the ratio', () => {
  const [first] = answer.links;
  const rates = (forwarded: number) => ({ forwarded, dropped: 0, refused: 0 });
  const changed = (change: 'more' | 'less', before: number, after: number) =>
    changeText({ ...first!, change, a: rates(before), b: rates(after) });
  assert.equal(changed('more', 77, 240), '3.1 times as much');
  assert.equal(changed('less', 590, 150), '25 % of before');
});

test('a copied table has one line for each change, and names cannot break it', () => {
  const [first] = answer.links;
  const hostile = { ...first!, from: { ...first!.from, name: 'a|b\nc' } };
  const text = changesAsText({ ...answer, links: [hostile] }, 'http://page/#/changes', now);
  const rows = text.split('\n').filter((line) => line.startsWith('| ✕'));
  assert.equal(rows.length, 1);
  assert.match(rows[0]!, /a\\\|b c/);
  assert.match(text, /http:\/\/page\/#\/changes/);
  assert.match(text, /links are as before\./);
});
