import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, pod, service, slice } from '@heddle/objects/testing/objects';
import { LimitedCluster } from '../testing/cluster.ts';

const day = (number: number) => `2026-01-${String(number).padStart(2, '0')}T00:00:00Z`;
const ports = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `p${i}`, port: 80 + i }));
let next = 0;
/** Returns a service with `count` ports, created on a day of January. */
const asking = (name: string, count: number, made: number, more: object = {}) => {
  next = (next + 1) % 250;
  const spec = { ports: ports(count), created: day(made), ...more };
  return service(name, `10.96.${next}.1`, spec);
};
/** Returns the number of frontends that each service has now, by name. */
const served = (cluster: LimitedCluster) => {
  const counts: Record<string, number> = {};
  for (const { name, frontends } of cluster.model.rows()) {
    counts[name] = (counts[name] ?? 0) + frontends.length;
  }
  return counts;
};
const reasons = (cluster: LimitedCluster, name: string) =>
  new Set([...cluster.model.rows()].filter((row) => row.name === name).map((r) => r.notAdmitted));

describe('admission of services by age, with at most 40 frontends', () => {
  test('all services are programmed below the limit', () => {
    const cluster = new LimitedCluster(40, asking('a', 10, 1), asking('b', 10, 2));
    assert.deepEqual(served(cluster), { a: 10, b: 10 });
    assert.deepEqual(reasons(cluster, 'a'), new Set([undefined]));
  });

  test('ports beyond a service’s share of a quarter are not programmed and have a reason', () => {
    const cluster = new LimitedCluster(
      40,
      asking('huge', 30, 1),
      asking('small', 2, 9),
      slice('huge', ['10.244.0.1'], { ports: [{ name: 'p29', port: 8080 }] }),
    );
    assert.deepEqual(served(cluster), { huge: 10, small: 2 });
    const last = cluster.row('default/huge:p29/TCP/IPv4');
    assert.deepEqual([last.frontends, last.backends], [[], []]);
    assert.equal(
      last.notAdmitted,
      'not programmed: one service may have 10 frontends, a quarter of sizes.servicesMax (40), and this one asks for more (use fewer ports or addresses, or raise sizes.servicesMax)',
    );
    cluster.apply(asking('huge', 9, 1));
    assert.deepEqual(served(cluster), { huge: 9, small: 2 });
    assert.deepEqual(reasons(cluster, 'huge'), new Set([undefined]));
  });

  test('a namespace gets at most half, its older services first, without effect on other namespaces', () => {
    const names = ['d', 'c', 'b', 'a'];
    const cluster = new LimitedCluster(
      40,
      ...names.map((name, i) => asking(name, 8, 9 - i, { namespace: 'team' })),
      asking('other', 8, 30, { namespace: 'quiet' }),
    );
    // Two services and half of a third: a service is programmed port by port.
    assert.deepEqual(served(cluster), { a: 8, b: 8, c: 4, d: 0, other: 8 });
    assert.match(
      [...reasons(cluster, 'd')].join(),
      /^not programmed: namespace team may have 20 frontends, half of sizes.servicesMax \(40\)/,
    );
    cluster.delete('service', 'team/a');
    assert.deepEqual(served(cluster), { b: 8, c: 8, d: 4, other: 8 });
  });

  test('beyond the limit the youngest services are not programmed, whatever the order of arrival', () => {
    const objects = [1, 2, 3, 4, 5, 6].map((made) =>
      asking(`s${made}`, 10, made, { namespace: `n${made}` }),
    );
    const expected = { s1: 10, s2: 10, s3: 10, s4: 10, s5: 0, s6: 0 };
    const forwards = new LimitedCluster(40, ...objects);
    assert.deepEqual(served(forwards), expected);
    const backwards = new LimitedCluster(40);
    for (const object of [...objects].reverse()) backwards.apply(object);
    assert.deepEqual(served(backwards), expected);
    assert.match(
      [...reasons(backwards, 's6')].join(),
      /^not programmed: older services use the 40/,
    );
    // Services of the same age are ordered by namespace and name; one without a timestamp comes
    // last.
    backwards.apply(
      asking('s0', 3, 4, { namespace: 'n0' }),
      asking('s7', 1, 1, { created: undefined }),
    );
    assert.deepEqual(served(backwards), { ...expected, s0: 3, s4: 7, s7: 0 });
    backwards.delete('service', 'n1/s1');
    assert.equal(served(backwards).s5, 7);
    assert.equal(served(backwards).s4, 10);
  });

  test('the rows that a traffic policy splits are programmed together or not at all', () => {
    const local = asking('local', 1, 2, {
      ...{ namespace: 'edge', type: 'LoadBalancer', externalTrafficPolicy: 'Local' },
      ...{ ports: [{ name: 'p0', port: 80, nodePort: 30080 }] },
      ingress: [{ ip: '203.0.113.1' }],
    });
    const rows = (cluster: LimitedCluster) =>
      cluster.keys.filter((key) => key.startsWith('edge/local')).map((key) => cluster.row(key));
    // There are five frontends for everybody or external clients, of which the first row has four.
    for (const [most, isWhole] of [
      [24, true],
      [20, false],
    ] as const) {
      const cluster = new LimitedCluster(most, asking('older', most / 4, 1), local);
      assert.equal(rows(cluster).length, 2);
      for (const { frontends, key } of rows(cluster)) {
        assert.equal(frontends.length > 0, isWhole, `${key} of ${most}`);
      }
    }
  });

  test('hostPorts of pods count towards the limit as services do', () => {
    const many = pod('many', '10.244.0.1', {
      ports: Array.from({ length: 10 }, (_, i) => ({ containerPort: 80 + i, hostPort: 8000 + i })),
      created: day(1),
    });
    // Each hostPort has a frontend at the node's address and one on loopback.
    const cluster = new LimitedCluster(40, many);
    assert.deepEqual(served(cluster), { 'pod/many': 10 });
    assert.match([...reasons(cluster, 'pod/many')].join(), /one pod may have 10 frontends/);
  });

  test('a refused service is programmed with its present endpoints once there is room', () => {
    const cluster = new LimitedCluster(
      4,
      asking('old', 1, 1, { namespace: 'a' }),
      asking('b1', 1, 2, { namespace: 'b' }),
      asking('b2', 1, 3, { namespace: 'b' }),
      asking('web', 1, 4, { namespace: 'c' }),
      asking('late', 1, 5, { namespace: 'd' }),
    );
    assert.equal(served(cluster).late, 0);
    const ready = { ports: [{ name: 'p0', port: 8080 }], namespace: 'd' };
    cluster.apply(slice('late', [endpoint('10.244.0.9', { ready: true })], ready));
    assert.deepEqual(cluster.active('d/late:p0/TCP/IPv4'), []);
    cluster.delete('service', 'a/old');
    assert.deepEqual(cluster.active('d/late:p0/TCP/IPv4'), ['10.244.0.9:8080']);
  });
});
