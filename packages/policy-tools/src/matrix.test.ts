import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { judge } from '@heddle/policy';
import { pod, selector } from '@heddle/policy/testing/objects';
import fc from 'fast-check';
import { clusterOf } from '../testing/clusters.ts';
import { matrixCsv, matrixOf } from './matrix.ts';
import { allowedPorts, allowedText } from './ports.ts';

const base = [
  namespace('shop'),
  pod('shop/web-1', '10.1.0.1', { labels: 'app=web,pod-template-hash=1' }),
  pod('shop/web-2', '10.1.0.2', { labels: 'app=web,pod-template-hash=2' }),
  pod('shop/db', '10.1.0.3', { labels: 'app=db', ports: 'sql=5432' }),
];
const db = (...ports: object[]) =>
  networkPolicy('db', {
    ...{ namespace: 'shop', podSelector: selector('app=db') },
    ingress: [{ from: [{ podSelector: selector('app=web') }], ports }],
  });
const textOf = (...objects: unknown[]) =>
  allowedText(allowedPorts(clusterOf(...base, ...objects).world, '10.1.0.1', '10.1.0.3'));

test('allowed ports are written in the shortest way', () => {
  assert.equal(textOf(), 'all');
  assert.equal(textOf(networkPolicy('deny', { namespace: 'shop' })), 'none');
  assert.equal(
    textOf(db({ protocol: 'TCP', port: 'sql' }, { protocol: 'TCP', port: 5433 })),
    'TCP/5432-5433',
  );
  assert.equal(
    textOf(db({ protocol: 'UDP' }, { protocol: 'TCP', port: 1, endPort: 9 })),
    'TCP/1-9, UDP',
  );
  const deny = clusterNetworkPolicy('ssh', {
    ingress: [
      {
        ...{ action: 'Deny', from: [{ namespaces: {} }] },
        protocols: [{ tcp: { destinationPort: { number: 22 } } }],
      },
    ],
  });
  assert.equal(textOf(deny), 'all but TCP/22');
});

test('allowed ports are those that the judge allows', () => {
  const port = fc.integer({ min: 1, max: 12 });
  const ranges = fc.array(
    fc.record({
      protocol: fc.constantFrom('TCP', 'UDP'),
      port,
      length: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(ranges, (all) => {
      const ports = all.map(({ protocol, port, length }) => ({
        protocol,
        port,
        endPort: port + length,
      }));
      const { world } = clusterOf(...base, db(...ports));
      const [from, to] = ['10.1.0.1', '10.1.0.3'];
      const allowed = allowedPorts(world, from, to);
      for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
        for (const port of [...Array(20).keys(), 65534].map((each) => each + 1)) {
          const isIn = allowed.ranges.some(
            (range) => range.protocol === protocol && range.first <= port && port <= range.last,
          );
          assert.equal(
            isIn,
            judge(world, { from, to, protocol, port }).allowed,
            `${protocol}/${port}`,
          );
        }
      }
      assert.equal(allowed.other, false);
    }),
    { numRuns: 100, seed: 13 },
  );
});

test('a matrix has one line for pods with equal verdicts, and none for a pod with itself', () => {
  const { world } = clusterOf(...base, db({ protocol: 'TCP', port: 5432 }));
  const matrix = matrixOf(world, { protocol: 'TCP', port: 5432 }, () => true, 100)!;
  assert.deepEqual(
    matrix.groups.map(({ name, pods }) => `${name} ${pods.length}`),
    ['shop/db 1', 'shop/web 2'],
  );
  assert.deepEqual(
    matrix.cells.map(({ from, to, verdict }) => `${from} ${to} ${verdict}`),
    ['shop/db shop/web allowed', 'shop/web shop/db allowed', 'shop/web shop/web allowed'],
  );
  assert.equal(
    matrixOf(world, undefined, () => true, 3),
    undefined,
  );
  assert.deepEqual(matrixOf(world, undefined, (name) => name === 'lab', 3)?.cells, []);
  const [header, first] = matrixCsv(matrix).split('\r\n');
  assert.equal(header, 'from,to,protocol,port,verdict,egress,ingress');
  assert.match(
    first!,
    /^shop\/db,shop\/web,TCP,5432,allowed,"no NetworkPolicy isolates shop\/db for egress, and/,
  );
});

test('pods that a policy treats differently are in different groups, also by a hash or an address', () => {
  const names = (...objects: unknown[]) =>
    matrixOf(clusterOf(...base, ...objects).world, undefined, () => true, 100)!.groups.map(
      ({ name }) => name,
    );
  const allow = (from: object) =>
    networkPolicy('db', {
      namespace: 'shop',
      podSelector: selector('app=db'),
      ingress: [{ from: [from] }],
    });
  const each = ['shop/db', 'shop/web-1', 'shop/web-2'];
  assert.deepEqual(names(allow({ podSelector: selector('pod-template-hash=1') })), each);
  assert.deepEqual(names(allow({ ipBlock: { cidr: '10.1.0.1/32' } })), each);
});
