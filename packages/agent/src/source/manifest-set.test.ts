import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ObjectRef, objectLabel, serviceReader } from '@heddle/objects';
import { encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { serviceYaml } from '../../testing/manifests.ts';
import { ManifestSet } from './manifest-set.ts';

const web = serviceYaml('web', '10.96.0.1');
const shop = serviceYaml('shop', '10.96.0.2');

/** A set of files, with the objects after the changes that it has reported. */
class Files {
  readonly set = new ManifestSet(serviceReader);
  readonly records = new Map<string, ObjectRef>();
  readonly invalid = new Map<string, string>();

  write(name: string, ...documents: string[]): string[] {
    this.set.accept(name, this.set.parse(name, encodeUtf8(documents.join('---\n'))));
    return this.#follow();
  }

  remove(name: string): string[] {
    this.set.removeFile(name);
    return this.#follow();
  }

  get problems(): string[] {
    return this.set.problems().map(({ file, line, message }) => `${file}:${line} ${message}`);
  }

  /** Returns the reported changes, as `set Service default/web`. */
  #follow(): string[] {
    return this.set.takeChanges().map((change) => {
      const label = objectLabel(change.op === 'set' ? change.object : change);
      if (change.op === 'invalid') this.invalid.set(label, change.reason);
      else this.invalid.delete(label);
      if (change.op === 'set') this.records.set(label, change.object);
      if (change.op === 'delete') this.records.delete(label);
      return `${change.op} ${label}`;
    });
  }
}

test('a file reports its objects, their changes, and removed ones', () => {
  const files = new Files();
  assert.deepEqual(files.write('a.yaml', web, shop), [
    'set Service default/web',
    'set Service default/shop',
  ]);
  assert.deepEqual(files.write('a.yaml', web, serviceYaml('shop', '10.96.0.3')), [
    'set Service default/shop',
  ]);
  assert.deepEqual(files.write('a.yaml', shop), [
    'delete Service default/web',
    'set Service default/shop',
  ]);
  assert.deepEqual(files.remove('a.yaml'), ['delete Service default/shop']);
});

test('an object that moves to another file is no change', () => {
  const files = new Files();
  files.write('a.yaml', web);
  files.set.accept('b.yaml', files.set.parse('b.yaml', encodeUtf8(web)));
  assert.deepEqual(files.remove('a.yaml'), []);
  assert.equal(files.records.size, 1);
});

test('documents that change positions, or only their comments, are no change', () => {
  const files = new Files();
  files.write('a.yaml', web, shop);
  assert.deepEqual(files.write('a.yaml', shop, `# the web\n${web}`), []);
});

test('an object twice in one file is taken from its first document', () => {
  const files = new Files();
  const other = serviceYaml('web', '10.96.0.9');
  files.write('a.yaml', web, other);
  assert.deepEqual(files.problems, [
    'a.yaml:10 Service default/web is not taken from here: a.yaml:1 has it',
  ]);
  const addresses = () =>
    (files.records.get('Service default/web') as { clusterIPs?: unknown }).clusterIPs;
  assert.deepEqual(addresses(), ['10.96.0.1']);
  files.write('a.yaml', other, web);
  assert.deepEqual(addresses(), ['10.96.0.9']);
  files.write('a.yaml', other, other);
  assert.equal(files.problems.length, 1);
  files.write('a.yaml', other);
  assert.deepEqual(files.problems, []);
});

test('while a document is broken, all objects of its file stay', () => {
  const files = new Files();
  files.write('a.yaml', web, shop);
  assert.deepEqual(files.write('a.yaml', serviceYaml('web', '10.96.0.9'), 'kind: ['), [
    'set Service default/web',
  ]);
  assert.deepEqual(files.write('a.yaml', 'kind: ['), []);
  assert.deepEqual([...files.records.keys()], ['Service default/web', 'Service default/shop']);
  assert.equal(files.set.isSound, false);
  assert.deepEqual(files.write('a.yaml', shop), ['delete Service default/web']);
  assert.equal(files.set.isSound, true);
});

test('an object of a broken file moves to another file that has it', () => {
  const files = new Files();
  files.write('b.yaml', web);
  files.write('b.yaml', 'kind: [');
  assert.deepEqual(files.write('a.yaml', serviceYaml('web', '10.96.0.9')), [
    'set Service default/web',
  ]);
  assert.deepEqual(files.remove('a.yaml'), ['set Service default/web']);
  assert.deepEqual(files.remove('b.yaml'), ['delete Service default/web']);
});

test('an object that becomes invalid is reported once, and reported as valid when it is corrected', () => {
  const files = new Files();
  files.write('a.yaml', web);
  const wrong = serviceYaml('web', 'x');
  assert.deepEqual(files.write('a.yaml', wrong), ['invalid Service default/web']);
  assert.deepEqual(files.write('a.yaml', `# still wrong\n${wrong}`), []);
  assert.equal(files.set.isSound, false);
  assert.deepEqual(files.write('a.yaml', web), ['set Service default/web']);
  assert.deepEqual(files.problems, []);
});

test('an object that never was valid is removed with its file', () => {
  const files = new Files();
  files.write('a.yaml', serviceYaml('web', 'x'));
  assert.deepEqual(files.remove('a.yaml'), ['delete Service default/web']);
  assert.equal(files.invalid.size, 0);
});

test('a file that cannot be read keeps its objects', () => {
  const files = new Files();
  files.write('a.yaml', web);
  files.set.setUnreadable('a.yaml', 'open a.yaml: EACCES');
  assert.deepEqual(files.problems, ['a.yaml:0 open a.yaml: EACCES']);
  assert.deepEqual(files.write('a.yaml', web), []);
  assert.deepEqual(files.problems, []);
});

test('a file is doubtful when it has a new fault or is suddenly empty', () => {
  const files = new Files();
  const isDoubtful = (text: string) =>
    files.set.isDoubtful('a.yaml', files.set.parse('a.yaml', encodeUtf8(text)));
  assert.equal(isDoubtful(''), false);
  files.write('a.yaml', web, 'kind: [\n');
  assert.equal(isDoubtful(''), true);
  assert.equal(isDoubtful(`${shop}---\nkind: [\n`), false, 'that fault is known already');
  assert.equal(isDoubtful('kind: {\n'), true);
  assert.equal(isDoubtful(serviceYaml('web', 'x')), true);
});

test('after any edits the set equals a new one with the final files', () => {
  const document = fc.constantFrom(
    web,
    shop,
    serviceYaml('web', '10.96.0.8'),
    serviceYaml('shop', '10.96.0.9'),
    serviceYaml('web', 'invalid'),
    '# nothing\n',
    'apiVersion: apps/v1\nkind: Deployment\n',
  );
  const edit = fc.record({
    file: fc.constantFrom('a.yaml', 'b.yaml', 'c.yaml'),
    documents: fc.option(fc.array(document, { maxLength: 4 })),
  });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 15, size: 'max' }), (edits) => {
      const files = new Files();
      const content = new Map<string, string[]>();
      for (const { file, documents } of edits) {
        if (documents) {
          files.write(file, ...documents);
          content.set(file, documents);
        } else {
          files.remove(file);
          content.delete(file);
        }
      }
      const fresh = new Files();
      for (const [file, documents] of [...content].reverse()) fresh.write(file, ...documents);
      assert.deepEqual(files.problems, fresh.problems);
      assert.deepEqual([...files.invalid].sort(), [...fresh.invalid].sort());
      // An invalid object may still have a good version from before, which the fresh set never saw.
      for (const label of files.invalid.keys()) files.records.delete(label);
      for (const label of fresh.invalid.keys()) fresh.records.delete(label);
      const sorted = ({ records }: Files) =>
        [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
      assert.deepEqual(sorted(files), sorted(fresh));
    }),
    { numRuns: 100 },
  );
});
