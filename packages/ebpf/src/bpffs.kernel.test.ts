import assert from 'node:assert/strict';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathExists, removeFile, SysError } from '@heddle/sys';
import { bpf, platform } from '../testing/kernel.ts';
import { mapSpec } from '../testing/map-spec.ts';
import { isBpffs, mountBpffs, unmountBpffs } from './bpffs.ts';
import { BpfMap } from './map.ts';

test('mountBpffs mounts a bpf file system once, and keeps one that exists', () => {
  const parent = mkdtempSync(join(tmpdir(), 'heddle-bpffs-'));
  const path = join(parent, 'bpf');
  try {
    assert.equal(isBpffs(platform, path), false);
    assert.equal(isBpffs(platform, parent), false);
    mountBpffs(platform, path);
    try {
      assert.equal(isBpffs(platform, path), true);
      using map = BpfMap.create(bpf, mapSpec({}));
      map.pin(`${path}/map`);
      mountBpffs(platform, path);
      assert.equal(pathExists(platform, `${path}/map`), true);
      removeFile(platform, `${path}/map`);
    } finally {
      unmountBpffs(platform, path);
    }
    assert.equal(isBpffs(platform, path), false);
    assert.throws(() => unmountBpffs(platform, path), SysError);
    rmdirSync(path);
  } finally {
    rmdirSync(parent);
  }
});
