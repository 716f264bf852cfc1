import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { BpfLink, BpfMap } from '@heddle/ebpf';
import { eventually } from '@heddle/sys/testing/eventually';
import { row } from '../testing/rows.ts';
import { objects as compiledObjects, sizes, World } from '../testing/world.ts';
import { pinRoot } from './core/pinned-maps.ts';
import { backendSize, heddleAbi, serviceSize } from './generated/abi.ts';

const version = `v${heddleAbi.currentAbi}`;

describe('starts, restarts and upgrades of the datapath', () => {
  let world: World;
  beforeEach(() => {
    world = new World('life', 3);
  });
  afterEach(() => world?.[Symbol.dispose]());

  const folder = () => `${pinRoot(world.node.bpffs)}/${version}`;
  const openMap = (name: string) => BpfMap.openPinned(world.bpf, `${folder()}/maps/${name}`);
  const web = (...pods: number[]) =>
    row(
      [{ address: '10.96.3.1', port: 80 }],
      pods.map((number) => ({ address: world.pod(number).addresses.v4, port: 8080 })),
    );
  const connects = () => {
    using socket = world.socket(world.pod(0), 4, 'tcp');
    return socket.connect('10.96.3.1', 80);
  };

  /** Opens a TCP connection and connects a UDP socket to two services, whose rows it programs. */
  const openConnections = () => {
    const listener = world.listener(world.pod(1), 4, 8080);
    world.receiver(world.pod(1), 4, 5300);
    const { v4: address } = world.pod(1).addresses;
    const dns = row([{ address: '10.96.3.3', port: 53 }], [{ address, port: 5300 }], {
      protocol: 'UDP',
    });
    const rows = [web(1), dns];
    world.apply(...rows);
    const tcp = world.socket(world.pod(0), 4, 'tcp');
    assert.equal(tcp.connect('10.96.3.1', 80), 'ok');
    const accepted = listener.accept();
    const udp = world.socket(world.pod(0), 4, 'udp');
    assert.equal(udp.connect('10.96.3.3', 53), 'ok');
    const assertOpen = () => {
      assert.equal(tcp.send('x'), 'ok');
      assert.equal(accepted.receive().text, 'x');
      assert.ok(udp.peerName().startsWith('10.96.3.3:'));
      assert.equal(udp.send('x'), 'ok');
    };
    return { rows, assertOpen, [Symbol.dispose]: () => accepted[Symbol.dispose]() };
  };

  test('services stay programmed while no agent runs, and the next agent adopts them', () => {
    using listener = world.listener(world.pod(1), 4, 8080);
    world.apply(web(1));
    using established = world.socket(world.pod(0), 4, 'tcp');
    assert.equal(established.connect('10.96.3.1', 80), 'ok');
    using accepted = listener.accept();
    world.datapath[Symbol.dispose]();
    assert.equal(connects(), 'ok');
    const datapath = world.restart();
    assert.equal(datapath.status().adopted, true);
    assert.deepEqual(datapath.status().migrated, []);
    world.apply(web(1));
    datapath.services.prune([web(1)]);
    assert.equal(datapath.status().repaired, 0);
    assert.equal(connects(), 'ok');
    assert.equal(established.send('still here'), 'ok');
    assert.equal(accepted.receive().text, 'still here');
    assert.ok(established.peerName().startsWith('10.96.3.1:'));
    assert.ok(datapath.status().links.every((link) => link.attached));
  });

  test('corrupted and deleted entries are repaired at the next start', () => {
    using _listener = world.listener(world.pod(1), 4, 8080);
    const other = row([{ address: '10.96.3.2', port: 80 }], [{ address: '10.244.7.7', port: 80 }]);
    world.apply(web(1), other);
    using services = openMap('services');
    using slots = openMap('slots');
    using backends = openMap('backends');
    const [[key, value]] = [...services.entries()] as [[Uint8Array, Uint8Array]];
    services.update(
      key,
      value.map((byte, i) => (i === 4 ? byte ^ 1 : byte)),
    );
    const [, second] = [...services.entries()];
    services.delete(second![0]);
    slots.update(Uint8Array.of(0, 0, 0, 0), Uint8Array.of(99, 0, 0, 0));
    backends.update(Uint8Array.of(1, 0, 0, 0), new Uint8Array(backendSize).fill(7));
    const datapath = world.restart();
    world.apply(web(1), other);
    datapath.services.prune([web(1), other]);
    assert.ok(datapath.status().repaired > 0);
    assert.equal(connects(), 'ok');
    assert.equal([...services.entries()].length, 2);
  });

  test('entries that no row has are removed by prune, and not before', () => {
    const gone = row([{ address: '10.96.3.9', port: 80 }], []);
    world.apply(web(1), gone);
    const datapath = world.restart();
    world.apply(web(1));
    using services = openMap('services');
    assert.equal([...services.entries()].length, 2);
    datapath.services.prune([web(1)]);
    assert.equal([...services.entries()].length, 1);
  });

  test('a detached link is replaced at the next start', () => {
    using _listener = world.listener(world.pod(1), 4, 8080);
    world.apply(web(1));
    using link = BpfLink.openPinned(world.bpf, `${folder()}/links/connect4`);
    link.detach();
    assert.equal(world.datapath.status().links.find((l) => l.hook === 'connect4')!.attached, false);
    world.restart();
    assert.equal(world.datapath.status().links.find((l) => l.hook === 'connect4')!.attached, true);
    assert.equal(connects(), 'ok');
  });

  test('maps of other sizes are filled before the programs switch to them, and connections continue', () => {
    using connections = openConnections();
    const { rows, assertOpen } = connections;

    const larger = { services: 3000, backends: 3000, slots: 50000, affinity: 3000, flows: 2000 };
    const datapath = world.restart({ sizes: larger });
    assert.match(
      datapath.status().migrated.join('\n'),
      /services: maximum of entries is 1000, wanted 3000/,
    );
    assert.equal(connects(), 'ok', 'the old maps serve until the new ones are full');
    world.apply(...rows);
    datapath.services.prune(rows);
    assert.equal(datapath.status().repaired, 0, 'ids and runs were carried over');
    assert.equal(connects(), 'ok');
    assertOpen();
    using services = openMap('services');
    assert.equal(services.info.maxEntries, 3000);
    assert.deepEqual(world.restart({ sizes: larger }).status().migrated, []);
  });

  test('an upgrade from another layout copies the maps and updates the links, and connections continue', () => {
    using connections = openConnections();
    const { rows, assertOpen } = connections;
    world.datapath[Symbol.dispose]();

    // This is the state that an older version leaves: its own folder, values without their last field.
    renameSync(folder(), folder().replace(/v\d+$/, 'v0'));
    for (const [name, valueSize] of [
      ['services', serviceSize - 4],
      ['backends', backendSize - 8],
    ] as const) {
      const path = `${folder().replace(/v\d+$/, 'v0')}/maps/${name}`;
      using current = BpfMap.openPinned(world.bpf, path);
      using older = BpfMap.create(world.bpf, {
        ...{ name, type: current.info.type, keySize: current.info.keySize, valueSize },
        ...{ maxEntries: current.info.maxEntries, flags: current.info.flags, extra: 0n },
        ...{ keyTypeId: 0, valueTypeId: 0, pinByName: false, inner: undefined },
        ...{ contents: undefined, readOnly: false },
      });
      for (const [key, value] of current.entries()) older.update(key, value.slice(0, valueSize));
      renameSync(path, `${path}-kept`);
      older.pin(path);
    }

    const datapath = world.restart();
    assert.match(datapath.status().migrated.join('\n'), /services: value size is 24, wanted 28/);
    assert.equal(connects(), 'ok', 'the old programs serve on');
    world.apply(...rows);
    datapath.services.prune(rows);
    assert.equal(connects(), 'ok');
    assertOpen();
    // The old folder keeps programs at network interfaces until these are known.
    world.node.enter(() => datapath.setNode([], Object.values(world.node.addresses)));
    assert.deepEqual(readdirSync(pinRoot(world.node.bpffs)), [version], 'the old folder is gone');
    assert.ok(datapath.status().links.every((link) => link.attached));
  });

  test('a row that finds a full map succeeds when there is room', async () => {
    const small = { ...sizes, backends: 3 };
    world.restart({ sizes: small });
    world.datapath.services.prune([]);
    const first = web(1, 2);
    const second = row([{ address: '10.96.3.2', port: 80 }], [{ address: '10.244.7.7', port: 80 }]);
    assert.deepEqual(world.datapath.services.update([first]), [undefined]);
    const [error] = world.datapath.services.update([second]);
    assert.match(
      error!.message,
      /write map backends: full with 2 entries \(raise sizes.backends\)/,
    );
    assert.equal(world.datapath.services.backendCounters(first.key).length, 2);
    world.datapath.services.remove([first.key]);
    // The id rests for the grace period first.
    const isProgrammed = () => world.datapath.services.update([second])[0] === undefined;
    await eventually('there is an id for the row', isProgrammed, { ms: 2000, stepMs: 1 });
  });
});

describe('descriptors of a datapath', () => {
  let world: World;
  before(() => {
    world = new World('descriptors', 1);
  });
  after(() => world?.[Symbol.dispose]());

  test('a closed datapath leaves no descriptor open', () => {
    const count = () => readdirSync('/proc/self/fd').length;
    world.datapath[Symbol.dispose]();
    const earlier = count();
    for (let i = 0; i < 3; i++) world.restart();
    world.datapath[Symbol.dispose]();
    assert.equal(count(), earlier);
  });

  test('a datapath that cannot be opened leaves no descriptor open, whichever object is broken', () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    world.datapath[Symbol.dispose]();
    const earlier = descriptors();
    for (const broken of ['socket', 'node', 'xdp', 'stale']) {
      const objects = (name: string) =>
        name === broken ? Uint8Array.of(1, 2, 3) : compiledObjects(name);
      assert.throws(() => world.restart({ objects, xdp: 'generic' }), /not an ELF file/, broken);
      assert.equal(descriptors(), earlier, broken);
    }
  });

  test('a closed datapath throws instead of using descriptors of others', () => {
    const datapath = world.restart();
    datapath[Symbol.dispose]();
    assert.throws(() => datapath.status(), /it is closed/);
    const [error] = datapath.services.update([row([{ address: '10.96.3.1', port: 80 }], [])]);
    assert.match(error?.message ?? '', /it is closed/);
  });
});
