import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Packet } from '@heddle/lab';
import { FloodFrames, type FloodKind, frameRoom } from './flood-frames.ts';

const hop = { src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' };
const targets = {
  tcp: { address: '192.0.2.1', port: 10_000 },
  udp: { address: '192.0.2.1', port: 10_002 },
  silent: { address: '192.0.2.1', port: 10_003 },
  victims: { address: '203.0.113.1', ports: [4000, 4001] },
};

/** Returns the first packets of a flood, in words. */
function packets(kind: FloodKind, count: number, first = 0): string[] {
  const frames = new FloodFrames(hop, targets, kind, first);
  const into = new Uint8Array(frameRoom);
  const view = new DataView(into.buffer);
  return Array.from({ length: count }, () => {
    const length = frames.next(into, view);
    return `${Packet.parse(into.slice(0, length))}`;
  });
}

const source = (text: string) => /ipv4 (\S+) > .*\n\w+ (\d+) /.exec(text)!.slice(1).join(':');

test('each kind of flood is what it is called, with right checksums but for forged ACKs', () => {
  const expected: Record<Exclude<FloodKind, 'mixed'>, RegExp> = {
    syn: /tcp \d+ > 10000 SYN seq 1 /,
    ack: /tcp \d+ > 10000 ACK /,
    'forged-ack': /tcp \d+ > 10000 SYN seq 1 /,
    udp: /udp \d+ > 10002/,
    'silent-udp': /udp \d+ > 10003/,
    rst: /tcp \d+ > 10000 RST /,
    fragment: /fragment|more|mf/i,
  };
  for (const [kind, words] of Object.entries(expected)) {
    for (const text of packets(kind as FloodKind, 300)) {
      assert.match(text, words);
      assert.doesNotMatch(text, /WRONG/, `${kind}\n${text}`);
    }
  }
  const mixed = packets('mixed', 700).join('\n');
  for (const words of Object.values(expected)) assert.match(mixed, words);
});

test('sources are all different, also where a flood goes on', () => {
  const seen = new Set([...packets('syn', 3000), ...packets('syn', 3000, 3000)].map(source));
  assert.equal(seen.size, 6000);
  for (const each of seen) assert.match(each, /^198\.1[89]\./);
});

test('a forged ACK follows the SYN of its source, and its checksum is wrong', () => {
  const all = packets('forged-ack', 4000);
  const sent = new Set<string>();
  let acks = 0;
  for (const text of all) {
    if (text.includes(' SYN ')) sent.add(source(text));
    else {
      assert.ok(sent.has(source(text)));
      assert.match(text, /WRONG checksum/);
      acks++;
    }
  }
  assert.ok(acks > 1500, `${acks} ACKs`);
});

test('half of the resets are aimed at established connections, at sequence numbers all over', () => {
  const aimed = packets('rst', 2000).filter((text) => text.includes('203.0.113.1'));
  assert.equal(aimed.length, 1000);
  const numbers = aimed.map((text) => Number(/seq (\d+)/.exec(text)![1]));
  assert.ok(Math.max(...numbers) > 3 * 2 ** 30 && Math.min(...numbers) < 2 ** 30);
  assert.deepEqual(
    new Set(aimed.map((text) => source(text).split(':')[1])),
    new Set(['4000', '4001']),
  );
});
