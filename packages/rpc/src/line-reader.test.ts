import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { LineReader } from './line-reader.ts';

describe('LineReader', () => {
  const collect = (reader: LineReader) => {
    const lines: string[] = [];
    for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(line);
    return lines;
  };

  it('returns the same lines however the bytes are split into chunks', () => {
    const text = fc.array(fc.string({ unit: 'grapheme', maxLength: 30 }), { maxLength: 12 });
    fc.assert(
      fc.property(
        text,
        fc.array(fc.nat(20), { maxLength: 40 }),
        fc.boolean(),
        (parts, cuts, greedy) => {
          const lines = parts.map((part) => part.replace(/[\r\n]/g, '.'));
          const bytes = encodeUtf8(lines.map((line) => `${line}\n`).join(''));
          const reader = new LineReader(1000);
          const seen: string[] = [];
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            reader.push(bytes.subarray(at, at + cut));
            at += cut;
            if (greedy) seen.push(...collect(reader));
          }
          seen.push(...collect(reader));
          assert.deepEqual(seen, lines);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('accepts a line of exactly the longest length, and overflows on a longer one', () => {
    const reader = new LineReader(5);
    reader.push(encodeUtf8('12345\n123456\n'));
    assert.equal(reader.next(), '12345');
    assert.equal(reader.next(), undefined);
    assert.equal(reader.overflowed, true);
    reader.push(encodeUtf8('\nafter\n'));
    assert.equal(reader.next(), undefined);
  });

  it('overflows on an endless line as soon as it is too long', () => {
    const longest = 65_536;
    const reader = new LineReader(longest);
    const chunk = new Uint8Array(16384).fill(0x78);
    let pushed = 0;
    while (!reader.overflowed) {
      reader.push(chunk);
      pushed += chunk.length;
      reader.next();
      assert.ok(pushed <= longest + 16384);
    }
  });

  it('removes a carriage return only before the newline', () => {
    const reader = new LineReader(100);
    reader.push(encodeUtf8('a\rb\r\n\r\n'));
    assert.deepEqual(collect(reader), ['a\rb', '']);
  });
});
