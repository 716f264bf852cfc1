import * as v from 'valibot';
import {
  algorithmAnnotation,
  denyResponseAnnotation,
  egressBandwidthAnnotation,
  forwardingAnnotation,
  ingressBandwidthAnnotation,
  mirrorAnnotation,
  podCIDRsAnnotation,
  policyModeAnnotation,
  weightsAnnotation,
} from './annotations.ts';

// Schemas of the API objects (core/v1 Service, Node and Pod, discovery.k8s.io/v1 EndpointSlice),
// reduced to the fields that a record is made of. Go writes absent lists and structs as null, so
// every optional field may be null.

export const text = v.string('must be text (in YAML: put it in quotes)');
/** A map of texts. Readers use only the given keys (see fields.ts). */
const textMap = <const Key extends string>(...keys: readonly Key[]) =>
  v.nullish(
    v.objectWithRest(
      Object.fromEntries(keys.map((key) => [key, v.optional(text)])) as Record<
        Key,
        v.OptionalSchema<typeof text, undefined>
      >,
      text,
      'must be a map',
    ),
  );
/** All labels of an object. */
export const labelMap = v.nullish(v.record(text, text, 'must be a map'));
const flag = v.nullish(v.boolean('must be true or false'));

const objectName = v.pipe(
  text,
  v.regex(
    /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
    'must be a name of lower-case letters, digits, - and .',
  ),
  v.maxLength(253, 'must have at most 253 characters'),
);
const portName = v.pipe(
  text,
  v.regex(
    /^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$/,
    'must be a name of lower-case letters, digits and -',
  ),
  v.maxLength(63, 'must have at most 63 characters'),
);

export const range = (from: number, to: number) => {
  const message = `must be a whole number from ${from} to ${to}`;
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(from, message),
    v.maxValue(to, message),
  );
};
export const choice = <const T extends readonly string[]>(...options: T) =>
  v.picklist(options, `must be ${options.slice(0, -1).join(', ')} or ${options.at(-1)}`);
/** A list, which Go writes as null if it is absent. */
export const list = <T extends v.GenericSchema>(item: T) =>
  v.nullish(v.array(item, 'must be a list'));
export const struct = <const T extends v.ObjectEntries>(entries: T) =>
  v.object(entries, 'must be a map');

const protocol = v.nullish(choice('TCP', 'UDP', 'SCTP'), 'TCP');

export const serviceNameLabel = 'kubernetes.io/service-name';
export const proxyNameLabel = 'service.kubernetes.io/service-proxy-name';
export const zoneLabel = 'topology.kubernetes.io/zone';
export const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

export const metadata = struct({
  name: objectName,
  namespace: v.nullish(objectName),
  creationTimestamp: v.nullish(text),
  labels: textMap(serviceNameLabel, proxyNameLabel),
  annotations: textMap(
    algorithmAnnotation,
    weightsAnnotation,
    forwardingAnnotation,
    podCIDRsAnnotation,
    egressBandwidthAnnotation,
    ingressBandwidthAnnotation,
    mirrorAnnotation,
    triggerAnnotation,
    policyModeAnnotation,
    denyResponseAnnotation,
  ),
});

export const serviceSchema = struct({
  metadata,
  spec: struct({
    type: v.nullish(choice('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'), 'ClusterIP'),
    clusterIP: v.nullish(text),
    clusterIPs: list(text),
    externalIPs: list(text),
    loadBalancerSourceRanges: list(text),
    ports: list(
      struct({
        name: v.nullish(portName, ''),
        protocol,
        port: range(1, 65535),
        nodePort: v.nullish(range(0, 65535), 0),
      }),
    ),
    sessionAffinity: v.nullish(choice('None', 'ClientIP'), 'None'),
    sessionAffinityConfig: v.nullish(
      struct({
        clientIP: v.nullish(struct({ timeoutSeconds: v.nullish(range(1, 86400)) })),
      }),
    ),
    externalTrafficPolicy: v.nullish(choice('Cluster', 'Local', ''), ''),
    internalTrafficPolicy: v.nullish(choice('Cluster', 'Local'), 'Cluster'),
    healthCheckNodePort: v.nullish(range(0, 65535), 0),
    publishNotReadyAddresses: flag,
  }),
  status: v.nullish(
    struct({
      loadBalancer: v.nullish(
        struct({
          ingress: list(
            struct({ ip: v.nullish(text, ''), ipMode: v.nullish(choice('VIP', 'Proxy'), 'VIP') }),
          ),
        }),
      ),
    }),
  ),
});

const hints = list(struct({ name: text }));

export const sliceSchema = struct({
  metadata,
  addressType: choice('IPv4', 'IPv6', 'FQDN'),
  ports: list(
    struct({
      name: v.nullish(portName, ''),
      protocol,
      port: v.nullish(range(0, 65535), 0),
    }),
  ),
  endpoints: list(
    struct({
      addresses: v.pipe(
        v.array(text, 'must be a list of addresses'),
        v.minLength(1, 'must have at least one address'),
      ),
      conditions: v.nullish(struct({ ready: flag, serving: flag, terminating: flag })),
      hints: v.nullish(struct({ forZones: hints, forNodes: hints })),
      nodeName: v.nullish(text, ''),
      targetRef: v.nullish(struct({ name: v.nullish(text, '') })),
    }),
  ),
});

/** With all labels, because network policies select Nodes and Pods by them. */
const labelled = struct({
  ...metadata.entries,
  labels: labelMap,
  deletionTimestamp: v.nullish(text),
});

export const nodeSchema = struct({
  metadata: labelled,
  spec: v.nullish(
    struct({
      taints: list(struct({ key: text })),
      podCIDR: v.nullish(text, ''),
      podCIDRs: list(text),
    }),
  ),
  status: v.nullish(struct({ addresses: list(struct({ type: text, address: text })) })),
});

const containers = {
  ports: list(
    struct({
      name: v.nullish(text, ''),
      protocol,
      containerPort: range(1, 65535),
      hostPort: v.nullish(range(0, 65535), 0),
      hostIP: v.nullish(text, ''),
    }),
  ),
};

export const podSchema = struct({
  metadata: struct({
    ...labelled.entries,
    uid: v.nullish(text),
    ownerReferences: list(struct({ kind: text, name: text, controller: flag })),
  }),
  spec: struct({
    nodeName: v.nullish(text, ''),
    hostNetwork: flag,
    containers: list(struct(containers)),
    initContainers: list(struct({ ...containers, restartPolicy: v.nullish(text) })),
  }),
  status: v.nullish(
    struct({
      phase: v.nullish(text, ''),
      podIP: v.nullish(text, ''),
      podIPs: list(struct({ ip: v.nullish(text, '') })),
    }),
  ),
});

export type ServiceObject = v.InferOutput<typeof serviceSchema>;
export type SliceObject = v.InferOutput<typeof sliceSchema>;
export type NodeObject = v.InferOutput<typeof nodeSchema>;
export type PodObject = v.InferOutput<typeof podSchema>;
