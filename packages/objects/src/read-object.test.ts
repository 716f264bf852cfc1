import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { endpoint, node, pod, service, slice, typedNode } from '../testing/objects.ts';
import { recordOf } from '../testing/records.ts';
import { readObject, readObjects } from './kinds.ts';
import type { NodeRecord, PodRecord } from './records.ts';

function reasonOf(object: unknown): string {
  const read = readObject(object);
  assert.equal(read.kind, 'invalid');
  return read.kind === 'invalid' ? read.reason : '';
}

function noteOf(object: unknown): string {
  const read = readObject(object);
  assert.equal(read.kind, 'ignored');
  return read.kind === 'ignored' ? read.note : '';
}

test('a Service is read into a record with the fields that rows depend on', () => {
  const object = service('web', ['10.96.0.1', 'fd00:96::1'], {
    type: 'NodePort',
    created: '2024-05-06T07:08:09Z',
    ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'web', nodePort: 30080 }],
    selector: { app: 'web' },
    sessionAffinity: 'ClientIP',
  });
  assert.deepEqual(recordOf(object), {
    kind: 'service',
    namespace: 'default',
    name: 'web',
    createdMs: Date.UTC(2024, 4, 6, 7, 8, 9),
    type: 'NodePort',
    clusterIPs: ['10.96.0.1', 'fd00:96::1'],
    proxyName: undefined,
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 }],
    externalIPs: [],
    sourceRanges: [],
    loadBalancerIPs: [],
    affinitySeconds: 10800,
    internalLocal: false,
    externalLocal: false,
    healthCheckPort: 0,
    publishNotReady: false,
    algorithm: 'random',
    forwarding: undefined,
    weights: undefined,
    problems: [],
  });
});

test('an EndpointSlice is read into a record of its ports and endpoints', () => {
  const object = slice('web', [
    endpoint('10.244.0.1', { node: 'here', pod: 'web-0', zones: ['a'], nodes: ['here'] }),
    endpoint('10.244.0.2', { ready: false, serving: true, terminating: true }),
  ]);
  assert.deepEqual(recordOf(object), {
    kind: 'slice',
    namespace: 'default',
    name: 'web-1',
    service: 'web',
    family: 'IPv4',
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
    endpoints: [
      {
        address: '10.244.0.1',
        ready: true,
        serving: true,
        terminating: false,
        nodeName: 'here',
        target: 'web-0',
        zoneHints: ['a'],
        nodeHints: ['here'],
      },
      {
        address: '10.244.0.2',
        ready: false,
        serving: true,
        terminating: true,
        nodeName: '',
        target: '',
        zoneHints: [],
        nodeHints: [],
      },
    ],
  });
});

test('a Node is read into a record of its zone and IP addresses', () => {
  assert.deepEqual(recordOf(node('worker', ['192.0.2.1', 'FD00::1'], 'zone-a')), {
    kind: 'node',
    namespace: '',
    name: 'worker',
    zone: 'zone-a',
    labels: ['topology.kubernetes.io/zone', 'zone-a'],
    addresses: ['192.0.2.1', 'fd00::1'],
    nodeIPs: ['192.0.2.1', 'fd00::1'],
    podCIDRs: [],
    problems: [],
    leaving: false,
  });
});

test('a Node has the ranges of spec.podCIDRs and of the annotation, without duplicates', () => {
  const annotations = { 'heddle.io/pod-cidrs': '10.245.1.0/24,10.244.1.7/24' };
  const podCIDRs = ['10.244.1.0/24', 'FD00:244::/64'];
  const record = (spec: object, more: object = {}) =>
    recordOf({ ...node('worker', [], undefined, more), spec }) as NodeRecord;
  assert.deepEqual(record({ podCIDR: podCIDRs[0], podCIDRs }, { annotations }).podCIDRs, [
    '10.244.1.0/24',
    'fd00:244::/64',
    '10.245.1.0/24',
  ]);
  assert.deepEqual(record({ podCIDR: '10.244.1.0/24' }).podCIDRs, ['10.244.1.0/24']);
  assert.deepEqual(record({ podCIDR: '' }).podCIDRs, []);
  assert.match(
    reasonOf({ ...node('worker', []), spec: { podCIDRs: ['10.244.1.0'] } }),
    /spec.podCIDRs\[0\] is "10.244.1.0": must be a range/,
  );
});

test('a Node is leaving when it has a deletionTimestamp or the autoscaler has tainted it for deletion', () => {
  const isLeaving = (metadata: object, spec: object | null) =>
    (
      recordOf({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a', ...metadata }, spec }) as {
        leaving: boolean;
      }
    ).leaving;
  assert.equal(isLeaving({}, null), false);
  assert.equal(isLeaving({ deletionTimestamp: null }, { taints: null }), false);
  assert.equal(isLeaving({ deletionTimestamp: '2026-01-01T00:00:00Z' }, {}), true);
  const taint = (key: string) => ({ taints: [{ key: 'other' }, { key, effect: 'NoSchedule' }] });
  assert.equal(isLeaving({}, taint('ToBeDeletedByClusterAutoscaler')), true);
  assert.equal(isLeaving({}, taint('node.kubernetes.io/unschedulable')), false);
});

test('nodeIPs of a Node are its InternalIPs and ExternalIPs only', () => {
  const record = recordOf(
    typedNode('worker', [
      ['Hostname', '198.51.100.7'],
      ['InternalIP', '192.0.2.1'],
      ['ExternalIP', '203.0.113.1'],
      ['ExternalDNS', 'worker.example'],
      ['InternalIP', 'FD00::1'],
    ]),
  );
  assert.ok(record.kind === 'node');
  assert.deepEqual(record.nodeIPs, ['192.0.2.1', '203.0.113.1', 'fd00::1']);
  assert.equal(record.addresses.length, 4);
});

test('a Pod is read into a record of its hostPorts', () => {
  const made = pod('web-0', ['10.244.0.1', 'FD00:244::1'], {
    created: '2024-05-06T07:08:09Z',
    containers: [
      { ports: [{ containerPort: 80, hostPort: 8080, name: 'http' }, { containerPort: 81 }] },
      { ports: null },
      {
        ports: [{ containerPort: 53, hostPort: 53, protocol: 'UDP', hostIP: '127.0.0.1' }],
      },
    ],
    initContainers: [
      { ports: [{ containerPort: 1, hostPort: 1 }] },
      { restartPolicy: 'Always', ports: [{ containerPort: 2, hostPort: 2, hostIP: '::' }] },
    ],
  });
  const record = {
    kind: 'pod',
    namespace: 'default',
    name: 'web-0',
    uid: '',
    createdMs: Date.UTC(2024, 4, 6, 7, 8, 9),
    nodeName: 'here',
    addresses: ['10.244.0.1', 'fd00:244::1'],
    hostPorts: [
      { protocol: 'TCP', containerPort: 80, hostPort: 8080, hostIP: '' },
      { protocol: 'UDP', containerPort: 53, hostPort: 53, hostIP: '127.0.0.1' },
      { protocol: 'TCP', containerPort: 2, hostPort: 2, hostIP: '::' },
    ],
    labels: [],
    workload: undefined,
    namedPorts: [{ name: 'http', protocol: 'TCP', port: 80 }],
    bandwidth: undefined,
    terminating: false,
    problems: [],
  };
  assert.deepEqual(recordOf(made), record);
  const deleted = {
    ...made,
    metadata: { ...made.metadata, deletionTimestamp: '2024-05-06T08:00:00Z' },
    status: { phase: 'Running', podIP: '10.244.0.1' },
  };
  const going = { ...record, addresses: ['10.244.0.1'], terminating: true };
  assert.deepEqual(recordOf(deleted), going);
});

test('a Pod without hostPorts is read into a record of its name and addresses', () => {
  for (const object of [
    pod('a', '10.244.0.1', { ports: [{ containerPort: 80, hostPort: 0 }] }),
    pod('a', '10.244.0.1', { containers: null }),
  ]) {
    const record = recordOf(object) as PodRecord;
    assert.deepEqual([record.name, record.addresses, record.hostPorts], ['a', ['10.244.0.1'], []]);
  }
});

test('a Pod has the bandwidth of its annotations, and a problem for one that is out of bounds', () => {
  const made = pod('a', '10.244.0.1');
  const egress = 'kubernetes.io/egress-bandwidth';
  const ingress = 'kubernetes.io/ingress-bandwidth';
  const read = (annotations: Record<string, string>) =>
    recordOf({ ...made, metadata: { ...made.metadata, annotations } }) as PodRecord;
  const both = read({ [egress]: '10M', [ingress]: '1.5Gi' });
  assert.deepEqual(both.bandwidth, { egress: 10_000_000, ingress: 1_610_612_736 });
  assert.deepEqual(both.problems, []);
  for (const text of ['999', '1001T', '10Mbit', '-1M', '']) {
    const { bandwidth, problems } = read({ [egress]: text, [ingress]: '1k' });
    assert.deepEqual(bandwidth, { egress: undefined, ingress: 1000 });
    const problem =
      `annotation ${egress} is ${JSON.stringify(text)}: ` +
      'must be bits per second from 1k to 1P, such as 10M; the pod has no limit';
    assert.deepEqual(problems, [problem]);
  }
});

test('a Pod has the uid by which the kubelet calls it, and no address while its node connects it', () => {
  const made = pod('web-0', []);
  const read = (metadata: object) => {
    const record = recordOf({ ...made, metadata: { ...made.metadata, ...metadata } });
    assert.ok(record.kind === 'pod');
    return [record.uid, record.addresses];
  };
  assert.deepEqual(read({ uid: 'a1' }), ['a1', []]);
  const annotations = { 'kubernetes.io/config.mirror': 'b2' };
  assert.deepEqual(read({ uid: 'a1', annotations }), ['b2', []]);
});

test('a Pod without a network of its own on a node is ignored with a note that has the reason', () => {
  const ip = '10.244.0.1';
  const cases: [string, ReturnType<typeof pod>][] = [
    ['it uses the host network', pod('a', ip, { hostNetwork: true })],
    ['its phase is Succeeded', pod('a', ip, { phase: 'Succeeded' })],
    ['its phase is Failed', pod('a', ip, { phase: 'Failed' })],
    ['it is not scheduled to a node yet', pod('a', ip, { node: '' })],
  ];
  for (const [reason, object] of cases) {
    assert.equal(noteOf(object), `Pod default/a is not used: ${reason}`);
  }
});

test('triggeredMs of an EndpointSlice is its trigger annotation, and absent if that is no time', () => {
  const read = (time: string) =>
    readObject({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: 'web-1',
        labels: { 'kubernetes.io/service-name': 'web' },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': time },
      },
      addressType: 'IPv4',
    });
  const known = read('2026-01-01T00:00:00.5Z');
  assert.equal(known.kind === 'record' && known.triggeredMs, Date.UTC(2026, 0, 1) + 500);
  assert.ok(!('triggeredMs' in read('yesterday')));
});

test('lists and structs may be null, as Go encodes absent ones', () => {
  recordOf({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: null, labels: null, annotations: null },
    spec: { clusterIP: '10.96.0.1', clusterIPs: null, ports: null, externalIPs: null },
    status: null,
  });
  recordOf({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'web-1',
      creationTimestamp: null,
      labels: { 'kubernetes.io/service-name': 'web' },
    },
    addressType: 'IPv4',
    ports: null,
    endpoints: null,
  });
  recordOf({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'worker' }, status: null });
});

test('an object of a kind that Heddle does not read is ignored with a note', () => {
  const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } };
  assert.equal(
    noteOf(deployment),
    'Deployment web (apps/v1) is not used: Heddle reads Service, EndpointSlice, Node and Pod',
  );
  // Another API group may use the same kind name.
  assert.match(noteOf({ ...service('web', ''), apiVersion: 'serving.knative.dev/v1' }), /not used/);
  assert.match(
    noteOf({ ...slice('web', []), apiVersion: 'discovery.k8s.io/v1beta1' }),
    /reads disc/,
  );
  assert.match(noteOf({ apiVersion: 'v1', kind: 'Endpoints' }), /reads EndpointSlice/);
  assert.match(
    noteOf(slice('web', [], { addressType: 'FQDN' })),
    /default\/web-1 is not used: its addressType is FQDN/,
  );
  const loose = { ...slice('web', []), metadata: { name: 'loose' } };
  assert.match(noteOf(loose), /default\/loose is not used: it has no label kubernetes.io\/service/);
});

test('an invalid object gives a reason that names the object, the field and the value', () => {
  const port = (...ports: object[]) => service('web', '10.96.0.1', { ports });
  const cases: [unknown, string][] = [
    [port({ port: 70000 }), 'spec.ports[0].port is 70000: must be a whole number from 1 to 65535'],
    [port({ port: '80' }), 'spec.ports[0].port is "80": must be a whole number from 1 to 65535'],
    [
      pod('web', '10.244.0.1', { ports: [{ containerPort: 1, hostPort: 1, hostIP: 'any' }] }),
      'spec.containers[0].ports[0].hostIP is "any": must be an IP address',
    ],
    [
      pod('web', '10.244.0.1', { ports: [{ hostPort: 1 }] }),
      'spec.containers[0].ports[0].containerPort is missing: must be given',
    ],
    [pod('web', '127.0.0.1'), 'status.podIPs[0] is "127.0.0.1": must not be a loopback address'],
    [port({}), 'spec.ports[0].port is missing: must be given'],
    [
      port({ port: 80, protocol: 'HTTP' }),
      'spec.ports[0].protocol is "HTTP": must be TCP, UDP or SCTP',
    ],
    [
      port({ name: 'a', port: 80 }, { port: 81 }),
      'spec.ports[1].name is missing: must be given, because there are several ports',
    ],
    [
      port({ name: 'a', port: 80 }, { name: 'a', port: 81 }),
      'spec.ports[1].name is "a": must be unique',
    ],
    [
      port({ name: 'a', port: 80 }, { name: 'b', port: 80 }),
      'spec.ports[1].port is 80: must be unique',
    ],
    [
      port({ port: 80, nodePort: 30080 }),
      'spec.ports[0].nodePort is 30080: a ClusterIP service has none',
    ],
    [
      service('web', '10.96.0.1', { healthCheckNodePort: 70000 }),
      'spec.healthCheckNodePort is 70000: must be a whole number from 0 to 65535',
    ],
    [
      service('web', ''),
      'spec.clusterIP is missing: must be an address or None ' + '(only an API server assigns one)',
    ],
    [service('web', '10.96.0.300'), 'spec.clusterIPs[0] is "10.96.0.300": must be an IP address'],
    [
      service('web', '127.0.0.1'),
      'spec.clusterIPs[0] is "127.0.0.1": must not be a loopback address',
    ],
    [
      service('web', ['10.96.0.1', '10.96.0.2']),
      'spec.clusterIPs is ["10.96.0.1","10.96.0.2"]: must be at most one address of each family',
    ],
    [
      service('web', '10.96.0.1', { externalIPs: ['0.0.0.0'] }),
      'spec.externalIPs[0] is "0.0.0.0": must not be the unspecified address',
    ],
    [
      service('web', '10.96.0.1', { type: 'LoadBalancer', ingress: [{ ip: '0.0.0.0' }] }),
      'status.loadBalancer.ingress[0].ip is "0.0.0.0": must not be the unspecified address',
    ],
    [
      service('web', '10.96.0.1', {
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 86401 } },
      }),
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds is 86401: ' +
        'must be a whole number from 1 to 86400',
    ],
    [
      service('web', '10.96.0.1', { loadBalancerSourceRanges: ['10.0.0.0/8', '10.0.0.1'] }),
      'spec.loadBalancerSourceRanges[1] is "10.0.0.1": ' +
        'must be a range of addresses such as 192.0.2.0/24',
    ],
    [
      service('web', '10.96.0.1', { internalTrafficPolicy: 'local' }),
      'spec.internalTrafficPolicy is "local": must be Cluster or Local',
    ],
    [
      service('web', '10.96.0.1', { annotations: { 'heddle.io/weights': 5 } }),
      'metadata.annotations["heddle.io/weights"] is 5: must be text (in YAML: put it in quotes)',
    ],
    [
      service('web', '10.96.0.1', { created: 'yesterday' }),
      'metadata.creationTimestamp is "yesterday": must be a time (RFC 3339)',
    ],
  ];
  for (const [object, expected] of cases) {
    const { kind } = object as { kind: string };
    assert.equal(reasonOf(object), `${kind} default/web: ${expected}`);
  }
});

test('a slice with an address that no endpoint may have is invalid', () => {
  const label = 'EndpointSlice default/web-1: ';
  assert.equal(
    reasonOf(slice('web', ['10.244.0.1', '127.0.0.1'])),
    `${label}endpoints[1].addresses[0] is "127.0.0.1": must not be a loopback address`,
  );
  assert.equal(
    reasonOf(slice('web', ['10.244.0.1', 'fd00::1'])),
    `${label}endpoints[1].addresses[0] is "fd00::1": must be an IPv4 address, because addressType is IPv4`,
  );
  const empty = { ...slice('web', []), endpoints: [{ addresses: [] }] };
  assert.equal(
    reasonOf(empty),
    `${label}endpoints[0].addresses is []: must have at least one address`,
  );
  const conditions = {
    ...slice('web', []),
    endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: 'yes' } }],
  };
  assert.equal(
    reasonOf(conditions),
    `${label}endpoints[0].conditions.ready is "yes": must be true or false`,
  );
});

test('an invalid object without kind, apiVersion or name has no reference', () => {
  for (const value of [
    'text',
    7,
    null,
    [],
    {},
    { kind: 'Service' },
    { apiVersion: 'v1', kind: 7 },
  ]) {
    const read = readObject(value);
    assert.ok(read.kind === 'invalid' && read.ref === undefined, JSON.stringify(value));
  }
  assert.equal(
    reasonOf({ apiVersion: 'v1', kind: 'Service', spec: {} }),
    'Service without a name: metadata is missing: must be given',
  );
});

test('a name with a slash or upper-case letters is invalid', () => {
  assert.match(reasonOf(service('a/b', '10.96.0.1')), /metadata.name is "a\/b": must be a name/);
  assert.match(reasonOf(service('Web', '10.96.0.1')), /must be a name of lower-case letters/);
});

test('readObjects reads each item of a list, also items without a kind', () => {
  const kinds = (value: unknown) =>
    readObjects(value).map((read) => (read.kind === 'record' ? read.record.kind : read.kind));
  const items = [service('a', '10.96.0.1'), node('b', []), { apiVersion: 'v1', kind: 'Event' }];
  assert.deepEqual(kinds({ apiVersion: 'v1', kind: 'List', items }), [
    'service',
    'node',
    'ignored',
  ]);

  const { metadata, spec } = service('a', '10.96.0.1');
  const typed = { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata, spec }] };
  assert.deepEqual(kinds(typed), ['service']);
  const { kind, apiVersion, ...bare } = slice('web', ['10.244.0.1']);
  assert.deepEqual(kinds({ apiVersion, kind: `${kind}List`, items: [bare] }), ['slice']);

  assert.deepEqual(kinds({ apiVersion: 'v1', kind: 'List', items: null }), []);
  assert.deepEqual(kinds({ apiVersion: 'v1', kind: 'List', items: 'all' }), ['invalid']);
  assert.deepEqual(kinds({ apiVersion: 'v1', kind: 'List', items: [7] }), ['invalid']);
});

test('readObjects returns a result for any value and never throws', () => {
  const shapes = [
    service('web', '10.96.0.1', { type: 'LoadBalancer', ingress: [{ ip: '203.0.113.1' }] }),
    slice('web', [endpoint('10.244.0.1', { node: 'here', zones: ['a'] })]),
    node('here', ['192.0.2.1'], 'a'),
    pod('web-0', ['10.244.0.1', 'fd00:244::1'], {
      initContainers: [{ restartPolicy: 'Always', ports: [{ containerPort: 1, hostPort: 2 }] }],
    }),
  ];
  // Puts any JSON value at any path of an otherwise good object.
  const replace = (value: unknown, path: number[], by: unknown): unknown => {
    if (path.length === 0 || typeof value !== 'object' || value === null) return by;
    const keys = Object.keys(value);
    const key = keys[path[0]! % Math.max(1, keys.length)];
    if (key === undefined) return by;
    const inner = replace(value[key as never], path.slice(1), by);
    if (!Array.isArray(value)) return { ...value, [key]: inner };
    return value.map((item, i) => (String(i) === key ? inner : item));
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes),
      fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }),
      fc.oneof(fc.jsonValue(), fc.constantFrom('10.0.0.1', '::', -1, 1.5, 1e9, '')),
      (shape, path, by) => {
        const value = replace(shape, path, by);
        for (const read of readObjects(value)) {
          if (read.kind !== 'invalid') continue;
          assert.ok(read.reason.startsWith(`${read.object}: `) || read.ref === undefined);
          assert.doesNotMatch(read.reason, /\n|undefined|\[object/);
        }
      },
    ),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.anything(), (value) => {
      readObjects(value);
    }),
    { numRuns: 500 },
  );
});
