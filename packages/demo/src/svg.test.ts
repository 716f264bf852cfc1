import assert from 'node:assert/strict';
import { test } from 'node:test';
import { svgOf } from './svg.ts';

test('svgOf draws each line in its row, bars and sparklines as rectangles', () => {
  const svg = svgOf(
    [
      [{ text: ' a' }, { text: ' <b>', tone: 'good' }],
      [{ text: '██▌', tone: 'service' }],
      [{ text: '▁▇', tone: 'service' }],
      [{ text: ' q ', tone: 'key' }],
    ],
    20,
    'A & B',
  );
  const lines = svg.split('\n');
  assert.match(
    lines[0]!,
    /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="200" height="126" /,
  );
  assert.equal(lines[1], '<title>A &amp; B</title>');
  assert.deepEqual(lines.slice(5, 9), [
    '<text x="24.4" y="48" textLength="8.4">a</text><text x="41.2" y="48" textLength="25.2" fill="#7bd88f">&lt;b&gt;</text>',
    '<rect x="16" y="55" width="21" height="14" fill="#56d4dd"/>',
    '<rect x="16" y="86.3" width="7.4" height="1.8" fill="#56d4dd"/><rect x="24.4" y="75.8" width="7.4" height="12.3" fill="#56d4dd"/>',
    '<rect x="16" y="92" width="25.2" height="17" rx="3" fill="#d5dae3"/><text x="24.4" y="105" textLength="8.4" fill="#11151c">q</text>',
  ]);
});
