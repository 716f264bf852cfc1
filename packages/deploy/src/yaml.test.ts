import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { ChartValue, decided, goJson, inline, OnlyIf, writeYaml, type Yaml } from './yaml.ts';

test('YAML with any text is read back unchanged', () => {
  const { tree } = fc.letrec<{ tree: Yaml }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('no', 'Null', '1e3', '0x10', '~', '- a', '#', 'a\nb\n', '\n', 'a: b\n', '.5'),
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(
        fc.string().filter((name) => name !== '__proto__'),
        tie('tree'),
        { maxKeys: 4 },
      ),
    ),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const written = writeYaml({ value });
      assert.deepEqual(parse(written), { value: JSON.parse(JSON.stringify(value)) }, written);
    }),
  );
});

test('a document is written in block style', () => {
  const object = {
    kind: 'ConfigMap',
    data: { 'a.yaml': 'x: 1\ny: "2"\n', empty: {}, none: [], skipped: undefined },
    list: ['a', { b: 1, c: [true, '10%'] }],
  };
  assert.equal(
    writeYaml(object),
    `kind: ConfigMap
data:
  a.yaml: |
    x: 1
    y: "2"
  empty: {}
  none: []
list:
  - a
  - b: 1
    c:
      - true
      - "10%"
`,
  );
});

test('goJson sorts names and escapes HTML characters as Go does', () => {
  assert.equal(
    goJson({ b: [1, { d: '<&>', c: null }], a: '\u2028' }),
    '{"a":"\\u2028","b":[1,{"c":null,"d":"\\u003c\\u0026\\u003e"}]}',
  );
});

test('a Helm expression is written in place of a value', () => {
  assert.equal(writeYaml({ a: new ChartValue('.Values.a') }), 'a: {{ .Values.a | toJson }}\n');
  assert.equal(inline(new ChartValue('.Values.a')), '{{ .Values.a | toJson }}');
  assert.equal(inline([1, 'b']), '[1,"b"]');
});

test('items of a list with a condition are there, or not, or Helm decides', () => {
  const list = (condition: Yaml) =>
    writeYaml(decided({ list: ['a', new OnlyIf(condition, [{ b: 1, c: 2 }, 'd'])], e: 'f' }));
  assert.equal(list(true), 'list:\n  - a\n  - b: 1\n    c: 2\n  - d\ne: f\n');
  assert.equal(list(false), 'list:\n  - a\ne: f\n');
  assert.equal(
    list(new ChartValue('.Values.x')),
    'list:\n  - a\n{{- if .Values.x }}\n  - b: 1\n    c: 2\n  - d\n{{- end }}\ne: f\n',
  );
});
