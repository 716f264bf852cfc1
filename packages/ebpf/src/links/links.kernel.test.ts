import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { describe, test } from 'node:test';
import {
  addAddress,
  changeLink,
  createNetkit,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { NotSupported, SysError } from '@heddle/sys';
import {
  bpf,
  inNewNamespace,
  load,
  longs,
  loopback,
  platform,
  temporaryBpffs,
  temporaryCgroup,
  u32,
  withoutLeak,
} from '../../testing/kernel.ts';
import { TestSocket } from '../../testing/sockets.ts';
import { Incompatible } from '../errors.ts';
import type { LoadedObject } from '../loaded-object.ts';
import { features } from '../probes.ts';
import { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attachCgroup } from './cgroup.ts';
import { BpfLink } from './link.ts';
import { attachNetkit } from './netkit.ts';
import { attachTcx } from './tcx.ts';
import { attachTracepoint } from './tracepoint.ts';
import { attachXdp } from './xdp.ts';

const code = (wanted: string) => (error: unknown) =>
  error instanceof SysError && error.code === wanted;

/** Result of a TCP connection to a listener on loopback. */
function connectOnce(): { result: string; port: number } {
  using server = new TestSocket('tcp');
  using client = new TestSocket('tcp');
  const port = server.bind(true);
  return { result: client.connect(port), port };
}

describe('cgroup', () => {
  test('a program of a cgroup runs for the sockets of that cgroup only', () => {
    using cgroup = temporaryCgroup();
    withoutLeak(() => {
      using object = load('connects');
      using link = attachCgroup(bpf, object.program('connect4'), cgroup);
      const inside = cgroup.enter(connectOnce);
      const outside = connectOnce();
      assert.deepEqual([inside.result, outside.result], ['ok', 'ok']);
      const ports = [...object.map('connects').entries()].map(
        ([key]) => new Uint16Array(key.slice().buffer)[0],
      );
      assert.deepEqual(ports, [inside.port]);
      const { info } = link;
      assert.equal(info.kind, 'cgroup');
      assert.ok(info.kind === 'cgroup' && info.attachType === attachTypes.cgroup_inet4_connect);
      assert.ok(info.cgroupId === BigInt(statSync(`/proc/self/fd/${cgroup.fd}`).ino));
    });
  });

  test('a link is updated to another program, and detached', () => {
    using cgroup = temporaryCgroup();
    using object = load('connects');
    using link = attachCgroup(bpf, object.program('connect4'), cgroup);
    assert.equal(cgroup.enter(connectOnce).result, 'ok');
    link.update(object.program('refuse4'));
    assert.equal(link.info.programId, object.program('refuse4').info.id);
    assert.equal(cgroup.enter(connectOnce).result, 'EPERM');
    assert.throws(
      () => link.update(object.program('connect6')),
      (error) =>
        error instanceof Incompatible &&
        /attach type is cgroup_inet4_connect, wanted cgroup_inet6_connect/.test(error.message),
    );
    link.detach();
    assert.equal(cgroup.enter(connectOnce).result, 'ok');
  });

  test('a pinned link remains without its owner and is opened again', () => {
    using bpffs = temporaryBpffs();
    using cgroup = temporaryCgroup();
    const path = `${bpffs.path}/connect4`;
    withoutLeak(() => {
      {
        using object = load('connects', { programs: ['refuse4'] });
        using link = attachCgroup(bpf, object.program('refuse4'), cgroup);
        link.pin(path);
      }
      assert.equal(cgroup.enter(connectOnce).result, 'EPERM');
      using link = BpfLink.openPinned(bpf, path);
      using object = load('connects', { programs: ['connect4'] });
      link.update(object.program('connect4'));
      assert.equal(cgroup.enter(connectOnce).result, 'ok');
      using byId = BpfLink.fromId(bpf, link.info.id);
      assert.deepEqual(byId.info, link.info);
      link.detach();
    });
  });

  test('a pinned program is attached with the attach type of the caller', () => {
    using bpffs = temporaryBpffs();
    using cgroup = temporaryCgroup();
    using object = load('connects', { programs: ['refuse4'] });
    object.program('refuse4').pin(`${bpffs.path}/refuse4`);
    using pinned = BpfProgram.openPinned(bpf, `${bpffs.path}/refuse4`);
    assert.throws(
      () => attachCgroup(bpf, pinned, cgroup),
      /attach program refuse4 to cgroup: invalid argument \(EINVAL\)/,
    );
    using _link = attachCgroup(bpf, pinned, cgroup, attachTypes.cgroup_inet4_connect);
    assert.equal(cgroup.enter(connectOnce).result, 'EPERM');
  });

  test('a program is attached to the cgroup at a path', () => {
    using cgroup = temporaryCgroup();
    withoutLeak(() => {
      using object = load('connects', { programs: ['refuse4'] });
      using _link = attachCgroup(bpf, object.program('refuse4'), cgroup.path);
      assert.equal(cgroup.enter(connectOnce).result, 'EPERM');
    });
  });

  test('an error names the path that is no cgroup and says what is wrong with it', () => {
    using object = load('connects', { programs: ['connect4'] });
    const attach = (path: string) => () => attachCgroup(bpf, object.program('connect4'), path);
    assert.throws(attach('/no/such'), {
      code: 'ENOENT',
      message: 'attach program connect4 to cgroup /no/such: no such file or directory (ENOENT)',
    });
    assert.throws(attach('/proc/self/status'), {
      code: 'ENOTDIR',
      message: 'attach program connect4 to cgroup /proc/self/status: not a directory (ENOTDIR)',
    });
    assert.throws(attach('/tmp'), {
      code: 'EBADF',
      message:
        'attach program connect4 to cgroup /tmp: it is not a directory of a cgroup2 file system (EBADF)',
    });
  });
});

/** Counters of the packets object by variable. */
function counters(object: LoadedObject): Record<string, bigint> {
  const bss = longs(object.map('.bss').lookup(u32(0)));
  const names = ['xdp_seen', 'tc_seen', 'second_seen'];
  return Object.fromEntries(
    names.map((name) => [name, bss[object.variables.get(name)!.offset / 8]!]),
  );
}

describe('tcx', () => {
  const skip = !features(bpf).has('link/tcx') && 'the kernel has no tcx (Linux 6.6)';

  test('tcx programs run in the requested order', { skip }, () => {
    withoutLeak(() =>
      inNewNamespace(() => {
        using object = load('packets');
        const program = (name: string) => object.program(name);
        using counting = attachTcx(bpf, program('tc_count'), loopback, 'egress');
        assert.equal(connectOnce().result, 'ok');
        const alone = counters(object);
        assert.ok(alone.tc_seen! >= 3n);
        assert.equal(alone.second_seen, 0n);
        const { info } = counting;
        assert.ok(info.kind === 'tcx' && info.ifindex === loopback);
        assert.equal(info.attachType, attachTypes.tcx_egress);

        // tc_record accepts every packet, so a program behind it sees none.
        using _before = attachTcx(bpf, program('tc_record'), loopback, 'egress', {
          before: counting,
        });
        using _after = attachTcx(bpf, program('tc_second'), loopback, 'egress', {
          after: counting,
        });
        assert.equal(connectOnce().result, 'ok');
        assert.equal(counters(object).second_seen, 0n);
        _before.detach();
        using _first = attachTcx(bpf, program('tc_second'), loopback, 'ingress', 'first');
        assert.equal(connectOnce().result, 'ok');
        assert.ok(counters(object).second_seen! > 0n);
      }),
    );
  });

  test('attaching to a missing interface fails', { skip }, () => {
    using object = load('packets', { programs: ['tc_count'] });
    assert.throws(
      () => attachTcx(bpf, object.program('tc_count'), 0x7fff, 'ingress'),
      /attach program tc_count to ingress of interface 32767: no such device \(ENODEV\)/,
    );
  });

  test('without tcx in the kernel, the error names the version that has it', (context) => {
    if (!skip) return context.skip('the kernel has tcx');
    using object = load('packets', { programs: ['tc_count'] });
    assert.throws(
      () => attachTcx(bpf, object.program('tc_count'), loopback, 'ingress'),
      (error) => error instanceof NotSupported && error.since === '6.6',
    );
  });
});

describe('xdp', () => {
  test('xdp runs one program at a time', () => {
    withoutLeak(() =>
      inNewNamespace(() => {
        using object = load('packets');
        using link = attachXdp(bpf, object.program('xdp_count'), loopback, 'generic');
        assert.equal(connectOnce().result, 'ok');
        assert.ok(counters(object).xdp_seen! >= 3n);
        assert.ok(link.info.kind === 'xdp' && link.info.ifindex === loopback);
        assert.throws(
          () => attachXdp(bpf, object.program('xdp_turn'), loopback, 'generic'),
          code('EBUSY'),
        );
        assert.throws(
          () => attachXdp(bpf, object.program('xdp_turn'), loopback, 'native'),
          (error) => error instanceof SysError,
        );
      }),
    );
  });
});

describe('netkit', () => {
  const skip =
    !features(bpf).has('link/netkit') && 'the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)';

  test('netkit programs run at both ends and are replaced in place', { skip }, () => {
    using primary = netkitEnd('192.0.2.1');
    using peer = netkitEnd('192.0.2.2');
    createNetkit(
      primary.socket,
      'l3',
      { name: 'netkit0' },
      { name: 'netkit0', namespaceFd: peer.namespace.fd },
    );
    const [ifindex, peerIndex] = [primary.raise(), peer.raise()];
    withoutLeak(() => {
      using object = load('packets');
      const seen = () => {
        const { tc_seen, second_seen } = counters(object);
        return [tc_seen, second_seen];
      };
      const attach = (name: string, end: 'primary' | 'peer', index = ifindex) =>
        primary.namespace.enter(() => attachNetkit(bpf, object.program(name), index, end));
      using here = attach('tc_count', 'primary');
      using there = attach('tc_second', 'peer');
      const { info } = here;
      assert.ok(info.kind === 'netkit' && info.ifindex === ifindex);
      assert.equal(info.attachType, attachTypes.netkit_primary);

      primary.send();
      assert.deepEqual(seen(), [1n, 0n]);
      peer.send();
      assert.deepEqual(seen(), [1n, 1n]);
      here.update(object.program('tc_second'));
      primary.send();
      assert.deepEqual(seen(), [1n, 2n]);
      there.detach();
      peer.send();
      assert.deepEqual(seen(), [1n, 2n]);

      assert.throws(() => attach('tc_count', 'primary', loopback), code('ENXIO'));
      peer.namespace.enter(() =>
        assert.throws(
          () => attachNetkit(bpf, object.program('tc_count'), peerIndex, 'primary'),
          code('EACCES'),
        ),
      );
    });
  });

  test('without netkit in the kernel, the error names the version that has it', (context) => {
    if (!skip) return context.skip('the kernel has netkit');
    withoutLeak(() => {
      using object = load('packets', { programs: ['tc_count'] });
      assert.throws(
        () => attachNetkit(bpf, object.program('tc_count'), loopback, 'peer', 'first'),
        (error) =>
          error instanceof NotSupported &&
          error.since === '6.8' &&
          /link\/netkit/.test(error.message),
      );
    });
  });
});

/** Returns a namespace for one end of a netkit pair, called netkit0, in which nothing but the test sends. */
function netkitEnd(address: string) {
  const namespace = NetworkNamespace.create(platform);
  namespace.setSysctl('net/ipv6/conf/default/disable_ipv6', 1);
  const socket = namespace.enter(() => new NetlinkSocket(platform));
  return {
    namespace,
    socket,
    /** Returns the ifindex. */
    raise(): number {
      const { index } = findLink(socket, 'netkit0')!;
      changeLink(socket, index, { up: true });
      addAddress(socket, index, `${address}/24`);
      return index;
    },
    /** To an address that neither end has: nothing comes back. */
    send(): void {
      using udp = namespace.enter(() => new TestSocket('udp'));
      assert.equal(udp.connect(9, '192.0.2.99'), 'ok');
      assert.equal(udp.send(), 'ok');
    },
    [Symbol.dispose]() {
      socket[Symbol.dispose]();
      namespace[Symbol.dispose]();
    },
  };
}

describe('tracepoint', () => {
  test('typed and raw tracepoint programs see events', async () => {
    using object = load('sockets', { programs: ['on_switch', 'on_raw_switch'] });
    const switches = () =>
      longs(object.map('.bss').lookup(u32(0)))[object.variables.get('switches')!.offset / 8]!;
    const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
    {
      using link = attachTracepoint(bpf, object.program('on_switch'));
      const { info } = link;
      assert.ok(info.kind === 'raw_tracepoint' && info.tracepoint === 'sched_switch');
      await pause();
    }
    const typed = switches();
    assert.ok(typed > 0n);
    {
      using link = attachTracepoint(bpf, object.program('on_raw_switch'), 'sched_switch');
      assert.deepEqual(
        { ...link.info, id: 0, programId: 0 },
        { kind: 'raw_tracepoint', tracepoint: 'sched_switch', id: 0, programId: 0 },
      );
      await pause();
    }
    const both = switches();
    assert.ok(both > typed);
    await pause();
    assert.equal(switches(), both, 'detached when closed');
    assert.throws(
      () => attachTracepoint(bpf, object.program('on_raw_switch'), 'no_such_event'),
      /attach program on_raw_switch to tracepoint no_such_event: no such file or directory \(ENOENT\)/,
    );
  });
});
