import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  attachCgroup,
  attachTcx,
  attachTypes,
  type BpfLink,
  BpfMap,
  BpfProgram,
  features,
  mapTypes,
  programTypes,
} from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import {
  listAddresses,
  listLinks,
  listRoutes,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import {
  makeDirectory,
  openFile,
  readDirectory,
  readFile,
  removeFile,
  SysError,
  writeFile,
} from '@heddle/sys';
import { assemble } from '../../testing/assembler.ts';
import { VirtualClock } from '../clock.ts';
import { addressOf } from './address.ts';
import { externalIfindex } from './devices.ts';
import { VmHost } from './host.ts';
import { VmSocket } from './socket.ts';

const makeHost = () =>
  new VmHost({
    base: new VirtualClock(),
    name: 'n1',
    addresses: { v4: '172.30.0.1', v6: 'fd00::1' },
  });

function load(host: VmHost, source: string, type: number, attachType: number): BpfProgram {
  const { bytes } = assemble(source);
  const options = { name: 'test', type, instructions: bytes, license: 'GPL' };
  return BpfProgram.load(host.bpf, { ...options, expectedAttachType: attachType });
}

/** A program of connect4. */
const connect4 = (host: VmHost, source: string) =>
  load(host, source, programTypes.cgroup_sock_addr, attachTypes.cgroup_inet4_connect);

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof SysError ? error.code : String(error);
  }
  return 'ok';
};

test('files of a host are written, listed and removed', () => {
  const { platform } = makeHost();
  makeDirectory(platform, '/run/a/b');
  writeFile(platform, '/run/a/b/c', Uint8Array.of(1, 2, 3));
  assert.deepEqual([...readFile(platform, '/run/a/b/c')], [1, 2, 3]);
  assert.deepEqual(readDirectory(platform, '/run/a'), [{ name: 'b', kind: 'directory' }]);
  removeFile(platform, '/run/a/b/c');
  assert.equal(
    codeOf(() => openFile(platform, '/run/a/b/c')),
    'ENOENT',
  );
});

test('netlink lists interfaces, addresses and routes of a host', () => {
  const { platform } = makeHost();
  using socket = new NetlinkSocket(platform);
  assert.deepEqual(
    listLinks(socket).map(({ name, index }) => [name, index]),
    [
      ['lo', 1],
      ['eth0', externalIfindex],
    ],
  );
  assert.deepEqual(
    listAddresses(socket).map(({ address, link }) => [address, link]),
    [
      ['172.30.0.1', externalIfindex],
      ['fd00::1', externalIfindex],
    ],
  );
  assert.deepEqual(
    listRoutes(socket).map(({ destination, link }) => [destination, link]),
    [
      ['0.0.0.0/0', externalIfindex],
      ['::/0', externalIfindex],
    ],
  );
});

test('a socket stays in the network namespace where it was made', () => {
  const host = makeHost();
  const pod = host.addPod('p1', { v4: '10.0.0.2', v6: 'fd00:1::2' });
  using own = NetworkNamespace.current(host.platform);
  assert.equal(own.cookie, 1n);
  assert.equal(
    pod.enter(() => NetworkNamespace.current(host.platform).cookie),
    2n,
  );
  const socket = pod.enter(() => new VmSocket(host, 2, 2));
  assert.equal(socket.namespace.name, 'p1');
});

describe('hooks of cgroups', () => {
  const to = { address: addressOf('10.0.0.9'), port: 53 };
  const connect = (host: VmHost, place = host.node) => {
    const socket = place.enter(() => new VmSocket(host, 2, 2)).retain();
    try {
      return socket.connect(to);
    } finally {
      socket.release();
    }
  };
  const attach = (host: VmHost, source: string, path = host.cgroupPath) => {
    using program = connect4(host, source);
    return attachCgroup(host.bpf, program, path, attachTypes.cgroup_inet4_connect);
  };

  test('a refused connect() fails with EPERM or the errno of the program', () => {
    const host = makeHost();
    assert.equal(connect(host), 0);
    {
      using _refusing = attach(host, 'r0 = 0; exit');
      assert.equal(connect(host), -1);
    }
    assert.equal(connect(host), 0, 'the link is gone');
    using _telling = attach(host, 'r1 = -111; call 187; r0 = 0; exit');
    assert.equal(connect(host), -111);
  });

  test('a program of a cgroup runs for that cgroup and those below, the lower one first', () => {
    const host = makeHost();
    const pod = host.addPod('p1', { v4: '10.0.0.2', v6: 'fd00:1::2' });
    using _all = attach(host, 'call 186; if r0 != 0 goto on; r1 = -1; call 187; on:; r0 = 0; exit');
    assert.equal(connect(host), -1);
    using _own = attach(host, 'r1 = -22; call 187; r0 = 0; exit', `${host.cgroupPath}/p1`);
    assert.equal(connect(host, pod), -22);
    assert.equal(connect(host), -1);
  });

  test('a program changes the destination, and a link is updated to it', () => {
    const host = makeHost();
    // user_port, in network byte order
    using link = attach(host, 'r2 = 0x3930; *(u32 *)(r1 + 24) = r2; r0 = 1; exit');
    const socket = new VmSocket(host, 2, 2).retain();
    assert.equal(socket.connect(to), 0);
    assert.deepEqual(socket.peerName(), { address: to.address, port: 0x3039 });
    using other = connect4(host, 'r2 = 0x0100; *(u32 *)(r1 + 24) = r2; r0 = 1; exit');
    link.update(other);
    assert.equal(socket.connect(to), 0);
    assert.deepEqual(socket.peerName(), { address: to.address, port: 1 });
    socket.release();
    assert.equal(host.sockets.size, 0);
  });
});

test('pins keep objects, on a bpf file system only', () => {
  const host = makeHost();
  const { bpf, platform } = host;
  makeDirectory(platform, '/sys/fs/bpf/x');
  const mapId = (() => {
    using map = BpfMap.create(bpf, mapSpec({ name: 'kept', type: mapTypes.array }));
    assert.equal(
      codeOf(() => map.pin('/sys/fs/map')),
      'EPERM',
    );
    host.files.mount('/sys/fs/bpf/x', 'bpf');
    map.pin('/sys/fs/bpf/x/map');
    map.update(new Uint8Array(4), Uint8Array.of(9, 0, 0, 0));
    return map.info.id;
  })();
  {
    using again = BpfMap.openPinned(bpf, '/sys/fs/bpf/x/map');
    assert.equal(again.info.id, mapId);
    assert.equal(again.lookup(new Uint8Array(4))![0], 9);
  }
  removeFile(platform, '/sys/fs/bpf/x/map');
  assert.deepEqual([...bpf.objects('map')], []);
});

test('frames pass through the programs of the interface, which look up routes', () => {
  const host = makeHost();
  assert.equal(features(host.bpf).has('link/tcx'), true);
  assert.equal(features(host.bpf).has('kfunc/bpf_sock_destroy'), true);
  assert.equal(features(host.bpf).has('link/netkit'), false);
  using program = load(
    host,
    'r2 = *(u32 *)(r1 + 76); *(u8 *)(r2 + 20) = 7; r0 = 2; exit',
    programTypes.sched_cls,
    0,
  );
  using link: BpfLink = attachTcx(host.bpf, program, externalIfindex, 'ingress', 'first');
  const { info } = link;
  assert.equal(info.kind === 'tcx' && info.ifindex, externalIfindex);
  const { verdict, frame } = host.frame('ingress', new Uint8Array(60));
  assert.equal(verdict, 2);
  assert.equal(frame[20], 7);
  assert.equal(host.frame('egress', new Uint8Array(60)).verdict, 0xffffffff);
});
