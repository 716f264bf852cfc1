import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DnsAnswer, dnsTypes, encodeAnswer } from '@heddle/datapath/testing/dns-message';
import { parseIp } from '@heddle/sys';
import fc from 'fast-check';
import { readDnsAnswer } from './message.ts';

const a = (name: string, address: string, ttl = 300) => ({
  ...{ name, type: dnsTypes.a, ttl, data: parseIp(address)!.subarray(12) },
});
const aaaa = (name: string, address: string, ttl = 300) => ({
  ...{ name, type: dnsTypes.aaaa, ttl, data: parseIp(address)! },
});
const cname = (name: string, data: string, ttl = 300) => ({
  ...{ name, type: dnsTypes.cname, ttl, data },
});
const read = (answer: DnsAnswer) => readDnsAnswer(encodeAnswer(answer));

test('an answer has the addresses of the name that was asked for, along its chain', () => {
  for (const isPlain of [false, true]) {
    const message = read({
      ...{ question: 'API.Example.com', isPlain },
      records: [
        cname('api.example.com', 'edge.cdn.test', 60),
        a('edge.cdn.test', '198.51.100.7', 30),
        aaaa('edge.cdn.test', '2001:db8::7', 300),
        a('other.test', '198.51.100.66', 1),
        a('edge.cdn.test', '198.51.100.7', 40),
      ],
    });
    assert.deepEqual(message, {
      ...{ query: 'api.example.com', queryType: 'A', responseCode: 0, ttl: 30 },
      addresses: ['198.51.100.7', '2001:db8::7'],
      canonicalNames: ['edge.cdn.test'],
      recordTypes: ['CNAME', 'A', 'AAAA', 'A', 'A'],
    });
  }
});

test('an answer without the name has its response code and no addresses', () => {
  const message = read({ question: 'nowhere.test', records: [], flags: 0x8183 });
  assert.deepEqual([message!.responseCode, message!.addresses, message!.ttl], [3, [], 0]);
});

test('a message that ends early has the records that are whole', () => {
  const records = Array.from({ length: 40 }, (_, i) => a('many.test', `198.51.100.${i}`));
  const bytes = encodeAnswer({ question: 'many.test', records });
  const { addresses } = readDnsAnswer(bytes.subarray(0, 512))!;
  assert.equal(addresses.length, 30);
});

test('what is no answer, and names that would hide what is shown, are left out', () => {
  const records = [a('web.test', '198.51.100.7')];
  for (const flags of [0x0100, 0x8900, 0xa180]) {
    assert.equal(read({ question: 'web.test', records, flags }), undefined);
  }
  for (const question of ['a b.test', 'a\u001b[2J.test', 'a\u0000.test', 'é.test', '']) {
    assert.equal(read({ question, records: [] }), undefined, JSON.stringify(question));
  }
  // An IPv4 address within an IPv6 address, and an address of a wrong length.
  const odd = [
    aaaa('web.test', '::ffff:198.51.100.7'),
    { ...a('web.test', '198.51.100.7'), data: new Uint8Array(5) },
    { ...a('web.test', '198.51.100.8'), class: 3 },
  ];
  assert.deepEqual(read({ question: 'web.test', records: odd })!.addresses, []);
});

test('a TTL with the highest bit counts as 0', () => {
  assert.equal(read({ question: 'a.test', records: [a('a.test', '8.8.8.8', 2 ** 31)] })!.ttl, 0);
});

test('pointers that lead nowhere, to themselves or in a circle end the message', () => {
  const header = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
  for (const name of [
    [0xc0, 12],
    [0xc0, 0],
    [0xff, 0xff],
    [1, 97, 0xc0, 12],
    [0xc0],
    [64],
    [63, 97],
  ]) {
    assert.equal(readDnsAnswer(Uint8Array.from([...header, ...name, 0, 1, 0, 1])), undefined);
  }
});

test('any bytes are read within bounds, without an error', () => {
  const answer = encodeAnswer({
    question: 'api.example.com',
    records: [cname('api.example.com', 'edge.cdn.test'), a('edge.cdn.test', '198.51.100.7')],
  });
  const change = fc.tuple(fc.nat(answer.length - 1), fc.nat(255));
  const changed = fc.array(change, { maxLength: 8 }).map((changes) => {
    const bytes = answer.slice();
    for (const [at, byte] of changes) bytes[at] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 512 }), changed), (bytes) => {
      const message = readDnsAnswer(bytes);
      if (!message) return;
      assert.ok(message.recordTypes.length <= 64);
      for (const name of [message.query, ...message.canonicalNames]) {
        assert.match(name, /^[!-~]{0,253}$/);
      }
      for (const address of message.addresses) assert.ok(parseIp(address), address);
    }),
    { numRuns: 2000 },
  );
});
