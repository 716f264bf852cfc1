import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { prepareBpffs } from './bpffs.ts';

const platform = nodePlatform(() => {});
let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-bpffs-'));
});
after(() => rmSync(folder, { recursive: true }));

describe('where there is no bpf file system', () => {
  const isMounted = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(folder);

  test('a pod says what to do on the node, and mounts none', () => {
    assert.throws(() => prepareBpffs(platform, folder, { inPod: true }), {
      name: 'ConfigError',
      message: `use bpffs ${folder}: no bpf file system is mounted there, and one that a pod mounts ends with it (mount one on the node, e.g. mount -t bpf bpf /sys/fs/bpf)`,
    });
    assert.equal(isMounted(), false);
  });

  test('none is mounted over files', () => {
    writeFileSync(join(folder, 'file'), '');
    assert.throws(() => prepareBpffs(platform, folder, { inPod: false }), /is not empty/);
    assert.equal(isMounted(), false);
  });
});
