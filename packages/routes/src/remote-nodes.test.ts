import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NodeRecord, readObject } from '@heddle/objects';
import { node } from '@heddle/objects/testing/objects';
import { cidrContains, formatIp, parseCidr, parseIp } from '@heddle/sys';
import fc from 'fast-check';
import { type RemoteNode, RemoteNodes, type Routing, type Underlay } from './index.ts';

const link = { link: 2, device: 'eth0', isOnLink: true };
const dual: Underlay = {
  tunnel: 9,
  addresses: ['192.0.2.1', 'fd00:2::1'],
  routes: [
    { ...link, destination: '192.0.2.0/24' },
    { ...link, destination: 'fd00:2::/64' },
    { destination: '0.0.0.0/0', link: 2, device: 'eth0', isOnLink: false },
    { destination: '::/0', link: 2, device: 'eth0', isOnLink: false },
  ],
};
const own = node('n1', ['192.0.2.1', 'fd00:2::1'], undefined, {
  podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'],
});

function recordOf(object: unknown): NodeRecord {
  const read = readObject(object);
  assert.ok(read.kind === 'record' && read.record.kind === 'node');
  return read.record;
}

function rowsOf(
  objects: readonly unknown[],
  { routing = 'auto', underlay = dual }: { routing?: Routing; underlay?: Underlay } = {},
): RemoteNode[] {
  const nodes = new RemoteNodes({ nodeName: 'n1', routing, podCIDRs: [] });
  nodes.setUnderlay(underlay);
  const { upserted } = nodes.apply(
    objects.map((object) => ({ op: 'set', object: recordOf(object) })),
  );
  return [...upserted];
}

/** Returns the only other node's paths as text, and its problems. */
function pathsOf(row: RemoteNode | undefined): { paths: string[]; problems: readonly string[] } {
  const paths = row!.paths.map(({ family, mode, via = 'the network', link: index = 0 }) =>
    [family, mode, via, index].join(' '),
  );
  return { paths, problems: row!.problems };
}

const ranges = ['10.244.2.0/24', 'fd00:244:2::/64'];
const near = node('n2', ['192.0.2.2', 'fd00:2::2'], undefined, { podCIDRs: ranges });
const far = node('n2', ['198.51.100.2', 'fd00:3::2'], undefined, { podCIDRs: ranges });

test('a node on the same link is reached directly in both families', () => {
  const [row] = rowsOf([own, near]);
  assert.deepEqual(pathsOf(row), {
    paths: ['IPv4 direct 192.0.2.2 2', 'IPv6 direct fd00:2::2 2'],
    problems: [],
  });
  assert.deepEqual(row?.ranges, ranges);
  assert.equal(row?.paths[0]?.reason, '192.0.2.2 is on the link of eth0');
});

test('a node behind a router is reached through a tunnel between IPv4 addresses', () => {
  const [row] = rowsOf([own, far]);
  assert.deepEqual(pathsOf(row), {
    paths: ['IPv4 tunnel 198.51.100.2 9', 'IPv6 tunnel 198.51.100.2 9'],
    problems: [],
  });
  const [v4, v6] = row!.paths;
  assert.equal(v4?.reason, 'no IPv4 path without a router leads to 198.51.100.2 or fd00:3::2');
  assert.deepEqual([v4?.from, v4?.source], ['192.0.2.1', '10.244.1.1']);
  assert.deepEqual([v6?.from, v6?.source], ['192.0.2.1', 'fd00:244:1::1']);
});

test('a node that a longer route leads to by a router is not on-link', () => {
  const underlay = {
    ...dual,
    routes: [
      ...dual.routes,
      { destination: '192.0.2.2/32', link: 2, device: 'eth0', isOnLink: false },
    ],
  };
  const [row] = rowsOf([own, near], { underlay });
  assert.deepEqual(pathsOf(row).paths, ['IPv4 direct fd00:2::2 2', 'IPv6 direct fd00:2::2 2']);
});

test('native never tunnels, and tunnel always does', () => {
  assert.deepEqual(pathsOf(rowsOf([own, far], { routing: 'native' })[0]).paths, [
    'IPv4 direct the network 0',
    'IPv6 direct the network 0',
  ]);
  assert.deepEqual(pathsOf(rowsOf([own, near], { routing: 'native' })[0]).paths, [
    'IPv4 direct 192.0.2.2 2',
    'IPv6 direct fd00:2::2 2',
  ]);
  assert.deepEqual(pathsOf(rowsOf([own, near], { routing: 'tunnel' })[0]).paths, [
    'IPv4 tunnel 192.0.2.2 9',
    'IPv6 tunnel 192.0.2.2 9',
  ]);
});

test('IPv4 pods are reached by an IPv6 router, and IPv6 pods through a tunnel between IPv4 addresses', () => {
  const onlyV6 = node('n2', ['fd00:2::2'], undefined, { podCIDRs: ranges });
  assert.deepEqual(pathsOf(rowsOf([own, onlyV6])[0]).paths, [
    'IPv4 direct fd00:2::2 2',
    'IPv6 direct fd00:2::2 2',
  ]);
  const onlyV4 = node('n2', ['192.0.2.2'], undefined, { podCIDRs: ranges });
  assert.deepEqual(pathsOf(rowsOf([own, onlyV4])[0]).paths, [
    'IPv4 direct 192.0.2.2 2',
    'IPv6 tunnel 192.0.2.2 9',
  ]);
});

test('an underlay of IPv6 alone has tunnels between IPv6 addresses', () => {
  const underlay = { tunnel: 9, addresses: ['fd00:2::1'], routes: dual.routes.slice(1) };
  assert.deepEqual(pathsOf(rowsOf([own, far], { underlay })[0]).paths, [
    'IPv4 tunnel fd00:3::2 9',
    'IPv6 tunnel fd00:3::2 9',
  ]);
});

test('a node without a family in common with this one has no tunnel, and says so', () => {
  const underlay = { tunnel: 9, addresses: ['192.0.2.1'], routes: dual.routes.slice(0, 1) };
  const onlyV6 = node('n2', ['fd00:3::2'], undefined, { podCIDRs: ranges.slice(0, 1) });
  const { paths, problems } = pathsOf(rowsOf([own, onlyV6], { underlay })[0]);
  assert.deepEqual(paths, []);
  assert.deepEqual(problems, [
    'pods with IPv4 addresses: it is reached through a tunnel, and has no address of a family of this node (this node has 192.0.2.1, the other fd00:3::2)',
  ]);
});

test('nodes without ranges or addresses, and with an address of this node, have no path and say why', () => {
  const bare = node('n2', ['192.0.2.2']);
  const nameless = node('n3', [], undefined, { podCIDRs: ['10.244.3.0/24'] });
  const twin = node('n4', ['192.0.2.1'], undefined, { podCIDRs: ['10.244.4.0/24'] });
  assert.deepEqual(
    rowsOf([own, bare, nameless, twin]).map(({ key, ranges: usable, problems }) => ({
      ...{ key, usable, problems },
    })),
    [
      {
        ...{ key: 'n2', usable: [] },
        problems: ['the Node has no podCIDRs, so the addresses of its pods are unknown'],
      },
      { key: 'n3', usable: [], problems: ['the Node has no InternalIP and no ExternalIP'] },
      {
        ...{ key: 'n4', usable: [] },
        problems: ['the Node has the address 192.0.2.1, which is an address of this node'],
      },
    ],
  );
});

test('of overlapping ranges this node keeps its own, and the others go by name', () => {
  const wide = node('a', ['192.0.2.3'], undefined, { podCIDRs: ['10.245.0.0/16'] });
  const inner = node('b', ['192.0.2.4'], undefined, {
    podCIDRs: ['10.245.7.0/24', '10.246.0.0/24'],
  });
  const thief = node('c', ['192.0.2.5'], undefined, { podCIDRs: ['10.244.0.0/16'] });
  const rows = rowsOf([thief, inner, wide, own]);
  assert.deepEqual(
    rows.map(({ key, ranges: usable, problems }) => [key, usable, problems]),
    [
      ['a', ['10.245.0.0/16'], []],
      ['b', ['10.246.0.0/24'], ['range 10.245.7.0/24 overlaps a range of node a, which keeps it']],
      ['c', [], ['range 10.244.0.0/16 overlaps a range of node n1, which keeps it']],
    ],
  );
});

test('a range that has the address of a node is refused', () => {
  const rows = rowsOf([own, node('n2', ['192.0.2.2'], undefined, { podCIDRs: ['192.0.0.0/16'] })]);
  assert.deepEqual(rows[0]?.problems, ['range 192.0.0.0/16 has an address of node n1']);
});

test('a node that takes over the range of a removed one gets it', () => {
  const nodes = new RemoteNodes({ nodeName: 'n1', routing: 'auto', podCIDRs: [] });
  nodes.setUnderlay(dual);
  const set = (object: unknown) =>
    nodes.apply([{ op: 'set', object: recordOf(object) }]).upserted.map(({ key }) => key);
  assert.deepEqual(set(own), []);
  assert.deepEqual(set(near), ['n2']);
  const heir = node('n3', ['192.0.2.3'], undefined, { podCIDRs: ranges });
  assert.deepEqual(set(heir), ['n3']);
  const after = nodes.apply([{ op: 'delete', kind: 'node', namespace: '', name: 'n2' }]);
  assert.deepEqual(after.removed, ['n2']);
  assert.deepEqual(
    after.upserted.map(({ key, ranges: usable }) => [key, usable]),
    [['n3', ranges]],
  );
});

test('an invalid Node keeps its last good version, and one without any is a row with the reason', () => {
  const nodes = new RemoteNodes({ nodeName: 'n1', routing: 'auto', podCIDRs: [] });
  nodes.setUnderlay(dual);
  nodes.apply([own, near].map((object) => ({ op: 'set', object: recordOf(object) })));
  const invalid = (name: string) =>
    ({ op: 'invalid', kind: 'node', namespace: '', name, reason: 'Node: spec is bad' }) as const;
  const { upserted } = nodes.apply([invalid('n2'), invalid('n3')]);
  assert.deepEqual(
    upserted.map(({ key, ranges: usable, problems }) => [key, usable, problems]),
    [
      ['n2', ranges, ['Node: spec is bad']],
      ['n3', [], ['Node: spec is bad']],
    ],
  );
  const good = nodes.apply([{ op: 'set', object: recordOf(near) }]);
  assert.deepEqual(
    good.upserted.map(({ problems }) => problems),
    [[]],
  );
});

test('the annotation adds ranges, and what of it cannot be used is a problem', () => {
  const annotations = { 'heddle.io/pod-cidrs': '10.250.0.0/24, nonsense' };
  const more = node('n2', ['192.0.2.2'], undefined, { podCIDRs: ['10.244.2.0/24'], annotations });
  const [row] = rowsOf([own, more]);
  assert.deepEqual(row?.ranges, ['10.244.2.0/24', '10.250.0.0/24']);
  assert.match(row!.problems[0]!, /annotation heddle.io\/pod-cidrs has "nonsense"/);
});

/** Nodes in a space so small that addresses and ranges collide often. */
const anyNode = fc
  .record({
    name: fc.constantFrom('n1', 'a', 'b', 'c', 'd'),
    addresses: fc.uniqueArray(
      fc.constantFrom('192.0.2.1', '192.0.2.2', '198.51.100.2', 'fd00:2::2', 'fd00:3::2'),
      { maxLength: 3 },
    ),
    podCIDRs: fc.uniqueArray(
      fc.constantFrom(
        ...['10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '10.1.1.0/25', '10.2.0.0/16'],
        ...['fd00::/8', 'fd01::/32', 'fd01::/64', 'fd02::/64', '0.0.0.0/0', '::/0'],
      ),
      { maxLength: 3 },
    ),
  })
  .map(({ name, addresses, podCIDRs }) => node(name, addresses, undefined, { podCIDRs }));

const overlap = (left: string, right: string) => {
  const [a, b] = [parseCidr(left)!, parseCidr(right)!];
  if (left.includes(':') !== right.includes(':')) return false;
  return a.prefixLength < b.prefixLength ? cidrContains(a, b.address) : cidrContains(b, a.address);
};

test('rows depend only on the present nodes, and usable ranges neither overlap nor hold nodes', () => {
  fc.assert(
    fc.property(
      fc.array(anyNode, { maxLength: 12 }),
      fc.constantFrom<Routing>('auto', 'native', 'tunnel'),
      fc.infiniteStream(fc.nat()),
      (objects, routing, order) => {
        const last = new Map(objects.map((object) => [object.metadata.name, object]));
        const options = { nodeName: 'n1', routing, podCIDRs: [] };
        const once = rowsOf([...last.values()], { routing });
        const nodes = new RemoteNodes(options);
        const rows = new Map<string, RemoteNode>();
        const note = ({ upserted, removed }: ReturnType<RemoteNodes['setUnderlay']>) => {
          for (const key of removed) rows.delete(key);
          for (const row of upserted) rows.set(row.key, row);
        };
        const history = objects.map((object) => ({ object, at: order.next().value! % 100 }));
        history.sort((a, b) => a.at - b.at);
        for (const { object } of history) {
          note(nodes.apply([{ op: 'set', object: recordOf(object) }]));
        }
        note(nodes.setUnderlay(dual));
        for (const object of last.values()) {
          note(nodes.apply([{ op: 'set', object: recordOf(object) }]));
        }
        assert.deepEqual(
          [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
          once,
        );
        const used = once.flatMap((row) => row.ranges.map((range) => ({ range, key: row.key })));
        const mine = recordOfOwn(last.get('n1'));
        for (const [i, { range, key }] of used.entries()) {
          for (const other of used.slice(i + 1)) {
            assert.ok(key === other.key || !overlap(range, other.range), `${range} ${other.range}`);
          }
          assert.ok(!mine.some((each) => overlap(each, range)), range);
          assert.ok(!overlap(range, '192.0.2.1/32') && !overlap(range, 'fd00:2::1/128'));
        }
        for (const row of once) {
          assert.ok(row.ranges.length > 0 || row.problems.length > 0, 'no path without a reason');
          const present = new Set(row.ranges.map((range) => range.includes(':')));
          assert.equal(row.paths.length, present.size);
        }
      },
    ),
    { numRuns: 500 },
  );
});

function recordOfOwn(object: unknown): readonly string[] {
  return object === undefined ? [] : recordOf(object).podCIDRs;
}

test('RangeMap finds what a search of all ranges finds', async () => {
  const { RangeMap } = await import('./range-map.ts');
  const address = fc
    .tuple(fc.boolean(), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(([isV4, bytes]) => {
      const few = bytes.map((byte) => byte & 0x83);
      if (isV4) few.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
      return formatIp(few);
    });
  const range = fc
    .tuple(address, fc.nat(128))
    .map(([text, bits]) => `${text}/${text.includes(':') ? bits : bits % 33}`);
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), address, (all, wanted) => {
      const map = new RangeMap<string>();
      for (const each of all) map.set(each, each);
      const found = map.find(wanted);
      const lengths = all
        .filter((each) => each.includes(':') === wanted.includes(':'))
        .map((each) => parseCidr(each)!)
        .filter((each) => cidrContains(each, parseIp(wanted)!))
        .map(({ prefixLength }) => prefixLength);
      const best = lengths.length === 0 ? undefined : Math.max(...lengths);
      assert.equal(found === undefined ? undefined : parseCidr(found)!.prefixLength, best);
    }),
    { numRuns: 500 },
  );
});
