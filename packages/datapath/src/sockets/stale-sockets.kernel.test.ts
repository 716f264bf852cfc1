import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { features, kernelBtf, LinuxBpf, type ProgramLoadOptions } from '@heddle/ebpf';
import type { LabPod } from '@heddle/lab';
import { deleteNamespace, NetworkNamespace } from '@heddle/netlink';
import { errno, SysError } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { row } from '../../testing/rows.ts';
import { at, codeOf } from '../../testing/sockets/sockets.ts';
import { World } from '../../testing/world.ts';
import { findNamespaces } from './stale-sockets.ts';

/** A kernel before 6.5, as far as can be found out: a program that runs looks for the function. */
class OlderKernel extends LinuxBpf {
  override programTestRun() {
    return { returnValue: 0, data: new Uint8Array(), context: new Uint8Array(), durationNs: 0 };
  }
}

const platform = nodePlatform(() => {});
const storageIterator = kernelBtf(platform).byName('bpf_iter_bpf_sk_storage_map', 'func')?.id;

/** A kernel that refuses the iterator over socket storage, as hardened kernels do. */
class HardenedKernel extends LinuxBpf {
  override programLoad(options: ProgramLoadOptions): number {
    if (options.attachBtfId !== storageIterator) return super.programLoad(options);
    throw new SysError('bpf', errno.EPERM, `load program ${options.name}`);
  }
}

const current = new LinuxBpf(platform);
const older = new OlderKernel(platform);
const hardened = new HardenedKernel(platform);
const lacksDestroy =
  !features(current).has('kfunc/bpf_sock_destroy') &&
  'the kernel has no bpf_sock_destroy (Linux 6.5)';
const lacksFinder =
  !features(current).has('iter/bpf_sk_storage_map') &&
  'the kernel refuses iterators over socket storage';

describe(
  'sockets whose backend is gone, destroyed by the kernel’s program',
  { skip: lacksDestroy || lacksFinder },
  () => destroyingTests(current, []),
);

describe('sockets of removed backends, destroyed through sock_diag', {
  skip: lacksFinder,
}, () => {
  destroyingTests(older, ['kfunc/bpf_sock_destroy']);
});

describe(
  'sockets whose backend is gone, on a kernel that refuses the iterator over socket storage',
  { skip: lacksDestroy },
  () => destroyingTests(hardened, ['iter/bpf_sk_storage_map']),
);

test('network namespaces are found by their mounts and by their processes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-namespaces-'));
  const mounted = join(folder, 'mounted');
  using first = NetworkNamespace.create(platform, mounted);
  using second = NetworkNamespace.create(platform);
  const [own, other] = [Number(first.inode), Number(second.inode)];
  const sleeper = second.enter(() => spawn('/bin/sleep', ['600'], { stdio: 'ignore' }));
  try {
    const found = findNamespaces(platform, new Set([own, other, 1]));
    assert.deepEqual(
      found,
      new Map([
        [own, [mounted]],
        [other, [`/proc/${sleeper.pid}/ns/net`]],
      ]),
    );
  } finally {
    sleeper.kill();
    deleteNamespace(platform, mounted);
    rmSync(folder, { recursive: true });
  }
});

function destroyingTests(bpf: LinuxBpf, missing: readonly string[]): void {
  let world: World;
  beforeEach(() => {
    world = new World('stale', 4, { bpf });
  });
  afterEach(() => {
    world?.[Symbol.dispose]();
  });

  const destroyed = async (count: number) => {
    const isDone = () => world.datapath.status().socketsDestroyed >= count;
    await eventually(`${count} sockets are destroyed`, isDone, { ms: 60_000, stepMs: 20 });
    assert.equal(world.datapath.status().socketsDestroyed, count);
  };
  const backend = (pod: LabPod, end: 'v4' | 'v6', port: number) => ({
    address: pod.addresses[end],
    port,
  });

  test('status reports the features that the kernel lacks', () => {
    assert.deepEqual(
      world.datapath.status().missing.map(({ feature }) => feature),
      missing,
    );
  });

  test('UDP sockets of a removed backend are destroyed in every pod, over both families; others stay', async () => {
    const [one, two] = [world.pod(2), world.pod(3)];
    const port = 5359;
    const v4 = { address: '10.96.1.20', port: 53 };
    const v6 = { address: 'fd00:10:96::1:20', port: 53 };
    const rows = (pod: LabPod) => [
      row([v4], [backend(pod, 'v4', port)], { protocol: 'UDP' }),
      row([v6], [backend(pod, 'v6', port)], { protocol: 'UDP' }),
    ];
    world.apply(...rows(one));
    const connected = (pod: number, family: 4 | 6, address: string, to: number) => {
      const socket = world.socket(world.pod(pod), family, 'udp');
      assert.equal(socket.connect(address, to), 'ok');
      return socket;
    };
    const stale = [
      connected(0, 4, v4.address, 53),
      connected(0, 6, v6.address, 53),
      connected(1, 6, `::ffff:${v4.address}`, 53),
    ];
    const direct = connected(0, 4, one.addresses.v4, port);
    const other = row([{ address: '10.96.1.21', port: 53 }], [backend(one, 'v4', port)], {
      protocol: 'UDP',
    });
    world.apply(other);
    const served = connected(1, 4, '10.96.1.21', 53);

    world.apply(...rows(two));
    await destroyed(3);
    for (const socket of stale) {
      assert.equal(
        codeOf(() => socket.receive()),
        'ECONNABORTED',
      );
      assert.notEqual(socket.send('x'), 'ok');
    }
    for (const socket of [direct, served]) {
      assert.equal(
        codeOf(() => socket.receive()),
        'EAGAIN',
      );
    }
    // The application connects anew.
    assert.equal(stale[0]!.connect(v4.address, 53), 'ok');
    using receiver = world.receiver(two, 4, port);
    assert.equal(stale[0]!.send('again'), 'ok');
    assert.equal(receiver.receive().text, 'again');
  });

  test('UDP sockets connected to an address without a service are destroyed once a service has it', async () => {
    const one = world.pod(2);
    const fronts = [
      [4, '', '10.96.1.30', 'v4'],
      [6, '::ffff:', '10.96.1.31', 'v4'],
      [6, '', 'fd00:10:96::1:30', 'v6'],
    ] as const;
    for (const [i, [family, prefix, address, end]] of fronts.entries()) {
      world.apply(row([{ address, port: 80 }], []));
      const socket = world.socket(world.pod(0), family, 'udp');
      assert.equal(socket.connect(prefix + address, 53), 'ok');
      const unknown = world.socket(world.pod(0), family, 'udp');
      assert.equal(unknown.connect(prefix + address, 54), 'ok');
      world.apply(row([{ address, port: 53 }], [backend(one, end, 5360)], { protocol: 'UDP' }));
      await destroyed(i + 1);
      assert.equal(
        codeOf(() => socket.receive()),
        'ECONNABORTED',
      );
      assert.equal(unknown.peerName(), at(prefix + address, 54));
    }
  });

  test('a UDP socket that was disconnected or connected elsewhere stays when its former backend is removed', async () => {
    const one = world.pod(2);
    const front = { address: '10.96.1.40', port: 53 };
    const rows = (pod: LabPod) => row([front], [backend(pod, 'v4', 5361)], { protocol: 'UDP' });
    world.apply(rows(one));
    const sockets = [0, 1, 2].map(() => {
      const socket = world.socket(world.pod(0), 4, 'udp');
      assert.equal(socket.connect(front.address, 53), 'ok');
      return socket;
    });
    assert.equal(sockets[0]!.disconnect(), 'ok');
    assert.equal(sockets[1]!.connect(world.pod(3).addresses.v4, 5361), 'ok');
    world.apply(rows(world.pod(1)));
    await destroyed(1);
    for (const socket of sockets.slice(0, 2)) assert.equal(socket.receiveNow(), undefined);
    assert.equal(
      codeOf(() => sockets[2]!.receive()),
      'ECONNABORTED',
    );
  });

  test('TCP sockets of a removed backend are destroyed only with terminateTcp, and none while the backend drains', async () => {
    const [client, one, two] = [world.pod(0), world.pod(2), world.pod(3)];
    using _first = world.listener(one, 4, 8083);
    using _second = world.listener(two, 4, 8083);
    const front = { address: '10.96.0.14', port: 80 };
    const [first, second] = [backend(one, 'v4', 8083), backend(two, 'v4', 8083)];
    const settled = () => new Promise((resolve) => setTimeout(resolve, 200));
    world.apply(row([front], [first]));
    using socket = world.socket(client, 4, 'tcp');
    assert.equal(socket.connect(front.address, 80), 'ok');
    world.apply(row([front], [second]));
    await settled();
    assert.equal(socket.send('still here'), 'ok');

    world.restart({ options: { terminateTcp: true } });
    world.apply(row([front], [second]));
    world.datapath.services.prune([row([front], [second])]);
    world.apply(row([front], [first]));
    await destroyed(1);
    assert.notEqual(socket.send('x'), 'ok');
    using draining = world.socket(client, 4, 'tcp');
    assert.equal(draining.connect(front.address, 80), 'ok');
    world.apply(row([front], [{ ...first, state: 'draining' }, second]));
    await settled();
    assert.equal(draining.send('drains'), 'ok');
  });
}
