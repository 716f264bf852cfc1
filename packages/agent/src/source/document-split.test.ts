import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { splitDocuments } from './document-split.ts';

/** Returns the documents of a text, as `line: text`. */
function documents(text: string): string[] {
  const bytes = encodeUtf8(text);
  return splitDocuments(bytes).map(
    ({ start, end, line }) => `${line}: ${decodeUtf8(bytes.subarray(start, end))}`,
  );
}

test('documents begin at their markers', () => {
  assert.deepEqual(documents('a: 1\n---\nb: 2\n--- # comment\nc: 3'), [
    '1: a: 1\n',
    '2: ---\nb: 2\n',
    '4: --- # comment\nc: 3',
  ]);
});

test('comments and directives before the first marker belong to its document', () => {
  assert.deepEqual(documents('# all of shop\n\n%YAML 1.2\n---\na: 1\n'), [
    '1: # all of shop\n\n%YAML 1.2\n---\na: 1\n',
  ]);
});

test('a document ends at its end marker; what follows is another', () => {
  assert.deepEqual(documents('a: 1\n...\n# between\n---\nb: 2\n...\n'), [
    '1: a: 1\n',
    '3: # between\n---\nb: 2\n',
  ]);
});

test('a line that only resembles a marker is none', () => {
  const text = 'a: |\n  ---\nb: ---\n---- : 1\n--: 2\n';
  assert.deepEqual(documents(text), [`1: ${text}`]);
});

test('files with other line ends, a byte order mark, or no end of line', () => {
  assert.deepEqual(documents('a: 1\r\n---\r\nb: 2\r\n'), ['1: a: 1\r\n', '2: ---\r\nb: 2\r\n']);
  assert.deepEqual(documents('\ufeffa: 1\n---'), ['1: a: 1\n', '2: ---']);
  assert.deepEqual(documents(''), []);
  assert.deepEqual(documents('# nothing\n\n'), []);
});

test('equal documents have equal hashes, different ones have different hashes', () => {
  const hashes = (text: string) => splitDocuments(encodeUtf8(text)).map(({ hash }) => hash);
  const [a, b, c] = hashes('---\na: 1\n---\na: 2\n---\na: 1\n');
  assert.equal(a, c);
  assert.notEqual(a, b);
  const many = Array.from({ length: 20_000 }, (_, i) => `---\nname: svc-${i}\n`).join('');
  assert.equal(new Set(hashes(many)).size, 20_000);
});

test('only end markers, comments and blank lines are dropped', () => {
  const line = fc.constantFrom('---', '...', '--- x', 'a: 1', '  b', '# c', '', '%d', '\t', '-');
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.constantFrom('\n', '\r\n'), (lines, eol) => {
      const bytes = encodeUtf8(lines.join(eol));
      let end = 0;
      for (const span of splitDocuments(bytes)) {
        const skipped = decodeUtf8(bytes.subarray(end, span.start)).split('\n');
        for (const each of skipped) assert.match(each, /^\s*(#.*|%.*|\.\.\.\s*)?\s*$/);
        assert.ok(span.start < span.end && span.start >= end);
        const before = decodeUtf8(bytes.subarray(0, span.start)).split('\n').length;
        assert.equal(span.line, before);
        end = span.end;
      }
    }),
    { numRuns: 500 },
  );
});
