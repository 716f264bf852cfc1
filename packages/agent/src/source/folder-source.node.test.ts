import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { serviceYaml, sliceYaml } from '../../testing/manifests.ts';
import { WatchedFolder } from '../../testing/watched-folder.ts';

const web = serviceYaml('web', '10.96.0.1');
const shop = serviceYaml('shop', '10.96.0.2');

test('the first batch is the whole folder, and complete', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', `${web}---\n${sliceYaml('web', '10.244.0.1')}`);
  folder.write('shop.yml', shop);
  folder.write('README.md', 'no manifest');
  folder.open();
  await folder.until(() => folder.complete);
  assert.equal(folder.batches.length, 1);
  assert.deepEqual(folder.labels, [
    'EndpointSlice default/web-1',
    'Service default/shop',
    'Service default/web',
  ]);
});

test('an empty folder is complete too', async () => {
  using folder = new WatchedFolder();
  folder.open();
  await folder.until(() => folder.complete);
  assert.deepEqual(folder.labels, []);
});

test('files that are written, changed and removed are followed', async () => {
  using folder = new WatchedFolder();
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('web.yaml', web);
  await folder.until(() => folder.clusterIP('web') === '10.96.0.1');
  folder.write('web.yaml', serviceYaml('web', '10.96.0.9'));
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
  folder.remove('web.yaml');
  await folder.until(() => folder.labels.length === 0);
});

test('each of many changes of a file is reported', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  for (let i = 2; i < 40; i++) {
    folder.write('web.yaml', serviceYaml('web', `10.96.0.${i}`));
    await folder.until(() => folder.clusterIP('web') === `10.96.0.${i}`);
  }
});

test('a file that is written again with the same content is no change', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('web.yaml', web);
  folder.write('web.yaml', `# a comment\n${web}`);
  await folder.quiet();
  assert.equal(folder.batches.length, 1);
});

test('an editor that writes a new file and renames it into place', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('.web.yaml.swp', 'swap');
  folder.write('web.yaml.tmp123', serviceYaml('web', '10.96.0.9'));
  folder.rename('web.yaml.tmp123', 'web.yaml');
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
  assert.deepEqual(folder.problems, []);
});

test('an editor that first moves the old file out of the way (vim with backup)', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('4913', '');
  folder.remove('4913');
  folder.rename('web.yaml', 'web.yaml~');
  folder.write('web.yaml', serviceYaml('web', '10.96.0.9'));
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
  await folder.quiet();
  assert.ok(folder.batches.every(({ changes }) => changes.every(({ op }) => op === 'set')));
});

test('a file that is renamed keeps its objects without a gap', async () => {
  using folder = new WatchedFolder();
  folder.write('b.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.rename('b.yaml', 'a.yaml');
  folder.rename('a.yaml', 'c.yaml');
  await folder.quiet();
  assert.equal(folder.batches.length, 1);
  folder.remove('c.yaml');
  await folder.until(() => folder.labels.length === 0);
});

test('a file that is renamed while its object cannot be used keeps the last good version', async () => {
  using folder = new WatchedFolder();
  folder.write('b.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('b.yaml', web.replace('port: 80', 'port: 99999'));
  await folder.until(() => folder.invalid.size === 1);
  folder.rename('b.yaml', 'a.yaml');
  await folder.quiet();
  assert.deepEqual(folder.labels, ['Service default/web']);
  assert.ok(folder.batches.every(({ changes }) => changes.every(({ op }) => op !== 'delete')));
});

test('a half-written file changes nothing until it is whole', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', `${web}---\n${shop}`);
  folder.open();
  await folder.until(() => folder.complete);
  const whole = `${serviceYaml('web', '10.96.0.9')}---\n${shop}`;
  // Several programs write in turns: each closes the file at a place where it doesn't parse.
  folder.write('web.yaml', whole.slice(0, 60));
  await new Promise((resolve) => setTimeout(resolve, 20));
  folder.write('web.yaml', '');
  await new Promise((resolve) => setTimeout(resolve, 100));
  folder.write('web.yaml', `${whole}  - "`);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(folder.batches.length, 1);
  folder.write('web.yaml', whole);
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
  assert.deepEqual(folder.labels, ['Service default/shop', 'Service default/web']);
  assert.deepEqual(folder.problems, []);
});

test('a file that is still being written is not read before it is closed', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', `${web}---\n${shop}`);
  folder.open();
  await folder.until(() => folder.complete);
  const fd = openSync(folder.file('web.yaml'), 'w');
  writeSync(fd, web);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(folder.labels, ['Service default/shop', 'Service default/web']);
  writeSync(fd, `---\n${serviceYaml('shop', '10.96.0.7')}`);
  closeSync(fd);
  await folder.until(() => folder.clusterIP('shop') === '10.96.0.7');
  assert.equal(folder.batches.length, 2);
});

test('a file that stays broken is reported by line, and its objects stay', async () => {
  using folder = new WatchedFolder();
  folder.write('all.yaml', `${web}---\n${shop}`);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('all.yaml', `${serviceYaml('web', '10.96.0.9')}---\nkind: [Service\nname: shop\n`);
  await folder.until(() => folder.problems.length > 0, 'the problem');
  assert.match(folder.problems[0]!, /^all\.yaml:(11|12) not valid YAML/);
  assert.equal(folder.clusterIP('web'), '10.96.0.9', 'the other document goes on');
  assert.equal(folder.clusterIP('shop'), '10.96.0.2', 'the last good version stays');

  folder.write('all.yaml', serviceYaml('web', '10.96.0.9'));
  await folder.until(() => folder.problems.length === 0);
  assert.deepEqual(folder.labels, ['Service default/web']);
});

test('a folder with a broken manifest is not complete until the manifest is corrected', async () => {
  using folder = new WatchedFolder();
  folder.write('shop.yaml', shop);
  folder.write('web.yaml', 'kind: [');
  folder.open();
  await folder.until(() => folder.problems.length === 1, 'the problem');
  assert.deepEqual(folder.labels, ['Service default/shop']);
  assert.equal(folder.complete, false);
  folder.write('web.yaml', web);
  await folder.until(() => folder.complete);
});

test('an object that is not valid is named, and its last good version stays', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  folder.write('web.yaml', serviceYaml('web', 'ten.nine'));
  await folder.until(() => folder.invalid.has('Service default/web'));
  assert.equal(folder.clusterIP('web'), '10.96.0.1');
  assert.deepEqual(folder.problems, [
    'web.yaml:1 Service default/web: spec.clusterIP[0] is "ten.nine": must be an IP address',
  ]);
  folder.write('web.yaml', web);
  await folder.until(() => folder.invalid.size === 0);
});

test('an object in two files is taken from the first by name', async () => {
  using folder = new WatchedFolder();
  folder.write('b.yaml', web);
  folder.write('c.yaml', serviceYaml('web', '10.96.0.3'));
  folder.open();
  await folder.until(() => folder.complete);
  assert.equal(folder.clusterIP('web'), '10.96.0.1');
  assert.deepEqual(folder.problems, [
    'c.yaml:1 Service default/web is not taken from here: b.yaml:1 has it',
  ]);
  folder.write('a.yaml', serviceYaml('web', '10.96.0.4'));
  await folder.until(() => folder.clusterIP('web') === '10.96.0.4');
  folder.remove('a.yaml');
  folder.remove('b.yaml');
  await folder.until(() => folder.clusterIP('web') === '10.96.0.3');
  assert.deepEqual(folder.problems, []);
});

test('the objects of a deleted folder stay, and it is read again when it is back', async () => {
  using folder = new WatchedFolder();
  for (let i = 0; i < 50; i++) folder.write(`s${i}.yaml`, serviceYaml(`s${i}`, `10.96.1.${i + 1}`));
  folder.open();
  await folder.until(() => folder.complete);
  rmSync(folder.path, { recursive: true });
  await folder.until(() => folder.problems.length > 0, 'the problem');
  await folder.quiet();
  assert.equal(folder.labels.length, 50);
  assert.match(
    folder.problems[0]!,
    /\/manifests: no such file or directory \(ENOENT\); what is programmed stays/,
  );

  mkdirSync(folder.path);
  await folder.quiet(400);
  assert.equal(folder.labels.length, 50, 'an empty folder is not believed');
  assert.match(folder.problems[0]!, /came empty/);
  folder.write('s0.yaml', serviceYaml('s0', '10.96.2.1'));
  await folder.until(() => folder.clusterIP('s0') === '10.96.2.1');
  assert.equal(folder.labels.length, 50, 'the others may still come');
  await folder.until(() => folder.labels.length === 1, 'what did not return to be removed');
  assert.deepEqual(folder.problems, []);
});

test('a folder that is moved away and replaced by another', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  renameSync(folder.path, `${folder.path}.old`);
  mkdirSync(`${folder.path}.new`);
  writeFileSync(`${folder.path}.new/web.yaml`, serviceYaml('web', '10.96.0.9'));
  await folder.quiet();
  assert.equal(folder.clusterIP('web'), '10.96.0.1');
  renameSync(`${folder.path}.new`, folder.path);
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
  // The old folder isn't looked at any more.
  writeFileSync(`${folder.path}.old/web.yaml`, shop);
  await folder.quiet();
  assert.deepEqual(folder.labels, ['Service default/web']);
});

test('the source waits for a folder that does not exist yet', async () => {
  using folder = new WatchedFolder();
  rmSync(folder.path, { recursive: true });
  folder.open();
  await folder.until(() => folder.problems.length === 1, 'the problem');
  assert.equal(folder.complete, false);
  mkdirSync(folder.path);
  await folder.until(() => folder.problems[0]!.includes('came empty'));
  await folder.quiet();
  assert.equal(folder.complete, false, 'an empty folder is not believed');
  folder.write('web.yaml', web);
  await folder.until(() => folder.clusterIP('web') === '10.96.0.1');
  const first = folder.batches.find(({ changes }) => changes.length > 0);
  assert.equal(first!.complete, false, 'others may still come');
  folder.write('shop.yaml', shop);
  await folder.until(() => folder.complete);
  assert.equal(folder.labels.length, 2);
  assert.deepEqual(folder.problems, []);
});

test('a mounted ConfigMap is replaced as a whole', async () => {
  using folder = new WatchedFolder();
  const version = (name: string, clusterIP: string) => {
    mkdirSync(folder.file(name));
    writeFileSync(folder.file(`${name}/web.yaml`), serviceYaml('web', clusterIP));
  };
  version('..2026_01', '10.96.0.1');
  folder.link('..2026_01', '..data');
  folder.link('..data/web.yaml', 'web.yaml');
  folder.open();
  await folder.until(() => folder.complete);
  assert.equal(folder.clusterIP('web'), '10.96.0.1');

  version('..2026_02', '10.96.0.2');
  folder.link('..2026_02', '..data_tmp');
  folder.rename('..data_tmp', '..data');
  rmSync(folder.file('..2026_01'), { recursive: true });
  await folder.until(() => folder.clusterIP('web') === '10.96.0.2');
  assert.ok(folder.batches.every(({ changes }) => changes.every(({ op }) => op === 'set')));
});

test('a folder that is a symbolic link is followed when the link is switched', async () => {
  using folder = new WatchedFolder();
  for (const [name, clusterIP] of [
    ['one', '10.96.0.1'],
    ['two', '10.96.0.2'],
  ] as const) {
    mkdirSync(folder.file(name));
    writeFileSync(folder.file(`${name}/web.yaml`), serviceYaml('web', clusterIP));
  }
  folder.link('one', 'current');
  folder.open(folder.file('current/'));
  await folder.until(() => folder.clusterIP('web') === '10.96.0.1');
  folder.link('two', 'next');
  folder.rename('next', 'current');
  await folder.until(() => folder.clusterIP('web') === '10.96.0.2');
});

test('links into the folder count as soon as they are made', async () => {
  using folder = new WatchedFolder();
  mkdirSync(folder.file('store'));
  writeFileSync(folder.file('store/web.yaml'), web);
  writeFileSync(folder.file('store/shop.yaml'), shop);
  folder.open();
  await folder.until(() => folder.complete);
  symlinkSync('store/web.yaml', folder.file('web.yaml'));
  linkSync(folder.file('store/shop.yaml'), folder.file('shop.yaml'));
  await folder.until(() => folder.labels.length === 2);
});

test('more events than the kernel keeps lead to reading everything again', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  // 16,384 events fit into the queue; none is taken while this loop runs.
  for (let i = 0; i < 9000; i++) {
    closeSync(openSync(folder.file(`x${i % 10}.tmp`), 'w'));
    rmSync(folder.file(`x${i % 10}.tmp`));
  }
  folder.write('web.yaml', serviceYaml('web', '10.96.0.9'));
  folder.write('shop.yaml', shop);
  await folder.until(() => folder.clusterIP('web') === '10.96.0.9' && folder.labels.length === 2);
});

test('a device, a FIFO, a socket and a file without end are reported, and the rest is read', async () => {
  using folder = new WatchedFolder();
  folder.write('web.yaml', web);
  folder.write('shop.yaml', shop);
  folder.open();
  await folder.until(() => folder.complete);
  execFileSync('mkfifo', [folder.file('fifo')]);
  const server = createServer().listen(folder.file('socket'));
  await once(server, 'listening');
  try {
    folder.write('endless', '');
    truncateSync(folder.file('endless'), 2 ** 40);
    for (const [name, target] of [
      ['shop.yaml', '/dev/zero'],
      ['fifo.yaml', 'fifo'],
      ['socket.yaml', 'socket'],
      ['endless.yaml', 'endless'],
      // The kernel says that this file has no bytes.
      ['mounts.yaml', '/proc/self/mountinfo'],
    ] as const) {
      symlinkSync(target, folder.file(`${name}.new`));
      folder.rename(`${name}.new`, name);
    }
    folder.write('web.yaml', serviceYaml('web', '10.96.0.9'));
    await folder.until(() => folder.clusterIP('web') === '10.96.0.9');
    await folder.until(() => folder.problems.length >= 5);
    const problem = (name: string) =>
      folder.problems.find((each) => each.includes(`/${name}:`) || each.startsWith(name)) ?? '';
    assert.match(problem('shop.yaml'), /it is a device and not a regular file \(remove it/);
    assert.match(problem('fifo.yaml'), /it is a FIFO/);
    assert.match(problem('socket.yaml'), /it is a socket/);
    assert.match(
      problem('endless.yaml'),
      /it is larger than 16 MiB \(divide it into several files\)/,
    );
    assert.match(problem('mounts.yaml'), /must be a Kubernetes object/);
    assert.equal(folder.clusterIP('shop'), '10.96.0.2', 'what the file had stays');
    folder.remove('shop.yaml');
    folder.write('shop.yaml', serviceYaml('shop', '10.96.0.3'));
    await folder.until(() => folder.clusterIP('shop') === '10.96.0.3');
  } finally {
    server.close();
  }
});

test('5,000 documents of one name and 20,000 keys do not hold up the other files', async () => {
  using folder = new WatchedFolder();
  folder.write('a-documents.yaml', Array(5000).fill(`---\n${shop}`).join(''));
  folder.write('b-keys.yaml', Array.from({ length: 20_000 }, (_, i) => `k${i}: v\n`).join(''));
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.clusterIP('web') !== undefined);
  assert.equal(folder.clusterIP('shop'), '10.96.0.2');
  assert.equal(folder.problems.length, 101);
  assert.match(
    folder.problems.at(-1)!,
    /there are 4\d\d\d more problems \(heddle validate shows all\)/,
  );
});

test('pipes and folders with the name of a manifest are skipped', async () => {
  using folder = new WatchedFolder();
  mkdirSync(folder.file('folder.yaml'));
  symlinkSync('/dev/null', folder.file('null.yaml'));
  symlinkSync('nowhere', folder.file('dangling.yaml'));
  folder.write('web.yaml', web);
  folder.open();
  await folder.until(() => folder.complete);
  assert.deepEqual(folder.labels, ['Service default/web']);
});

test('no descriptor is left once the source is disposed', async () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  {
    using folder = new WatchedFolder();
    folder.open();
    await folder.until(() => folder.complete);
  }
  const before = descriptors();
  for (let i = 0; i < 5; i++) {
    using folder = new WatchedFolder();
    folder.write('web.yaml', web);
    folder.open();
    await folder.until(() => folder.complete);
    folder.write('web.yaml', shop);
    await folder.until(() => folder.clusterIP('shop') !== undefined);
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(descriptors(), before);
});
