import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Packet } from '../packet/packet.ts';
import { spoofedSyns } from './spoofed-syns.ts';

const hop = { src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' };

test('each SYN has correct checksums and a source of its own', () => {
  for (const [address, source] of [
    ['192.0.2.1', /^ipv4 198\.18\.\d+\.\d+ > 192\.0\.2\.1 ttl 64 df$/m],
    ['fd00::1', /^ipv6 fd00:198:18::[0-9a-f:]* > fd00::1 hop-limit 64$/m],
  ] as const) {
    const seen = new Set<string>();
    let n = 0;
    for (const frame of spoofedSyns(hop, { address, port: 80 }, 70_000)) {
      const part = frame.subarray(26, address.includes(':') ? 56 : 36);
      seen.add(String.fromCharCode(...part));
      if (n++ % 1009 > 0) continue;
      const text = `${Packet.parse(frame)}`;
      assert.match(text, source);
      assert.match(text, /\ntcp \d+ > 80 SYN seq 1 window 65535 mss 1460$/);
    }
    assert.equal(seen.size, 70_000);
  }
  assert.throws(
    () => spoofedSyns(hop, { address: '192.0.2.1', port: 80 }, 1e10).next(),
    RangeError,
  );
});
