import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceReader } from '@heddle/objects';
import { encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { serviceYaml, sliceYaml } from '../../testing/manifests.ts';
import { isInvalid, type ManifestFile, parseManifest } from './manifest-parser.ts';

const parse = (text: string, before?: ManifestFile) =>
  parseManifest(serviceReader, encodeUtf8(text), before);

/** Names of the usable objects of a file. */
function names({ documents }: ManifestFile): string[] {
  return documents.flatMap(({ objects }) =>
    objects.flatMap((object) => (isInvalid(object) ? [] : [object.name])),
  );
}

/** Errors of a file's documents, as `line message`. */
function errors({ documents, lines }: ManifestFile): string[] {
  return documents.flatMap(({ error }, i) =>
    error ? [`${lines[i]! + error.line} ${error.message}`] : [],
  );
}

test('YAML with several documents', () => {
  const file = parse(
    `# web\n---\n${serviceYaml('web', '10.96.0.1')}---\n${sliceYaml('web', '10.0.0.1')}`,
  );
  assert.deepEqual(names(file), ['web', 'web-1']);
  assert.equal(file.isBroken, false);
});

test('JSON: an object, or a list of them', () => {
  const web = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { clusterIP: '10.96.0.1' },
  };
  assert.deepEqual(names(parse(JSON.stringify(web, undefined, 2))), ['web']);
  const list = {
    apiVersion: 'v1',
    kind: 'List',
    items: [web, { ...web, metadata: { name: 'b' } }],
  };
  assert.deepEqual(names(parse(JSON.stringify(list))), ['web', 'b']);
});

test('YAML lists, flow style, anchors and merge keys', () => {
  const text = `apiVersion: v1
kind: List
items:
  - &web {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1}}
  - <<: *web
    metadata: {name: shop}
`;
  assert.deepEqual(names(parse(text)), ['web', 'shop']);
});

test('a file of comments or empty documents has no objects and no error', () => {
  for (const text of ['', '\n', '# nothing\n', '---\n---\n# no\n---\n', '---\nnull\n']) {
    const file = parse(text);
    assert.deepEqual(names(file), []);
    assert.deepEqual(errors(file), []);
  }
});

test('a broken document has an error with its line, and the others are read', () => {
  const file = parse(
    `${serviceYaml('web', '10.96.0.1')}---\nkind: Service\n  name: [\n---\n${serviceYaml('shop', '10.96.0.2')}`,
  );
  assert.deepEqual(names(file), ['web', 'shop']);
  assert.equal(file.isBroken, true);
  assert.equal(errors(file).length, 1);
  assert.match(errors(file)[0]!, /^(10|11) not valid YAML: /);
});

test('broken JSON has an error with its line', () => {
  const file = parse('{\n  "kind": "Service",\n  "apiVersion" "v1"\n}\n');
  assert.match(errors(file)[0]!, /^3 not valid YAML: /);
});

test('a tab, a duplicate key, an unknown alias and a bomb of aliases are reported, not thrown', () => {
  assert.match(errors(parse('a:\n\tb: 1\n'))[0]!, /^2 /);
  assert.match(errors(parse('a: 1\na: 2\n'))[0]!, /^2 .*unique/);
  assert.match(errors(parse('a: *b\n'))[0]!, /alias/);
  const bomb = ['a0: &a0 [x, x]'];
  for (let i = 1; i < 30; i++) bomb.push(`a${i}: &a${i} [*a${i - 1}, *a${i - 1}, *a${i - 1}]`);
  assert.match(errors(parse(bomb.join('\n')))[0]!, /alias/i);
});

test('endless nesting is an error of its document', () => {
  const indented = Array.from({ length: 500 }, (_, i) => `${' '.repeat(i)}a:`).join('\n');
  const deep = [
    '['.repeat(100_000),
    `{"a":`.repeat(1000),
    '- '.repeat(100_000),
    '? '.repeat(1000),
    indented,
  ];
  for (const text of deep) {
    const file = parse(`${text}\n---\n${serviceYaml('web', '10.96.0.1')}`);
    assert.match(errors(file).join(), /^\d+ document is nested too deeply$/);
    assert.deepEqual(names(file), ['web']);
  }
});

test('an object without a name is an error of its document', () => {
  const file = parse('---\n# the shop\napiVersion: v1\nkind: Service\nspec: {}\n');
  assert.deepEqual(errors(file), ['3 Service without a name: metadata is missing: must be given']);
});

test('an object that is not valid keeps its name, and the file is not broken', () => {
  const file = parse(serviceYaml('web', 'x'));
  const [object] = file.documents[0]!.objects;
  assert.ok(object && isInvalid(object) && object.ref.name === 'web');
  assert.equal(file.isBroken, false);
});

test('objects of other kinds are noted', () => {
  const file = parse('apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n');
  assert.match(file.documents[0]!.notes[0]!, /^Deployment web/);
});

test('only documents whose text changed are parsed again, at any position', () => {
  const documents = [1, 2, 3].map((i) => serviceYaml(`s${i}`, `10.96.0.${i}`));
  const before = parse(documents.join('---\n'));
  const changed = [documents[2], serviceYaml('s1', '10.96.0.9'), documents[1]];
  const after = parse(`---\n${changed.join('---\n')}`, before);
  assert.deepEqual(names(after), ['s3', 's1', 's2']);
  assert.equal(after.documents[0], before.documents[2]);
  assert.equal(after.documents[2], before.documents[1]);
});

test('parsing any bytes returns a file, the same with and without an earlier version', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '---\n',
      '...\n',
      '- ',
      'a: ',
      '&a ',
      '*a ',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '\n  ',
      '|\n',
      '!!binary ',
      '%TAG ! x\n',
      '? ',
      '\t',
      '\u0000',
      'items: ',
      serviceYaml('web', '10.96.0.1'),
      sliceYaml('web', '10.244.0.1'),
      'apiVersion: v1\nkind: List\n',
    ),
    fc.string({ maxLength: 8 }),
  );
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => encodeUtf8(pieces.join('')));
  const bytes = fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: fc.uint8Array() });
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      const before = parseManifest(serviceReader, first);
      assert.deepEqual(
        parseManifest(serviceReader, second, before),
        parseManifest(serviceReader, second),
      );
    }),
    { numRuns: 300 },
  );
});

test('a good manifest cut short or with a byte changed never throws', () => {
  const good = encodeUtf8(
    `${serviceYaml('web', '10.96.0.1')}---\n${sliceYaml('web', '10.244.0.1')}`,
  );
  fc.assert(
    fc.property(fc.nat(good.length), fc.nat(good.length - 1), fc.nat(255), (cut, at, byte) => {
      parseManifest(serviceReader, good.subarray(0, cut));
      const changed = good.slice();
      changed[at] = byte;
      parseManifest(serviceReader, changed);
    }),
    { numRuns: 300 },
  );
});
