import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { parseYaml, YamlError } from './yaml.ts';

test('parseYaml reads YAML and JSON', () => {
  assert.deepEqual(parseYaml('a: [1, "x", null]\nb: {c: true}\n'), {
    a: [1, 'x', null],
    b: { c: true },
  });
  assert.deepEqual(parseYaml(' {"a": [1, "é"]}\n'), { a: [1, 'é'] });
  assert.equal(parseYaml('# nothing\n'), null);
  const merged = 'base: &base {x: 1}\nmore:\n  <<: *base\n  y: 2\n';
  assert.deepEqual(parseYaml(merged, { merge: true }), { base: { x: 1 }, more: { x: 1, y: 2 } });
});

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join('');

for (const [what, text, message, line, code] of [
  ['a mistake', 'a: 1\nb: [\n', /^not valid YAML: /, 2, undefined],
  ['a key that is there twice', 'a: 1\nb: 2\na: 3\n', /keys must be unique/, 2, 'DUPLICATE_KEY'],
  ['such a key further in', 'x:\n  - {b: 1, b: 2}\n', /keys must be unique/, 1, 'DUPLICATE_KEY'],
  ['brackets without end', '['.repeat(10_000), /nested too deeply/, 0, 'TOO_DEEP'],
  ['aliases without end', lines(1001, () => '- &a x\n'), /anchors and aliases/, 1000, undefined],
  [
    'aliases that multiply',
    `a: &a [x,x,x,x,x,x,x,x]\n${lines(9, (i) => {
      const [own, before] = ['abcdefghij'[i + 1]!, 'abcdefghij'[i]!];
      return `${own}: &${own} [${Array(8).fill(`*${before}`).join()}]\n`;
    })}`,
    /can't be read: Excessive alias count/,
    0,
    'BAD_ALIAS',
  ],
  ['a document of 5 MiB', lines(5 << 17, () => '- x123\n'), /longer than 4 MiB/, 0, 'TOO_LONG'],
] as const) {
  test(`parseYaml refuses ${what} with the place and the reason`, () => {
    assert.throws(
      () => parseYaml(text),
      (error) => {
        assert.ok(error instanceof YamlError, String(error));
        assert.match(error.message, message);
        assert.equal(error.line, line);
        if (code !== undefined) assert.equal(error.code, code);
        return true;
      },
    );
  });
}

test('parseYaml returns the value of the parser or throws YamlError, for any text', () => {
  const token = fc.constantFrom(
    ...['a', 'b', ': ', '\n', '  ', '- ', '[', ']', '{', '}', ', ', '&a ', '*a', '"', "'", '|\n'],
    ...['# c\n', '? ', '1', '<<: ', '!x ', '\t', '>\n', 'null', '---\n'],
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 25 }), (tokens) => {
      const text = tokens.join('');
      let value: unknown;
      try {
        value = parseYaml(text);
      } catch (error) {
        assert.ok(error instanceof YamlError, `${text}: ${error}`);
        return;
      }
      assert.deepEqual(value, parse(text, { logLevel: 'silent' }));
    }),
    { numRuns: 2000 },
  );
});
