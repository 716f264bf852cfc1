import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NotSupported, SysError } from '@heddle/sys';
import { bpf, platform, withoutLeak, wrapped } from '../testing/kernel.ts';
import type { Bpf } from './bpf.ts';
import { attachSince, batchSince, linkSince, mapSince, programSince } from './feature-tables.ts';
import { kernelBtf } from './kernel-btf.ts';
import { LinuxBpf } from './linux-bpf.ts';
import { type Feature, featureSince, features } from './probes.ts';

const release = kernelRelease();

/** Features that a kernel may be built without, whatever its version. */
const optional: ReadonlySet<string> = new Set([
  'link/netkit',
  'program/kprobe',
  'program/perf_event',
  'program/lsm',
  'program/netfilter',
  'map/xskmap',
  'map/inode_storage',
]);

function every(): Feature[] {
  const list = (kind: string, table: object) =>
    Object.keys(table).map((name) => `${kind}/${name}` as Feature);
  return [
    ...list('map', mapSince),
    ...list('program', programSince),
    ...list('attach', attachSince),
    ...list('link', linkSince),
    ...list('batch', batchSince),
    'helper/cgroup_sock_addr/get_netns_cookie',
    'helper/cgroup_sock_addr/set_retval',
    'helper/sched_cls/redirect_peer',
    'helper/sched_cls/redirect_neigh',
    'helper/sched_cls/fib_lookup',
    'helper/xdp/fib_lookup',
  ];
}

test('all features of the version of the kernel are found', () => {
  withoutLeak(() => {
    for (const feature of every()) {
      if (optional.has(feature)) continue;
      const promised = !isOlder(release, featureSince(feature));
      assert.equal(features(bpf).has(feature), promised, feature);
    }
  });
});

test('a helper is found for its types of programs only', () => {
  assert.equal(features(bpf).has('helper/xdp/redirect_peer'), false);
  assert.equal(features(bpf).has('helper/xdp/sk_storage_get'), false);
});

test('NotSupported has the version that has the feature', () => {
  const stranger = without('link/tcx');
  assert.throws(
    () => features(stranger).require('link/tcx'),
    (error) => error instanceof NotSupported && error.since === '6.6',
  );
});

test('a probe without permission throws EPERM', () => {
  assert.throws(
    () => features(forbiddenBpf()).has('map/hash'),
    (error) => error instanceof SysError && error.code === 'EPERM',
  );
  assert.throws(
    () => features(forbiddenBpf()).has('program/xdp'),
    (error) => error instanceof SysError && error.code === 'EPERM',
  );
});

test('each feature is probed once', () => {
  const counting = new LinuxBpf(platform);
  let created = 0;
  const port: Bpf = wrapped(counting, 'mapCreate', (...args) => {
    created++;
    return counting.mapCreate(...args);
  });
  assert.equal(features(port).has('map/hash'), true);
  assert.equal(features(port).has('map/hash'), true);
  assert.equal(created, 1);
});

test('kernel functions are found by name', () => {
  withoutLeak(() => {
    const has = (name: string) => features(bpf).has(`kfunc/${name}`);
    assert.equal(has('bpf_sock_destroy'), !isOlder(release, '6.5'));
    for (const name of [
      'vfs_read',
      'bpf_prog_load',
      'tcp_v4_connect',
      'x',
      `x${'y'.repeat(100)}`,
    ]) {
      assert.equal(has(name), kernelBtf(platform).byName(name, 'func') !== undefined, name);
    }
  });
});

/** Returns a port whose links don't exist. */
function without(_feature: string): Bpf {
  return wrapped(new LinuxBpf(platform), 'linkCreate', () => {
    throw new SysError('bpf', 22);
  });
}

/** Returns a BPF interface whose calls fail with EPERM. */
function forbiddenBpf(): Bpf {
  const inner = new LinuxBpf(platform);
  const refuse = () => {
    throw new SysError('bpf', 1);
  };
  return wrapped(wrapped(inner, 'mapCreate', refuse), 'programLoad', refuse);
}

function kernelRelease(): string {
  const bytes = new Uint8Array(390);
  platform.syscall(platform.arch === 'x64' ? 63 : 160, bytes);
  return String.fromCharCode(...bytes.subarray(130, 195)).replace(/[^0-9.].*/s, '');
}

function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = than.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
