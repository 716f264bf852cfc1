import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { deleteNamespace, NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { namespacePaths } from './namespace-paths.ts';

const platform = nodePlatform();

test('namespacePaths finds mounts in any directory, and processes', () => {
  const folder = mkdtempSync(`${tmpdir()}/heddle namespaces-`);
  const path = `${folder}/pod`;
  try {
    using _ = NetworkNamespace.create(platform, path);
    const paths = [...namespacePaths(platform)];
    assert.ok(paths.includes(path));
    assert.ok(paths.includes(`/proc/${process.pid}/ns/net`));
  } finally {
    deleteNamespace(platform, path);
    rmSync(folder, { recursive: true });
  }
});

test('a process in a PID namespace of its own does not see all processes', () => {
  const program = `
    import { nodePlatform } from ${JSON.stringify(import.meta.resolve('@heddle/sys/node'))};
    import { seesAllProcesses } from ${JSON.stringify(import.meta.resolve('./namespace-paths.ts'))};
    console.log(seesAllProcesses(nodePlatform()));
  `;
  const args = ['--pid', '--fork', '--mount-proc', process.execPath, '--input-type=module', '-e'];
  assert.equal(execFileSync('unshare', [...args, program], { encoding: 'utf8' }), 'false\n');
});
