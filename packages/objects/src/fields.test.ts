import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { endpoint, node, pod, service, slice } from '../testing/objects.ts';
import { type Fields, nodeFields, podFields, serviceFields, sliceFields } from './fields.ts';
import { readObject } from './kinds.ts';

function prune(value: unknown, fields: Fields): unknown {
  if (fields === true || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => prune(item, fields));
  const kept = Object.entries(value).filter(([key]) => Object.hasOwn(fields, key));
  return Object.fromEntries(kept.map(([key, inner]) => [key, prune(inner, fields[key]!)]));
}

const perhaps = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const flag = perhaps(fc.boolean());
const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '192.0.2.7', 'none of the kind');
const labels = fc.dictionary(
  fc.constantFrom('service.kubernetes.io/service-proxy-name', 'app', 'helm.sh/chart'),
  fc.constantFrom('a', 'b'),
);
const annotations = fc.dictionary(
  fc.constantFrom('heddle.io/algorithm', 'heddle.io/weights', 'description'),
  fc.constantFrom('maglev', '10.0.0.1=5', 'x'),
);

const services = fc.record(
  {
    labels,
    annotations,
    namespace: fc.constantFrom('default', 'shop', 'Bad'),
    created: fc.constantFrom('2024-05-06T07:08:09Z', 'soon'),
    type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName', 'Other'),
    ports: fc.array(
      fc.record({ name: fc.constantFrom('a', 'b'), port: fc.integer({ min: 0, max: 9 }) }),
    ),
    externalIPs: fc.array(address),
    loadBalancerSourceRanges: fc.constantFrom(['192.0.2.0/24'], ['fd00::/8', 'x']),
    sessionAffinity: fc.constantFrom('None', 'ClientIP'),
    sessionAffinityConfig: fc.constant({ clientIP: { timeoutSeconds: 7 } }),
    internalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    publishNotReadyAddresses: fc.boolean(),
    healthCheckNodePort: fc.constantFrom(0, 31000),
    selector: fc.constant({ app: 'x' }),
    ingress: fc.array(fc.record({ ip: address, ipMode: fc.constantFrom('VIP', 'Proxy') })),
  },
  { requiredKeys: [] },
);

const endpoints = fc
  .record({ ready: flag, serving: flag, terminating: flag, node: perhaps(fc.constant('n')) })
  .map((more) => endpoint('10.0.0.1', { ...more, pod: 'p', zones: ['z'], nodes: ['m'] }));

const ports = fc.array(
  fc.record(
    {
      name: fc.constant('x'),
      protocol: fc.constantFrom('TCP', 'UDP'),
      containerPort: fc.constantFrom(80, 90),
      hostPort: fc.constantFrom(0, 80),
      hostIP: address,
    },
    { requiredKeys: ['containerPort'] },
  ),
);
const pods = fc.record(
  {
    ports,
    created: fc.constantFrom('2024-05-06T07:08:09Z', 'soon'),
    deleted: fc.constant('2024-05-06T07:08:09Z'),
    node: fc.constantFrom('here', ''),
    phase: fc.constantFrom('Pending', 'Running', 'Failed'),
    hostNetwork: fc.boolean(),
    initContainers: fc.array(
      fc.record({ ports, image: fc.constant('x'), restartPolicy: fc.constantFrom('Always', null) }),
    ),
    volumes: fc.constant([{ name: 'x' }]),
  },
  { requiredKeys: [] },
);

test('an object reads the same when the fields that no schema selects are removed', () => {
  const check = (object: object, fields: Fields) => {
    const noisy = { ...object, managedFields: 1, spec2: { type: 'x' } };
    assert.deepEqual(readObject(prune(noisy, fields)), readObject(object));
  };
  const addresses = fc.constantFrom<string | string[]>('10.96.0.1', 'None', ['10.96.0.1', 'fd::1']);
  fc.assert(
    fc.property(services, addresses, (more, clusterIP) => {
      check(service('web', clusterIP, more), serviceFields);
    }),
  );
  fc.assert(fc.property(fc.array(endpoints), (list) => check(slice('web', list), sliceFields)));
  check(node('worker-1', ['192.0.2.1'], 'z1'), nodeFields);
  fc.assert(fc.property(pods, (more) => check(pod('web', ['10.0.0.1', 'fd::1'], more), podFields)));
});

test('the schema selects only the labels that a reader uses', () => {
  const { metadata } = sliceFields as { readonly [name: string]: Fields };
  const { labels, managedFields } = metadata as { readonly [name: string]: Fields };
  assert.ok(typeof labels === 'object' && labels['kubernetes.io/service-name'] === true);
  assert.equal(managedFields, undefined);
});
