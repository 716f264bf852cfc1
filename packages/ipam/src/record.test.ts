import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import {
  type AttachmentRecord,
  formatRecord,
  isPodInterfaceName,
  longestAlias,
  parseRecord,
  podInterfaceName,
  podMac,
  RecordTooLong,
} from './record.ts';

const uid = '7f3a8f0c-9df1-4c0b-a4f6-0c9b0c9a1f10';
const record: AttachmentRecord = {
  containerId: 'c'.repeat(64),
  interfaceName: 'eth0',
  podUid: uid,
  addresses: ['10.7.0.2', 'fd00:7::2'],
  pod: { namespace: 'default', name: 'web-1' },
};
const id = record.containerId;

test('formatRecord: the parts are in a fixed order, and absent ones are dashes', () => {
  assert.equal(formatRecord(record), `heddle:${id}/eth0 ${uid} 10.7.0.2 fd00:7::2 default/web-1`);
  const bare = { ...record, podUid: undefined, pod: undefined, addresses: ['fd00:7::2'] };
  assert.equal(formatRecord(bare), `heddle:${id}/eth0 - - fd00:7::2`);
});

test('formatRecord: namespace and name are left out when they do not fit', () => {
  const pod = { namespace: 'n'.repeat(63), name: 'p'.repeat(253) };
  assert.equal(formatRecord({ ...record, pod }), `heddle:${id}/eth0 ${uid} 10.7.0.2 fd00:7::2`);
});

test('formatRecord refuses a container id that does not fit', () => {
  assert.throws(() => formatRecord({ ...record, containerId: 'c'.repeat(240) }), RecordTooLong);
});

test('parseRecord distinguishes no alias, a foreign one and a broken one', () => {
  assert.deepEqual(parseRecord(undefined), { kind: 'none' });
  assert.deepEqual(parseRecord(''), { kind: 'none' });
  assert.deepEqual(parseRecord('uplink to rack 7'), { kind: 'foreign' });
  for (const [rest, reason] of [
    ['', 'it has 1 parts'],
    ['c/eth0 u 10.7.0.2', 'it has 3 parts'],
    ['c u 10.7.0.2 -', 'nothing is no name of an interface'],
    ['/eth0 u 10.7.0.2 -', 'nothing is no container id'],
    ['c/eth0 u 10.7.0 -', '10.7.0 is no IPv4 address'],
    ['c/eth0 u fd00::1 -', 'fd00::1 is no IPv4 address'],
    ['c/eth0 u - 10.7.0.2', '10.7.0.2 is no IPv6 address'],
    ['c/eth0 u - -', 'it has no address'],
    ['c/eth0 u 10.7.0.2 - default', 'default is no namespace and name'],
    ['c/eth0  10.7.0.2 -', 'the pod UID is empty'],
  ] as const) {
    assert.deepEqual(parseRecord(`heddle:${rest}`), { kind: 'broken', reason }, rest);
  }
});

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789';
const word = (maxLength: number) =>
  fc
    .array(fc.constantFrom(...letters), { minLength: 1, maxLength })
    .map((characters) => characters.join(''));

test('parseRecord returns what formatRecord was given', () => {
  const anyRecord = fc.record({
    containerId: word(64),
    interfaceName: word(15),
    podUid: fc.option(fc.uuid(), { nil: undefined }),
    addresses: fc.constantFrom(['10.7.0.2'], ['fd00:7::2'], ['10.7.0.2', 'fd00:7::2']),
    pod: fc.option(fc.record({ namespace: word(63), name: word(253) }), { nil: undefined }),
  });
  fc.assert(
    fc.property(anyRecord, (given) => {
      const alias = formatRecord(given);
      assert.ok(encodeUtf8(alias).length <= longestAlias);
      const parsed = parseRecord(alias);
      assert.equal(parsed.kind, 'record');
      const read = (parsed as { record: AttachmentRecord }).record;
      assert.deepEqual({ ...read, pod: undefined }, { ...given, pod: undefined });
      if (read.pod) assert.deepEqual(read.pod, { ...given.pod });
    }),
  );
});

test('parseRecord never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      parseRecord(text);
      parseRecord(`heddle:${text}`);
    }),
  );
});

test('podInterfaceName is the lowest 52 bits of FNV-1a over container and interface', () => {
  // FNV-1a-64 of "a/b" is e7f60a19005c33e6.
  assert.equal(podInterfaceName('a', 'b'), `hd${fnv('a/b').slice(-13)}`);
  const name = podInterfaceName(id, 'eth0');
  assert.ok(isPodInterfaceName(name), name);
  assert.notEqual(name, podInterfaceName(id, 'eth1'));
  assert.match(podMac(name), /^02(:[0-9a-f]{2}){5}$/);
});

function fnv(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of encodeUtf8(text))
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & (2n ** 64n - 1n);
  return hash.toString(16).padStart(16, '0');
}
