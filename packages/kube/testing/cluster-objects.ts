import type { WrittenObject } from './object-store.ts';

// Objects as Helm deploys them, with managedFields, annotations and long names, which a client must skip.
// They have about 1.6 KB each.

export interface EndpointsOptions {
  /** Pods behind the service; default 2. */
  readonly endpoints?: number;
  /** Each number gives the pods other addresses. */
  readonly generation?: number;
}

const created = '2026-03-01T08:30:00Z';

function nameOf(i: number): string {
  return `checkout-backend-${String(i).padStart(5, '0')}`;
}

function namespaceOf(i: number): string {
  return `team-${String(i % 50).padStart(2, '0')}`;
}

function uidOf(kind: number, i: number): string {
  return `${hex(kind, 8)}-5f3c-4d2e-9a1b-${hex(i, 12)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** Service number `i` (below 65,536): `team-NN/checkout-backend-NNNNN` at 10.96.x.y, two ports. */
export function makeService(i: number): WrittenObject {
  const name = nameOf(i);
  const clusterIP = `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
  const ports = [
    { name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' },
    { name: 'metrics', protocol: 'TCP', port: 9090, targetPort: 9090 },
  ];
  const labels = {
    'app.kubernetes.io/instance': name,
    'app.kubernetes.io/managed-by': 'Helm',
    'helm.sh/chart': 'checkout-backend-1.42.0',
  };
  return {
    kind: 'Service',
    metadata: {
      name,
      namespace: namespaceOf(i),
      uid: uidOf(1, i),
      creationTimestamp: created,
      labels,
      annotations: {
        'meta.helm.sh/release-name': name,
        description: 'Checkout <backend> & "carts"\n(ask first)',
      },
      managedFields: [
        {
          manager: 'helm',
          operation: 'Update',
          apiVersion: 'v1',
          time: created,
          fieldsType: 'FieldsV1',
          fieldsV1: {
            'f:metadata': {
              'f:annotations': fieldSet('meta.helm.sh/release-name', 'description'),
              'f:labels': fieldSet(...Object.keys(labels)),
            },
            'f:spec': {
              'f:internalTrafficPolicy': {},
              'f:ports': {
                '.': {},
                'k:{"port":80,"protocol":"TCP"}': fieldSet(
                  'name',
                  'port',
                  'protocol',
                  'targetPort',
                ),
                'k:{"port":9090,"protocol":"TCP"}': fieldSet(
                  'name',
                  'port',
                  'protocol',
                  'targetPort',
                ),
              },
              'f:selector': {},
              'f:sessionAffinity': {},
              'f:type': {},
            },
          },
        },
      ],
    },
    spec: {
      ports,
      selector: { 'app.kubernetes.io/instance': name },
      clusterIP,
      clusterIPs: [clusterIP],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
    },
    status: { loadBalancer: {} },
  };
}

/** Returns the EndpointSlice of service number `i`. */
export function makeSlice(i: number, options: EndpointsOptions = {}): WrittenObject {
  const { endpoints = 2, generation = 0 } = options;
  const service = nameOf(i);
  const name = `${service}-${hex((i * 2654435761) % 16 ** 5, 5)}`;
  return {
    kind: 'EndpointSlice',
    metadata: {
      name,
      generateName: `${service}-`,
      namespace: namespaceOf(i),
      uid: uidOf(2, i),
      generation: generation + 2,
      creationTimestamp: created,
      labels: {
        'app.kubernetes.io/instance': service,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': service,
      },
      annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': created },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name: service,
          uid: uidOf(1, i),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        {
          manager: 'kube-controller-manager',
          operation: 'Update',
          apiVersion: 'discovery.k8s.io/v1',
          time: created,
          fieldsType: 'FieldsV1',
          fieldsV1: {
            'f:addressType': {},
            'f:endpoints': {},
            'f:metadata': {
              'f:annotations': fieldSet('endpoints.kubernetes.io/last-change-trigger-time'),
              'f:generateName': {},
              'f:labels': fieldSet(
                'app.kubernetes.io/instance',
                'endpointslice.kubernetes.io/managed-by',
                'kubernetes.io/service-name',
              ),
              'f:ownerReferences': { '.': {}, [`k:{"uid":"${uidOf(1, i)}"}`]: {} },
            },
            'f:ports': {},
          },
        },
      ],
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: endpoints }, (_, k) => makeEndpoint(i, k, generation)),
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'metrics', port: 9090, protocol: 'TCP' },
    ],
  };
}

function makeEndpoint(i: number, k: number, generation: number) {
  // 10.128.0.0/9 has 2^23 addresses; neighbours in a slice are far apart in the cluster.
  const host = (i * 131 + k * 65_537 + generation * 7919) & 0x7fffff;
  return {
    addresses: [`10.${128 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`],
    conditions: { ready: true, serving: true, terminating: false },
    targetRef: {
      kind: 'Pod',
      namespace: namespaceOf(i),
      name: `${nameOf(i)}-6d5f7c9b8-${hex(host, 6).slice(1)}`,
      uid: uidOf(3, host),
    },
    nodeName: `worker-${String(host % 100).padStart(3, '0')}`,
    zone: `eu-central-1${'abc'[host % 3]}`,
  };
}

/** Node `name` with 192.0.2.x, a zone and 25 images, as a kubelet describes it (about 5 KB). */
export function makeNode(name: string, i = 1): WrittenObject {
  return {
    kind: 'Node',
    metadata: {
      name,
      uid: uidOf(4, i),
      creationTimestamp: created,
      labels: {
        'beta.kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'topology.kubernetes.io/region': 'eu-central-1',
        'topology.kubernetes.io/zone': `eu-central-1${'abc'[i % 3]}`,
      },
      annotations: { 'node.alpha.kubernetes.io/ttl': '0' },
    },
    spec: { podCIDR: `10.244.${i & 255}.0/24`, podCIDRs: [`10.244.${i & 255}.0/24`] },
    status: {
      addresses: [
        { type: 'InternalIP', address: `192.0.2.${i & 255}` },
        { type: 'Hostname', address: name },
      ],
      capacity: { cpu: '16', memory: '65536000Ki', pods: '110' },
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          lastHeartbeatTime: created,
          lastTransitionTime: created,
          reason: 'KubeletReady',
          message: 'kubelet is posting ready status',
        },
      ],
      images: Array.from({ length: 25 }, (_, k) => ({
        names: [`registry.example/team/image-${k}@sha256:${hex(k, 64)}`],
        sizeBytes: 31_457_280 + k,
      })),
    },
  };
}

function fieldSet(...names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(['.', ...names.map((name) => `f:${name}`)].map((name) => [name, {}]));
}
