import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import { errno, formatIp, SysError } from '@heddle/sys';
import { FakeMap } from '../../testing/fake-store.ts';
import { row } from '../../testing/rows.ts';
import { decodeSourceRangeKey, sourceRange, sourceRangeKeySize } from '../generated/abi.ts';
import { SourceRanges } from './source-ranges.ts';

const newMap = (entries = 100) => new FakeMap('source_ranges', entries, sourceRangeKeySize, 4);

/** `frontend <- client/bits verdict`, sorted. */
function contentOf(map: FakeMap): string[] {
  const texts = [...map.entries()].map(([bytes, value]) => {
    const { frontend, client, prefixLength } = decodeSourceRangeKey(bytes, 0);
    const verdict = value[0] === sourceRange.allowed ? 'allowed' : 'denied';
    return `${formatIp(frontend)} <- ${formatIp(client)}/${prefixLength - 160} ${verdict}`;
  });
  return texts.sort();
}

const ranged = (sourceRanges: string[], more: Partial<ServiceRow> = {}, address = '198.51.100.1') =>
  row([{ kind: 'LoadBalancer', address, port: 80 }], [], { sourceRanges, key: 'web', ...more });
const external = (sourceRanges: string[]) =>
  ranged(sourceRanges, { key: 'web/outside', scope: 'outside' });

function hasOnly(map: FakeMap, expected: readonly string[]): void {
  assert.deepEqual(contentOf(map), [...expected].sort());
}

const denied = '198.51.100.1 <- ::/0 denied';
const allowed = (client: string) => `198.51.100.1 <- ${client}/128 allowed`;

function program(ranges: SourceRanges, ...rows: ServiceRow[]): void {
  for (const each of rows) ranges.add(each);
  for (const each of rows) ranges.commit(each);
}

test('a source range stays while one of two rows with the same frontend needs it', () => {
  for (const [first, second] of [
    ['web', 'web/outside'],
    ['web/outside', 'web'],
  ] as const) {
    const map = newMap();
    const ranges = new SourceRanges(map);
    const both = [denied, allowed('192.0.2.1'), allowed('192.0.2.2')];
    const of = (...texts: string[]) =>
      first === 'web' ? [ranged(texts), external(texts)] : [external(texts), ranged(texts)];
    program(ranges, ...of('192.0.2.1', '192.0.2.2'));
    hasOnly(map, both);
    const [changed, other] = of('192.0.2.2', '192.0.2.3');
    program(ranges, changed!);
    // The other row still needs the first one.
    hasOnly(map, [...both, allowed('192.0.2.3')]);
    program(ranges, other!);
    hasOnly(map, [denied, allowed('192.0.2.2'), allowed('192.0.2.3')]);
    ranges.remove(first);
    hasOnly(map, [denied, allowed('192.0.2.2'), allowed('192.0.2.3')]);
    ranges.remove(second);
    assert.deepEqual([contentOf(map), ranges.size], [[], 0]);
  }
});

test('source ranges that a row no longer has are deleted', () => {
  const map = newMap();
  const ranges = new SourceRanges(map);
  for (let round = 0; round < 2; round++) {
    program(ranges, ranged(['192.0.2.1']), external(['192.0.2.1']));
    hasOnly(map, [denied, allowed('192.0.2.1')]);
    program(ranges, ranged([]), external([]));
    hasOnly(map, []);
  }
});

test('a source range with all addresses of a family allows all of them', () => {
  const map = newMap();
  const v4 = ranged(['0.0.0.0/0']);
  const v6 = ranged(['::/0'], { key: 'web6' }, '2001:db8::1');
  program(new SourceRanges(map), v4, v6);
  hasOnly(map, ['198.51.100.1 <- 0.0.0.0/96 allowed', denied, '2001:db8::1 <- ::/0 allowed']);
});

test('the default entry follows source ranges with all IPv6 addresses, also after a restart', () => {
  const map = newMap();
  let ranges = new SourceRanges(map);
  const of = (...texts: string[]) => ranged(texts, {}, '2001:db8::1');
  for (let round = 0; round < 2; round++) {
    program(ranges, of('2001:db8:1::/48'));
    hasOnly(map, ['2001:db8::1 <- ::/0 denied', '2001:db8::1 <- 2001:db8:1::/48 allowed']);
    program(ranges, of('::/0'));
    hasOnly(map, ['2001:db8::1 <- ::/0 allowed']);
    ranges = new SourceRanges(map);
  }
});

test("an earlier agent's source ranges are deleted with the row's frontend, others by prune", () => {
  const map = newMap();
  const elsewhere = ranged(['192.0.2.9'], { key: 'other' }, '198.51.100.2');
  program(new SourceRanges(map), ranged(['192.0.2.1', '192.0.2.2']), elsewhere);
  const others = ['198.51.100.2 <- 192.0.2.9/128 allowed', '198.51.100.2 <- ::/0 denied'];
  const next = new SourceRanges(map);
  program(next, ranged(['192.0.2.2']));
  hasOnly(map, [denied, allowed('192.0.2.2'), ...others]);
  next.prune();
  hasOnly(map, [denied, allowed('192.0.2.2')]);
});

test('a row without room for its source ranges leaves no entries when it is removed', () => {
  class Trie extends FakeMap {
    override update(key: Uint8Array, value: Uint8Array): void {
      if (this.content.size >= this.info.maxEntries)
        throw new SysError('bpf', errno.ENOSPC, 'update map source_ranges');
      super.update(key, value);
    }
  }
  const map = new Trie('source_ranges', 2, sourceRangeKeySize, 4);
  const ranges = new SourceRanges(map);
  assert.throws(() => ranges.add(ranged(['192.0.2.1', '192.0.2.2'])), /source_ranges: full with 2/);
  ranges.remove('web');
  assert.deepEqual([contentOf(map), ranges.size], [[], 0]);
});
