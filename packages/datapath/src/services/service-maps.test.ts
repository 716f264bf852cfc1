import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import fc from 'fast-check';
import { expectedView, fakeStore, viewOf } from '../../testing/fake-store.ts';
import { row, someRow } from '../../testing/rows.ts';
import { keyText } from '../core/keyed-map.ts';
import { graceNs } from './extents.ts';
import { ServiceMaps } from './service-maps.ts';

const none = new Uint8Array(0);

const clock = () => {
  let now = 0n;
  return () => (now += graceNs);
};

const web = (backends: number[], more: Partial<ServiceRow> = {}) =>
  row(
    [{ address: '10.96.0.1', port: 80 }],
    backends.map((n) => ({ address: `10.244.1.${n}`, port: 8080 })),
    more,
  );

test('a change writes a new slot range, and then the frontend', () => {
  const store = fakeStore();
  const maps = new ServiceMaps(store, { now: clock() });
  assert.deepEqual(maps.update([web([1, 2])]), [undefined]);
  assert.deepEqual(maps.update([web([2, 3])]), [undefined]);
  assert.deepEqual(viewOf(store), expectedView([web([2, 3])]));
  assert.equal(maps.size.slots, 2);
});

test('entries that are programmed already are not written again', () => {
  const store = fakeStore();
  const maps = new ServiceMaps(store, { now: clock() });
  maps.update([web([1, 2])]);
  const writes = store.services.writes;
  maps.update([web([1, 2])]);
  assert.equal(store.services.writes, writes);
});

test('a new agent adopts what is programmed without a write, and prunes what no row has', () => {
  const store = fakeStore();
  const other = row([{ address: '10.96.0.2', port: 80 }], [{ address: '10.244.1.9', port: 80 }]);
  new ServiceMaps(store, { now: clock() }).update([web([1, 2]), other]);
  const writes = store.services.writes;

  const next = new ServiceMaps(store, { now: clock() });
  next.update([web([1, 2])]);
  assert.equal(store.services.writes, writes);
  assert.equal(next.repaired, 0);
  assert.deepEqual(viewOf(store), expectedView([web([1, 2]), other]), 'nothing is pruned yet');
  next.prune([web([1, 2])]);
  assert.deepEqual(viewOf(store), expectedView([web([1, 2])]));
});

test('a row keeps what an earlier agent programmed for it until prune', () => {
  const store = fakeStore();
  const old = { address: '192.0.2.1', port: 30080 };
  const frontends = [{ address: '10.96.0.1', port: 80 }];
  const of = (numbers: number[], ...more: (typeof old)[]) =>
    row(
      [...frontends, ...more],
      numbers.map((n) => ({ address: `10.244.1.${n}`, port: 8080 })),
    );
  new ServiceMaps(store, { now: clock() }).update([of([1, 2, 4], old)]);

  const next = new ServiceMaps(store, { now: clock() });
  const writes = store.services.writes;
  assert.deepEqual(next.update([of([1])]), [undefined]);
  assert.deepEqual(viewOf(store), expectedView([of([1, 2, 4], old)]));
  assert.equal(store.services.writes, writes, 'what is programmed is not written again');
  assert.deepEqual(next.update([of([3, 4])]), [undefined]);
  assert.deepEqual(viewOf(store), expectedView([of([2, 3, 4], old)]), 'but 1 it had, and let go');
  next.prune([of([3, 4])]);
  assert.deepEqual(viewOf(store), expectedView([of([3, 4])]));
  assert.equal(next.size.slots, 2);
  assert.equal(next.repaired, 0);
});

test('a frontend that has moved to another row is not inherited by the one that had it', () => {
  const moved = { address: '192.0.2.1', port: 30080 };
  const of = (address: string, n: number, ...more: (typeof moved)[]) =>
    row([{ address, port: 80 }, ...more], [{ address: `10.244.1.${n}`, port: 8080 }]);
  const after = [of('10.96.0.2', 2, moved), of('10.96.0.1', 9)];
  for (const rows of [after, after.toReversed()]) {
    for (const batches of [[rows], rows.map((each) => [each])]) {
      const store = fakeStore();
      const before = [of('10.96.0.1', 1, moved), of('10.96.0.2', 2)];
      new ServiceMaps(store, { now: clock() }).update(before);
      const next = new ServiceMaps(store, { now: clock() });
      for (const batch of batches) next.update(batch);
      next.prune(rows);
      assert.deepEqual(viewOf(store), expectedView(rows));
    }
  }
});

test('a row that is removed before prune takes what it has inherited with it', () => {
  const store = fakeStore();
  new ServiceMaps(store, { now: clock() }).update([web([1, 2])]);
  const next = new ServiceMaps(store, { now: clock() });
  next.update([web([1])]);
  next.remove([web([1]).key]);
  next.prune([]);
  assert.deepEqual(viewOf(store), expectedView([]));
  assert.deepEqual([next.size.backends, next.size.slots], [0, 0]);
});

test('a row with an address that cannot be read fails alone and allocates nothing', () => {
  const store = fakeStore();
  const maps = new ServiceMaps(store, { now: clock() });
  const addresses = ['10.244.1.1', 'nowhere'];
  const bad = row(
    [{ address: '10.96.0.2', port: 80 }],
    addresses.map((address) => ({ address, port: 80 })),
  );
  const [failed, other] = maps.update([bad, web([1])]);
  assert.match(failed!.message, /read backend address nowhere: not an IP address/);
  assert.equal(other, undefined);
  assert.deepEqual(viewOf(store), expectedView([web([1])]));
  assert.deepEqual([maps.size.backends, maps.size.slots], [1, 1]);
});

test('a backend id that is used again has another generation', () => {
  const store = fakeStore({ services: 10, backends: 3, slots: 100 });
  const maps = new ServiceMaps(store, { now: clock() });
  maps.update([web([1, 2])]);
  maps.update([web([1])]);
  maps.update([web([1, 3])]);
  const generations = new Uint32Array(store.backendBytes.buffer).filter(
    (_, word) => word % 8 === 6,
  );
  assert.deepEqual([...generations].sort(), [0, 1, 2]);
});

test("a full map fails the row with the map's name and size; other rows stay programmed", () => {
  for (const [sizes, message] of [
    [
      { services: 1, backends: 100, slots: 100 },
      /write map services: full with 1 entries \(raise sizes.services\)/,
    ],
    [
      { services: 10, backends: 4, slots: 100 },
      /write map backends: full with 3 entries \(raise sizes.backends\)/,
    ],
    [
      { services: 10, backends: 100, slots: 3 },
      /write map slots: full with 3 entries \(raise sizes.slots\)/,
    ],
  ] as const) {
    const store = fakeStore(sizes);
    const maps = new ServiceMaps(store, { now: clock() });
    const second = row(
      [{ address: '10.96.0.2', port: 80 }],
      [1, 2].map((n) => ({ address: `10.244.2.${n}`, port: 8080 })),
    );
    const [first, failed] = maps.update([web([1, 2]), second]);
    assert.equal(first, undefined);
    assert.match(failed!.message, message);
    assert.deepEqual(viewOf(store), expectedView([web([1, 2])]));
    maps.remove([web([1, 2]).key]);
    assert.deepEqual(maps.update([second]), [undefined]);
    assert.deepEqual(viewOf(store), expectedView([second]));
  }
});

test('a frontend that moves to another service stays when the first service is removed', () => {
  const store = fakeStore();
  const maps = new ServiceMaps(store, { now: clock() });
  maps.update([web([1], { key: 'old' })]);
  maps.update([web([2], { key: 'new' })]);
  maps.remove(['old']);
  assert.deepEqual(viewOf(store), expectedView([web([2])]));
});

test('stale sockets are reported when backends are removed, and when a UDP service without backends gets some', () => {
  const stale: string[] = [];
  const maps = new ServiceMaps(fakeStore(), {
    now: clock(),
    onStaleSockets: (protocol) => stale.push(protocol),
  });
  const dns = row([{ address: '10.96.0.9', port: 53 }], [{ address: '10.244.1.1', port: 53 }], {
    protocol: 'UDP',
  });
  maps.update([web([1]), { ...dns, backends: [] }]);
  assert.deepEqual(stale.splice(0), []);
  maps.update([dns]);
  assert.deepEqual(stale.splice(0), ['UDP']);
  maps.update([web([2])]);
  assert.deepEqual(stale.splice(0), ['TCP']);
  maps.remove([dns.key]);
  assert.deepEqual(stale.splice(0), ['UDP']);
});

const stepArb = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('update' as const),
      rows: fc.array(someRow(), { maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('restart' as const),
      damage: fc.array(fc.nat(), { maxLength: 6 }),
    }),
  },
);

test('after any updates, removals and restarts on damaged maps, the kernel has exactly the rows', () => {
  fc.assert(
    fc.property(fc.array(stepArb, { maxLength: 30 }), (steps) => {
      const store = fakeStore({ services: 100, backends: 200, slots: 400 });
      const now = clock();
      let maps = new ServiceMaps(store, { now });
      const wanted = new Map<string, ServiceRow>();
      for (const step of steps) {
        if (step.do === 'update') {
          const rows = [...new Map(step.rows.map((each) => [each.key, each])).values()];
          for (const each of rows) wanted.set(each.key, each);
          assert.ok(maps.update(rows).every((error) => error === undefined));
        } else if (step.do === 'remove') {
          const key = [...wanted.keys()][step.pick % (wanted.size || 1)];
          if (key !== undefined) {
            wanted.delete(key);
            maps.remove([key]);
          }
        } else {
          for (const at of step.damage) damage(store, at);
          maps = new ServiceMaps(store, { now });
          assert.ok(maps.update([...wanted.values()]).every((error) => error === undefined));
          maps.prune(wanted.values());
        }
        assert.deepEqual(viewOf(store), expectedView(wanted.values()));
      }
    }),
    { numRuns: 150 },
  );
});

/** Checks after each write that frontends have their old backends or those of `rows`. */
function watchWrites(store: ReturnType<typeof fakeStore>, rows: readonly ServiceRow[]): void {
  const before = viewOf(store).frontends;
  const after = expectedView(rows).frontends;
  store.services.onWrite = () => {
    for (const [name, found] of Object.entries(viewOf(store).frontends)) {
      const either = [before[name], after[name]].map((each) => JSON.stringify(each));
      assert.ok(either.includes(JSON.stringify(found)), name);
    }
  };
}

const unlike = (rows: readonly ServiceRow[]) => [
  ...new Map(rows.map((each) => [each.key, each])).values(),
];
const someRows = fc.array(someRow(), { maxLength: 3 }).map(unlike);

test('a row whose write fails keeps what was programmed, and what it had allocated is free again', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ rows: someRows, failing: fc.nat({ max: 9 }) }), { maxLength: 12 }),
      (steps) => {
        const store = fakeStore({ services: 100, backends: 200, slots: 400 });
        const maps = new ServiceMaps(store, { now: clock() });
        const programmed = new Map<string, ServiceRow>();
        for (const { rows, failing } of steps) {
          const before = new Map(store.services.content);
          // A port cannot be written, but with the value that it had.
          store.services.fails = (_, key, value) =>
            key.charCodeAt(16) % 10 === failing &&
            keyText(value) !== keyText(before.get(key) ?? none);
          watchWrites(store, rows);
          const errors = maps.update(rows);
          rows.forEach((each, i) => {
            if (!errors[i]) programmed.set(each.key, each);
          });
          assert.deepEqual(viewOf(store), expectedView(programmed.values()));
        }
        store.services.onWrite = () => {};
        maps.remove([...programmed.keys()]);
        assert.deepEqual(viewOf(store), expectedView([]));
        assert.deepEqual(maps.size, { services: 0, backends: 0, slots: 0, addresses: 0 });
      },
    ),
    { numRuns: 300 },
  );
});

test('when writing back fails too, a frontend has its old or new backends until the next update', () => {
  const failing = fc.uniqueArray(fc.nat({ max: 12 }), { maxLength: 4 });
  fc.assert(
    fc.property(fc.array(fc.record({ rows: someRows, failing }), { maxLength: 12 }), (steps) => {
      const store = fakeStore({ services: 100, backends: 200, slots: 400 });
      const maps = new ServiceMaps(store, { now: clock() });
      const programmed = new Map<string, ServiceRow>();
      for (const { rows, failing } of steps) {
        let first: number | undefined;
        store.services.fails = (number) => {
          first ??= number;
          return failing.includes(number - first);
        };
        watchWrites(store, rows);
        maps.update(rows);
        store.services.fails = () => false;
        assert.ok(maps.update(rows).every((error) => error === undefined));
        for (const each of rows) programmed.set(each.key, each);
        assert.deepEqual(viewOf(store), expectedView(programmed.values()));
      }
      store.services.onWrite = () => {};
      maps.remove([...programmed.keys()]);
      assert.deepEqual(maps.size, { services: 0, backends: 0, slots: 0, addresses: 0 });
    }),
    { numRuns: 300 },
  );
});

function damage(store: ReturnType<typeof fakeStore>, at: number): void {
  const flip = (bytes: Uint8Array) => {
    bytes[at % bytes.length]! ^= 1 << (at % 7);
  };
  const entry = [...store.services.content.entries()][at % (store.services.content.size || 1)];
  const address = [...store.addresses.content.keys()][at % (store.addresses.content.size || 1)];
  if (at % 5 === 0 && entry) store.services.content.delete(entry[0]);
  else if (at % 5 === 1 && entry) flip(entry[1]);
  else if (at % 5 === 2) flip(store.slotBytes.subarray(0, 80));
  else if (at % 5 === 3) flip(store.backendBytes.subarray(0, 640));
  else if (address) store.addresses.content.delete(address);
}

test('dropFrontend deletes what an earlier agent programmed at an address and port of TCP, but no ClusterIP', () => {
  for (const [address, other, any] of [
    ['198.51.100.10', '198.51.100.11', '0.0.0.0'],
    ['fd00:51::10', 'fd00:51::11', '::'],
  ] as const) {
    const loopback = any === '::' ? '::1' : '127.0.0.1';
    const kind = 'ExternalIP' as const;
    const backends = [{ address: any === '::' ? 'fd00:244::1' : '10.244.1.1', port: 8080 }];
    const grabbing = row([{ address, port: 6443, kind }], backends, { key: 'default/a:1/TCP/x' });
    const outside = row([{ address, port: 6443, kind }], backends, {
      ...{ key: 'default/a:1/TCP/x/outside', scope: 'outside' },
    });
    const left = [
      row([{ address, port: 443, kind }], backends, { key: 'default/b:1/TCP/x' }),
      row([{ address, port: 6443, kind }], backends, { key: 'default/c:1/UDP/x', protocol: 'UDP' }),
      row([{ address: other, port: 6443 }], backends, { key: 'default/d:1/TCP/x' }),
    ];
    const wide = row([{ address: any, port: 6444, kind: 'HostPort' }], backends, {
      key: 'default/e:1/TCP/x',
    });
    const store = fakeStore();
    new ServiceMaps(store, { now: clock() }).update([grabbing, outside, ...left, wide]);

    const next = new ServiceMaps(store, { now: clock() });
    next.dropFrontend(address, 6443);
    next.dropFrontend(other, 6443);
    next.dropFrontend(loopback, 6444);
    next.dropFrontend(address, 1);
    // The rows come without what they were refused.
    const refused = [grabbing, outside, wide].map((each) => ({ ...each, frontends: [] }));
    assert.deepEqual(new Set(next.update([...refused, ...left])), new Set([undefined]));
    next.prune([...refused, ...left]);
    assert.deepEqual(viewOf(store).frontends, expectedView(left).frontends);
  }
});

test('a frontend deleted by dropFrontend is not inherited', () => {
  const store = fakeStore();
  const kind = 'ExternalIP' as const;
  const own = { address: '10.96.0.1', port: 80 };
  const grabbed = { address: '198.51.100.10', port: 6443, kind };
  const of = (...frontends: (typeof own)[]) =>
    row(frontends, [{ address: '10.244.1.1', port: 8080 }], { key: 'default/a:1/TCP/IPv4' });
  new ServiceMaps(store, { now: clock() }).update([of(own, grabbed)]);
  const next = new ServiceMaps(store, { now: clock() });
  next.dropFrontend(grabbed.address, grabbed.port);
  next.update([of(own)]);
  assert.deepEqual(viewOf(store).frontends, expectedView([of(own)]).frontends);
});

test('the map of frontends grows before it is full, and a failure is reported and tried again later', () => {
  const store = fakeStore({ services: 8, backends: 100, slots: 100 });
  let now = 0n;
  const asked: number[] = [];
  let hasMemory = false;
  const maps = new ServiceMaps(store, {
    now: () => now,
    makeRoom: (entries) => {
      asked.push(entries);
      if (!hasMemory) throw new Error('no memory');
      store.services.info.maxEntries = 16;
    },
  });
  const numbered = (n: number) =>
    row([{ address: `10.96.0.${n}`, port: 80 }], [{ address: `10.244.1.${n}`, port: 8080 }]);
  const add = (...numbers: number[]) => maps.update(numbers.map(numbered));
  assert.deepEqual(new Set(add(1, 2, 3, 4, 5, 6, 7)), new Set([undefined]));
  assert.deepEqual(asked, []);
  assert.deepEqual(add(8), [undefined], 'what fits is written although there is no larger map');
  assert.deepEqual(asked, [8]);
  assert.equal(
    add(9)[0]!.message,
    'write map services: full with 8 entries (raise sizes.servicesMax); making it larger failed: no memory',
  );
  assert.deepEqual(asked, [8], 'it is not tried again at once');
  assert.equal(maps.growthProblem, 'no memory');

  now += 61_000_000_000n;
  hasMemory = true;
  assert.deepEqual(add(9, 10), [undefined, undefined]);
  assert.deepEqual(asked, [8, 10]);
  assert.equal(maps.growthProblem, undefined);
  assert.equal(maps.size.services, 10);
});
