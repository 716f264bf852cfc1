import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  attachCgroup,
  attachTcx,
  BpfLink,
  BpfMap,
  BpfProgram,
  LinuxBpf,
  type LoadedObject,
  loadObject,
  mapTypes,
  programTypes,
  readObject,
} from '@heddle/ebpf';
import { NetlinkSocket, removeFilter } from '@heddle/netlink';
import { errno, SysError } from '@heddle/sys';
import { row } from '../../testing/rows.ts';
import { objects, World } from '../../testing/world.ts';
import { filterPlace } from '../devices/node-devices.ts';
import type { Damage } from './audit.ts';
import { currentPins, pinRoot } from './pinned-maps.ts';

/** Maps that only the control plane writes. */
const audited = [
  ...['services', 'addresses', 'source_ranges', 'nat_sources', 'node_devices', 'xdp_devices'],
  ...['address_filter', 'slots', 'backends', 'nat_table', 'pods', 'pod_devices'],
];
const hooks = (damages: readonly Damage[]) =>
  damages.filter(({ kind }) => kind === 'hook').map(({ name }) => name);

describe('damage by other processes in the kernel', () => {
  let world: World;
  beforeEach(() => {
    world = new World('integrity', 3, { xdp: 'generic' });
    world.serveOutside();
    world.listener(world.pod(1), 4, 8080);
    world.apply(web(), ranged());
    world.datapath.services.prune([web(), ranged()]);
  });
  afterEach(() => world?.[Symbol.dispose]());

  const pins = () => currentPins(world.node.bpffs);
  const web = () =>
    row(
      [{ address: '10.96.3.1', port: 80 }],
      [{ address: world.pod(1).addresses.v4, port: 8080 }],
      { algorithm: 'round-robin' },
    );
  const ranged = () =>
    row(
      [{ kind: 'LoadBalancer' as const, address: '203.0.113.9', port: 80 }],
      [{ address: world.pod(1).addresses.v4, port: 8080 }],
      { sourceRanges: ['198.51.100.0/24'], scope: 'outside' },
    );
  const connects = () => {
    using socket = world.socket(world.pod(0), 4, 'tcp');
    return socket.connect('10.96.3.1', 80);
  };
  const check = () => world.node.enter(() => world.datapath.integrity.checkAttachments());
  const repair = (damages: readonly Damage[]) =>
    world.node.enter(() => world.datapath.integrity.repair(damages));
  /** Returns all maps in turn. */
  const audit = () =>
    Array.from({ length: world.datapath.integrity.mapCount }, () =>
      world.datapath.integrity.auditNext(),
    ).flat();
  const whole = () => {
    assert.deepEqual(check(), []);
    assert.deepEqual(audit(), []);
    assert.equal(connects(), 'ok');
  };

  test('a check finds nothing when only the agent makes changes', () => {
    whole();
    world.apply(web(), row([{ address: '10.96.3.2', port: 80 }], []));
    world.serveOutside();
    whole();
    world.datapath.services.remove([web().key]);
    assert.deepEqual([...check(), ...audit()], []);
    world.restart();
    world.serveOutside();
    world.apply(web(), ranged());
    world.datapath.services.prune([web(), ranged()]);
    whole();
  });

  test('a check makes some thirty system calls', () => {
    check();
    let calls = 0;
    const { platform } = world;
    const { syscall } = platform;
    platform.syscall = (...given) => {
      calls++;
      return syscall(...given);
    };
    try {
      check();
    } finally {
      platform.syscall = syscall;
    }
    assert.ok(calls <= 30, `${calls} system calls`);
  });

  test('detached programs are found hook by hook and attached again', () => {
    const all = readdirSync(pins().links).sort();
    assert.ok(all.includes('node_xdp_generic@eth0') && all.includes('node_ingress@eth0'));
    for (const name of all) {
      using link = BpfLink.openPinned(world.bpf, `${pins().links}/${name}`);
      link.detach();
      const damages = check();
      assert.deepEqual(hooks(damages), [name]);
      assert.deepEqual(repair(damages), { left: [], error: undefined }, name);
      assert.ok(world.node.enter(() => world.datapath.status().links.every((l) => l.attached)));
    }
    for (const name of all) BpfLink.openPinned(world.bpf, `${pins().links}/${name}`).detach();
    assert.notEqual(connects(), 'ok');
    assert.deepEqual(hooks(check()).sort(), all);
    assert.deepEqual(repair(check()).left, []);
    whole();
  });

  test('another program at a link is found and replaced', () => {
    using other = foreignObject(world.bpf);
    using link = BpfLink.openPinned(world.bpf, `${pins().links}/connect4`);
    link.update(other.program('connect4'));
    const damages = check();
    assert.match(damages[0]?.problem ?? '', /runs a program that is not the agent’s/);
    assert.deepEqual(repair(damages).left, []);
    whole();
  });

  test('programs that others have attached to the same hooks stay', () => {
    using other = foreignObject(world.bpf);
    using beside = attachCgroup(world.bpf, other.program('connect4'), world.node.cgroup);
    const { index } = world.node.link('eth0');
    using program = passOn(world.bpf);
    using tcx = world.node.enter(() => attachTcx(world.bpf, program, index, 'ingress'));
    for (const name of ['connect4', 'node_ingress@eth0']) {
      BpfLink.openPinned(world.bpf, `${pins().links}/${name}`).detach();
    }
    assert.deepEqual(repair(check()).left, []);
    for (const link of [beside, tcx]) {
      const { info } = link;
      if (info.kind === 'cgroup') assert.notEqual(info.cgroupId, 0n);
      else assert.equal(info.kind === 'tcx' && info.ifindex, index);
    }
    whole();
  });

  test('deleted pins are restored, and the programs run meanwhile', () => {
    for (const folder of [pins().links, pins().maps]) {
      for (const name of readdirSync(folder)) unlinkSync(`${folder}/${name}`);
    }
    assert.equal(connects(), 'ok', 'the agent holds the links');
    const damages = check();
    assert.ok(damages.length > 30 && damages.every(({ kind }) => kind === 'pin'));
    assert.deepEqual(repair(damages), { left: [], error: undefined });
    whole();
    assert.equal(world.restart().status().adopted, true);
    assert.equal(connects(), 'ok');
  });

  test('a removed folder of pins is restored', () => {
    for (const folder of [pins().links, pins().maps]) {
      for (const name of readdirSync(folder)) unlinkSync(`${folder}/${name}`);
      rmdirSync(folder);
    }
    rmdirSync(pins().path);
    rmdirSync(pinRoot(world.node.bpffs));
    assert.deepEqual(repair(check()), { left: [], error: undefined });
    whole();
    assert.equal(world.restart().status().adopted, true);
  });

  test('a pin of another map is found and replaced', () => {
    unlinkSync(`${pins().maps}/services`);
    using other = BpfMap.create(world.bpf, {
      ...{ name: 'other', type: mapTypes.array, keySize: 4, valueSize: 4, maxEntries: 1 },
      ...{ flags: 0, extra: 0n, keyTypeId: 0, valueTypeId: 0, pinByName: false },
      ...{ inner: undefined, contents: undefined, readOnly: false },
    });
    other.pin(`${pins().maps}/services`);
    const damages = check();
    assert.deepEqual(
      damages.map(({ name }) => name),
      [`${pins().maps}/services`],
    );
    assert.deepEqual(repair(damages).left, []);
    whole();
  });

  test('a cgroup that is removed and made again gets the programs; while it is missing the repair fails', () => {
    const cgroup = `${world.node.cgroup}/anew`;
    mkdirSync(cgroup);
    world.restart({ cgroup });
    rmdirSync(cgroup);
    const missing = check();
    assert.ok(hooks(missing).includes(`cgroup ${cgroup}`), JSON.stringify(missing));
    const { left, error } = repair(missing);
    assert.ok(left.length > 0);
    assert.match(error?.message ?? '', /ENOENT/);
    mkdirSync(cgroup);
    assert.deepEqual(repair(check()), { left: [], error: undefined });
    assert.deepEqual(check(), []);
    using link = BpfLink.openPinned(world.bpf, `${pins().links}/connect4`);
    const { info } = link;
    assert.equal(info.kind === 'cgroup' && info.cgroupId, statSync(cgroup, { bigint: true }).ino);
    world.restart();
    rmdirSync(cgroup);
  });

  for (const change of ['wiped', 'changed', 'added'] as const) {
    test(`entries that are ${change} are found in each map and restored`, () => {
      for (const name of audited) {
        using map = BpfMap.openPinned(world.bpf, `${pins().maps}/${name}`);
        const before = contentOf(map);
        if (!damage(map, change)) continue;
        assert.notDeepEqual(contentOf(map), before);
        const damages = audit();
        assert.deepEqual(
          damages.map((each) => `${each.kind} ${each.name}`),
          [`map ${name}`],
        );
        assert.deepEqual(repair(damages), { left: [], error: undefined }, name);
        if (name !== 'nat_table') assert.deepEqual(contentOf(map), before, name);
      }
      whole();
    });
  }

  test('without tcx, removed filters are found and attached again', () => {
    const bpf = new LinuxBpf(world.platform);
    const create = bpf.linkCreate.bind(bpf);
    bpf.linkCreate = (options) => {
      // tcx_ingress and tcx_egress.
      if (options.attachType === 46 || options.attachType === 47) {
        throw new SysError('bpf', errno.EINVAL, 'create link');
      }
      return create(options);
    };
    world.restart({ bpf, xdp: 'off' });
    world.serveOutside();
    assert.deepEqual(check(), []);
    const { index: link } = world.node.link('eth0');
    world.node.enter(() => {
      using socket = new NetlinkSocket(world.platform);
      removeFilter(socket, { link, direction: 'egress', ...filterPlace });
    });
    assert.deepEqual(hooks(check()), ['node_egress@eth0']);
    assert.deepEqual(repair(check()), { left: [], error: undefined });
    assert.deepEqual(check(), []);
  });
});

/** Programs of another software: those of sockets, loaded once more with maps of their own. */
function foreignObject(bpf: LinuxBpf): LoadedObject {
  return loadObject(bpf, readObject(objects('socket')), { programs: ['connect4'] });
}

/** Returns a tc program of another software: r0 = TCX_NEXT; exit. */
function passOn(bpf: LinuxBpf): BpfProgram {
  const instructions = new Uint8Array([
    0xb7, 0, 0, 0, 255, 255, 255, 255, 0x95, 0, 0, 0, 0, 0, 0, 0,
  ]);
  const type = programTypes.sched_cls;
  return BpfProgram.load(bpf, { name: 'pass_on', type, instructions, license: 'GPL' });
}

/** Content of a map as text, without what the programs write. */
function contentOf(map: BpfMap): string[] {
  return Array.from(map.entries(), ([key, value]) => `${key}: ${value}`).sort();
}

/** False when the map has nothing to which that can happen. */
function damage(map: BpfMap, change: 'wiped' | 'changed' | 'added'): boolean {
  const isArray = map.info.type === mapTypes.array;
  const [first] = [...map.entries()].filter(([, value]) => value.some((byte) => byte !== 0));
  if (change === 'added') {
    if (isArray) return false;
    const key = new Uint8Array(map.info.keySize).fill(0x5a);
    if (map.info.type === mapTypes.lpm_trie) key.set(new Uint8Array(Uint32Array.of(160).buffer));
    map.update(key, new Uint8Array(map.valueBytes).fill(1));
    return true;
  }
  if (!first) return false;
  if (change === 'changed') {
    const value = first[1].slice();
    // The table of flows has fields of the programs in front.
    if (map.info.name === 'nat_table') value[64]! ^= 1;
    else value[0]! ^= 1;
    map.update(first[0], value);
    return true;
  }
  for (const [key] of [...map.entries()]) {
    if (isArray) map.update(key, new Uint8Array(map.valueBytes));
    else map.delete(key);
  }
  return true;
}
