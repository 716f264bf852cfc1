import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ObjectChange, objectLabel, type ServiceInput } from '@heddle/objects';
import { endpoint, node, pod, service, slice } from '@heddle/objects/testing/objects';
import { changeOf, recordOf } from '@heddle/objects/testing/records';
import fc from 'fast-check';
import { ModelCluster } from '../testing/cluster.ts';
import type { ServiceRow } from './rows.ts';
import { ServiceModel } from './service-model.ts';

test('apply returns the rows that a change changed and no others', () => {
  const cluster = new ModelCluster();
  for (let i = 1; i <= 20; i++) {
    cluster.apply(service(`s${i}`, `10.96.0.${i}`), slice(`s${i}`, [`10.244.0.${i}`]));
  }
  const { upserted, removed } = cluster.apply(slice('s7', ['10.244.0.7', '10.244.1.7']));
  assert.deepEqual(
    upserted.map(({ key }) => key),
    ['default/s7:80/TCP/IPv4'],
  );
  assert.deepEqual(removed, []);
});

test('apply returns no rows for a change without effect on rows', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  const same = [
    service('web', '10.96.0.1', { labels: { team: 'shop' }, selector: { app: 'web' } }),
    slice('web', [endpoint('10.244.0.1', { node: 'elsewhere' })]),
    node('elsewhere', ['192.0.2.9']),
    slice('nobody', ['10.244.0.9']),
  ];
  assert.deepEqual(cluster.apply(...same), { upserted: [], removed: [] });
});

test('apply returns one change of a row for several changes of one object', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'));
  const { upserted } = cluster.apply(
    slice('web', ['10.244.0.1']),
    slice('web', ['10.244.0.2']),
    slice('web', ['10.244.0.3']),
  );
  assert.equal(upserted.length, 1);
  assert.deepEqual(cluster.active('web'), ['10.244.0.3:8080']);
});

test('a deleted service removes its rows once', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  assert.deepEqual(cluster.delete('service', 'default/web').removed, ['default/web:80/TCP/IPv4']);
  assert.deepEqual(cluster.delete('service', 'default/web'), { upserted: [], removed: [] });
  cluster.apply(service('web', '10.96.0.1'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080'], 'its slices were still there');
});

test('a renamed port removes its row and adds another', () => {
  const named = (name: string) => service('web', '10.96.0.1', { ports: [{ name, port: 80 }] });
  const cluster = new ModelCluster(named('http'));
  const { upserted, removed } = cluster.apply(named('web'));
  assert.deepEqual(
    upserted.map(({ key }) => key),
    ['default/web:web/TCP/IPv4'],
  );
  assert.deepEqual(removed, ['default/web:http/TCP/IPv4']);
});

test('the last good version of an object that became invalid keeps its row', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  const broken = slice('web', ['10.244.0.1', '10.244.0.x']);
  assert.deepEqual(cluster.apply(broken, service('shop', 'nonsense')), {
    upserted: [],
    removed: [],
  });
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(
    [...cluster.model.problems.keys()],
    ['EndpointSlice default/web-1', 'Service default/shop'],
  );
  assert.equal(
    cluster.model.problems.get('EndpointSlice default/web-1')?.reason,
    'EndpointSlice default/web-1: endpoints[1].addresses[0] is "10.244.0.x": must be an IP address',
  );

  cluster.apply(slice('web', ['10.244.0.2']));
  cluster.delete('service', 'default/shop');
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080']);
  assert.equal(cluster.model.problems.size, 0);
});

// Few names and addresses, so that objects conflict often.
const name = fc.constantFrom('a', 'b', 'c');
const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const someService = fc
  .record({
    name,
    clusterIPs: fc.constantFrom(
      ['10.96.0.1'],
      ['10.96.0.2'],
      ['10.96.0.3', 'fd00:96::3'],
      ['fd00:96::4'],
      ['None'],
    ),
    more: fc.record({
      created: maybe(fc.constantFrom('2020-01-01T00:00:00Z', '2021-01-01T00:00:00Z')),
      type: fc.constantFrom('NodePort', 'LoadBalancer', 'ExternalName'),
      ports: fc.constantFrom(
        [{ port: 80, nodePort: 30080 }],
        [{ port: 80, protocol: 'UDP' }],
        [
          { name: 'x', port: 80, nodePort: 30081 },
          { name: 'y', port: 81, nodePort: 30080 },
        ],
      ),
      externalIPs: fc.uniqueArray(fc.oneof(address, fc.constant('10.96.0.1')), { maxLength: 2 }),
      ingress: fc.uniqueArray(
        address.map((ip) => ({ ip })),
        { maxLength: 1 },
      ),
      internalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
      externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
      publishNotReadyAddresses: maybe(fc.boolean()),
      sessionAffinity: maybe(fc.constantFrom('None', 'ClientIP')),
      labels: maybe(fc.constantFrom({}, { 'service.kubernetes.io/service-proxy-name': 'x' })),
      annotations: maybe(
        fc.constantFrom(
          { 'heddle.io/weights': '10.0.0.1=5,wrong' },
          { 'heddle.io/algorithm': '?' },
          { 'heddle.io/forwarding': 'dsr' },
          { 'heddle.io/forwarding': 'hybrid' },
        ),
      ),
    }),
  })
  .map(({ name, clusterIPs, more }) => service(name, clusterIPs, more));
const someEndpoint = fc
  .record({
    address,
    // Mostly ready, because hints apply only if all endpoints have one.
    conditions: fc.oneof(
      { weight: 5, arbitrary: fc.constant({}) },
      {
        weight: 2,
        arbitrary: fc.record({
          ready: fc.boolean(),
          serving: fc.boolean(),
          terminating: fc.boolean(),
        }),
      },
    ),
    where: fc.record({
      node: maybe(fc.constantFrom('here', 'elsewhere')),
      zones: fc.constantFrom(['a'], ['b'], ['a', 'b'], undefined),
    }),
  })
  .map(({ address, conditions, where }) => endpoint(address, { ...conditions, ...where }));
const someSlice = fc
  .record({
    service: name,
    name: fc.constantFrom('s1', 's2', 's3'),
    endpoints: fc.array(someEndpoint, { maxLength: 3 }),
    ports: fc.constantFrom(
      [{ port: 8080 }],
      [{ port: 8080 }, { port: 8080, protocol: 'UDP' }],
      [
        { name: 'x', port: 1 },
        { name: 'y', port: 2 },
      ],
    ),
  })
  .map(({ service, name, endpoints, ports }) =>
    slice(service, endpoints, { name, ports, addressType: 'IPv4' }),
  );
const someNode = fc
  .record({
    name: fc.constantFrom('here', 'elsewhere'),
    addresses: fc.uniqueArray(address, { maxLength: 2 }),
    zone: maybe(fc.constantFrom('a', 'b')),
  })
  .map(({ name, addresses, zone }) => node(name, addresses, zone));

const somePod = fc
  .record({
    name,
    ips: fc.constantFrom(['10.0.0.2'], ['10.0.0.3', 'fd00:244::3']),
    more: fc.record({
      created: maybe(fc.constantFrom('2020-01-01T00:00:00Z', '2021-01-01T00:00:00Z')),
      deleted: maybe(fc.constant('2021-06-01T00:00:00Z')),
      node: fc.constantFrom('here', 'here', 'elsewhere'),
      ports: fc.array(
        fc.record({
          containerPort: fc.constantFrom(8080, 9090),
          hostPort: fc.constantFrom(80, 30080, 30081),
          protocol: fc.constantFrom('TCP', 'UDP'),
          hostIP: fc.constantFrom('', '0.0.0.0', '::', '10.0.0.1', '127.0.0.1', '127.0.0.2', '::1'),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  })
  .map(({ name, ips, more }) => pod(name, ips, more));

type Step =
  | { readonly set: ObjectChange<ServiceInput> & { op: 'set' } }
  | { readonly remove: number }
  | { readonly own: readonly string[]; readonly ranges: readonly string[] | undefined };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .oneof(someService, someSlice, someNode, somePod)
      .map((object) => ({ set: { op: 'set' as const, object: recordOf(object) } })),
  },
  { weight: 3, arbitrary: fc.nat(20).map((remove) => ({ remove })) },
  {
    weight: 1,
    arbitrary: fc.record({
      own: fc.uniqueArray(address, { maxLength: 2 }),
      ranges: maybe(fc.constantFrom([], ['10.0.0.0/31'], ['10.0.0.3/32', '::/0'])),
    }),
  },
);

test('rows depend only on the present objects, not on their order of arrival', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 20, size: 'max' }),
      fc.infiniteStream(fc.double({ noNaN: true })),
      (batches, order) => {
        const cluster = new ModelCluster();
        const objects = new Map<string, ObjectChange<ServiceInput>>();
        let own: readonly string[] = [];
        let ranges: readonly string[] | undefined;
        const rows = new Map<string, ServiceRow>();
        const follow = ({ upserted, removed }: ReturnType<ServiceModel['apply']>) => {
          for (const key of removed) assert.ok(rows.delete(key), `${key} was there`);
          for (const row of upserted) {
            assert.notDeepEqual(rows.get(row.key), row);
            rows.set(row.key, row);
          }
        };
        const { model } = cluster;
        follow(model.setOwnAddresses(own));
        for (const batch of batches) {
          const changes: ObjectChange<ServiceInput>[] = [];
          for (const each of batch) {
            if ('own' in each) {
              ({ own, ranges } = each);
              follow(model.setOwnAddresses(own, ranges));
            } else if ('set' in each) {
              objects.set(objectLabel(each.set.object), each.set);
              changes.push(each.set);
            } else {
              const label = [...objects.keys()][each.remove];
              const change = label === undefined ? undefined : objects.get(label);
              if (change?.op !== 'set') continue;
              objects.delete(label!);
              const { kind, namespace, name } = change.object;
              changes.push({ op: 'delete', kind, namespace, name });
            }
          }
          follow(model.apply(changes));
        }
        const fresh = new ServiceModel({
          nodeName: 'here',
          ownAddresses: own,
          nodePortRanges: ranges,
        });
        const shuffled = [...objects.values()]
          .map((change) => ({ change, place: order.next().value as number }))
          .sort((a, b) => a.place - b.place);
        for (const { change } of shuffled) fresh.apply([change]);
        const sorted = (some: Iterable<ServiceRow>) =>
          [...some].sort((a, b) => (a.key < b.key ? -1 : 1));
        assert.deepEqual(sorted(rows.values()), sorted(fresh.rows()));
        assert.deepEqual(sorted(model.rows()), sorted(fresh.rows()));
        assert.deepEqual(model.tunnelEnds, fresh.tunnelEnds);
      },
    ),
    { numRuns: 300 },
  );
});

test('no two rows have the same frontend for the same clients', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(someService, someSlice, someNode, somePod)), (objects) => {
      const model = new ServiceModel({ nodeName: 'here', ownAddresses: ['10.0.0.1'] });
      model.apply(objects.map(changeOf));
      const taken = new Map<string, string>();
      for (const { key, frontends, scope } of model.rows()) {
        for (const { address, port, protocol } of frontends) {
          const frontend = `${scope} ${address} ${port} ${protocol}`;
          assert.equal(taken.get(frontend), undefined, `${key} and ${taken.get(frontend)}`);
          taken.set(frontend, key);
        }
      }
    }),
    { numRuns: 150 },
  );
});

test('problemOf returns the problem of a service or of its slices', () => {
  const model = new ServiceModel({ nodeName: '', ownAddresses: [] });
  const invalid = (kind: 'service' | 'slice', name: string, service?: string) =>
    model.apply([
      {
        op: 'invalid',
        kind,
        namespace: 'default',
        name,
        reason: name,
        ...(service ? { service } : {}),
      },
    ]);
  const problem = () => model.problemOf('default/web')?.name;
  invalid('slice', 'web-1', 'web');
  invalid('slice', 'other-1', 'other');
  assert.equal(problem(), 'web-1');
  invalid('service', 'web');
  assert.equal(problem(), 'web', 'its own comes first');
  model.apply([{ op: 'delete', kind: 'service', namespace: 'default', name: 'web' }]);
  invalid('slice', 'web-1', 'other');
  assert.equal(problem(), undefined, 'the slice went to another service');
  model.apply([{ op: 'delete', kind: 'slice', namespace: 'default', name: 'web-1' }]);
  assert.deepEqual([...model.problems.keys()], ['EndpointSlice default/other-1']);
});

test('an invalid slice without its label is a problem of its previous service', () => {
  const model = new ServiceModel({ nodeName: '', ownAddresses: [] });
  const ref = { kind: 'slice', namespace: 'default', name: 'web-1' } as const;
  const record = { ...ref, service: 'web', family: 'IPv4', ports: [], endpoints: [] } as const;
  model.apply([{ op: 'set', object: record }]);
  model.apply([{ op: 'invalid', ...ref, reason: 'endpoints is 3: must be a list' }]);
  assert.equal(model.problemOf('default/web')?.reason, 'endpoints is 3: must be a list');
});
