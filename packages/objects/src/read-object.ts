import * as v from 'valibot';
import { canonicalAddress, familyOf } from './addresses.ts';
import { readBalancing, readForwarding } from './annotations.ts';
import { FieldError, readAddress, readAddresses, readRanges, readTime } from './field-values.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import { readPod } from './read-pod.ts';
import type {
  EndpointRecord,
  InvalidRef,
  NodeRecord,
  ObjectKind,
  ObjectRef,
  ReadObject,
  ServicePort,
  ServiceRecord,
  SliceRecord,
} from './records.ts';
import { objectLabel } from './records.ts';
import {
  type NodeObject,
  nodeSchema,
  podSchema,
  proxyNameLabel,
  type ServiceObject,
  type SliceObject,
  serviceNameLabel,
  serviceSchema,
  sliceSchema,
  triggerAnnotation,
  zoneLabel,
} from './schema.ts';

/** The taint that the cluster autoscaler sets on a node before it removes the node. */
const leavingTaint = 'ToBeDeletedByClusterAutoscaler';
const defaultAffinitySeconds = 10800;

/**
 * Reads one API object (parsed JSON or YAML) into the record that Heddle keeps. Never throws: an
 * object of another kind is `ignored` with a note, one that can't be used is `invalid` with a
 * sentence. For lists see readObjects.
 */
export function readObject(value: unknown): ReadObject {
  if (!isMap(value)) {
    return {
      kind: 'invalid',
      object: 'document',
      reason: `document is ${show(value)}: must be a Kubernetes object`,
      ref: undefined,
    };
  }
  const { apiVersion, kind } = value;
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    const field = typeof kind !== 'string' ? 'kind' : 'apiVersion';
    return {
      kind: 'invalid',
      object: 'document',
      reason: `document: ${field} is ${show(value[field])}: must be text`,
      ref: undefined,
    };
  }
  const reader = readers[`${apiVersion}/${kind}`];
  if (!reader) return { kind: 'ignored', note: ignoredNote(value, apiVersion, kind) };
  const ref = refOf(value, reader.kind);
  const object = ref ? objectLabel(ref) : `${kind} without a name`;
  try {
    return reader.read(value);
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    const what = error.value === undefined ? 'missing' : show(error.value);
    const reason = `${object}: ${error.field} is ${what}: ${error.message}`;
    return { kind: 'invalid', object, reason, ref };
  }
}

/** Reads one object or each item of a list (`List`, `ServiceList`, ...). */
export function readObjects(value: unknown): readonly ReadObject[] {
  if (!isMap(value) || typeof value.kind !== 'string' || !value.kind.endsWith('List')) {
    return [readObject(value)];
  }
  const { apiVersion, kind, items } = value;
  if (items === null || items === undefined) return [];
  if (!Array.isArray(items)) {
    const reason = `${kind}: items is ${show(items)}: must be a list`;
    return [{ kind: 'invalid', object: kind, reason, ref: undefined }];
  }
  const itemKind = kind.slice(0, -'List'.length);
  return items.flatMap((item: unknown) => {
    // The API server leaves kind and apiVersion out of the items of a typed list.
    const typed =
      isMap(item) && itemKind !== '' && item.kind === undefined
        ? { apiVersion, kind: itemKind, ...item }
        : item;
    return readObjects(typed);
  });
}

const readers: Readonly<
  Record<string, { kind: ObjectKind; read: (value: unknown) => ReadObject }>
> = {
  'v1/Service': {
    kind: 'service',
    read: (value) => ({ kind: 'service', record: toService(checkShape(serviceSchema, value)) }),
  },
  'discovery.k8s.io/v1/EndpointSlice': {
    kind: 'slice',
    read: (value) => readSlice(checkShape(sliceSchema, value)),
  },
  'v1/Node': {
    kind: 'node',
    read: (value) => ({ kind: 'node', record: toNode(checkShape(nodeSchema, value)) }),
  },
  'v1/Pod': { kind: 'pod', read: (value) => readPod(checkShape(podSchema, value)) },
};

function ignoredNote(value: Record<string, unknown>, apiVersion: string, kind: string): string {
  const metadata = isMap(value.metadata) ? value.metadata : {};
  const name = [metadata.namespace, metadata.name].filter((part) => typeof part === 'string');
  const what = `${kind} ${name.join('/')}`.trimEnd();
  if (apiVersion === 'v1' && kind === 'Endpoints') {
    return `${what} is not used: Heddle reads EndpointSlice (discovery.k8s.io/v1)`;
  }
  if (apiVersion.startsWith('discovery.k8s.io/') && kind === 'EndpointSlice') {
    return `${what} (${apiVersion}) is not used: Heddle reads discovery.k8s.io/v1`;
  }
  return `${what} (${apiVersion}) is not used: Heddle reads Service, EndpointSlice, Node and Pod`;
}

function checkShape<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  let path = '';
  for (const { key } of issue.path ?? []) {
    if (typeof key === 'number') path += `[${key}]`;
    else if (/^[A-Za-z]+$/.test(String(key))) path += path === '' ? String(key) : `.${String(key)}`;
    else path += `[${JSON.stringify(key)}]`;
  }
  // For a missing key valibot has a message of its own, because no schema saw a value.
  const rule = issue.input === undefined ? 'must be given' : issue.message;
  throw new FieldError(path, issue.input, rule);
}

function toService({ metadata, spec, status }: ServiceObject): ServiceRecord {
  const annotations = metadata.annotations ?? {};
  const balancing = readBalancing(annotations);
  const forwardingProblems: string[] = [];
  const forwarding = readForwarding(annotations, forwardingProblems);
  const external = spec.type === 'ExternalName';
  return {
    kind: 'service',
    namespace: sharedText(metadata.namespace ?? 'default'),
    name: ownText(metadata.name),
    createdMs: readTime(metadata.creationTimestamp ?? undefined),
    type: sharedText(spec.type),
    clusterIPs: external ? none : readClusterIPs(spec),
    proxyName: metadata.labels?.[proxyNameLabel],
    ports: readServicePorts(spec),
    sourceRanges: readRanges(spec.loadBalancerSourceRanges ?? none),
    externalIPs: readAddresses('spec.externalIPs', spec.externalIPs ?? none, 'ordinary'),
    loadBalancerIPs: spec.type === 'LoadBalancer' ? readIngress(status) : none,
    affinitySeconds:
      spec.sessionAffinity === 'ClientIP'
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds)
        : 0,
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: spec.externalTrafficPolicy === 'Local',
    healthCheckPort:
      spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'
        ? spec.healthCheckNodePort
        : 0,
    publishNotReady: spec.publishNotReadyAddresses ?? false,
    algorithm: balancing.algorithm,
    weights: balancing.weights,
    forwarding,
    problems:
      forwardingProblems.length === 0
        ? balancing.problems
        : [...balancing.problems, ...forwardingProblems],
  };
}

const none: readonly string[] = [];

function readClusterIPs(spec: ServiceObject['spec']): readonly string[] {
  const many = spec.clusterIPs?.filter((text) => text !== '') ?? [];
  const texts = many.length > 0 ? many : spec.clusterIP ? [spec.clusterIP] : [];
  const field = many.length > 0 ? 'spec.clusterIPs' : 'spec.clusterIP';
  if (texts.length === 0) {
    throw new FieldError(
      'spec.clusterIP',
      undefined,
      'must be an address or None (only an API server assigns one)',
    );
  }
  if (texts[0] === 'None') return none;
  const addresses = readAddresses(field, texts, 'cluster');
  if (new Set(addresses.map(familyOf)).size < addresses.length) {
    throw new FieldError(field, texts, 'must be at most one address of each family');
  }
  return addresses;
}

function readServicePorts(spec: ServiceObject['spec']): readonly ServicePort[] {
  const ports = spec.type === 'ExternalName' ? [] : (spec.ports ?? []);
  const names = new Set<string>();
  const numbers = new Set<string>();
  const records = ports.map(({ name, protocol, port, nodePort }, i) => {
    const field = `spec.ports[${i}]`;
    if (name === '' && ports.length > 1) {
      throw new FieldError(
        `${field}.name`,
        undefined,
        'must be given, because there are several ports',
      );
    }
    if (names.has(name)) throw new FieldError(`${field}.name`, name, 'must be unique');
    names.add(name);
    const number = `${port}/${protocol}`;
    if (numbers.has(number)) throw new FieldError(`${field}.port`, port, 'must be unique');
    numbers.add(number);
    if (nodePort !== 0 && spec.type === 'ClusterIP') {
      throw new FieldError(`${field}.nodePort`, nodePort, 'a ClusterIP service has none');
    }
    return { name: sharedText(name), protocol: sharedText(protocol), port, nodePort };
  });
  return compactList(records);
}

function readIngress(status: ServiceObject['status']): readonly string[] {
  const addresses: string[] = [];
  const ingress = status?.loadBalancer?.ingress ?? [];
  ingress.forEach(({ ip, ipMode }, i) => {
    // With ipMode Proxy internal traffic goes to the load balancer too (KEP-1860).
    if (ip === '' || ipMode === 'Proxy') return;
    addresses.push(readAddress(`status.loadBalancer.ingress[${i}].ip`, ip, 'cluster'));
  });
  return compactList([...new Set(addresses)]);
}

function readSlice(slice: SliceObject): ReadObject {
  const { metadata, addressType } = slice;
  const namespace = sharedText(metadata.namespace ?? 'default');
  const label = `EndpointSlice ${namespace}/${metadata.name}`;
  if (addressType === 'FQDN') {
    return { kind: 'ignored', note: `${label} is not used: its addressType is FQDN` };
  }
  const service = metadata.labels?.[serviceNameLabel];
  if (!service) {
    return { kind: 'ignored', note: `${label} is not used: it has no label ${serviceNameLabel}` };
  }
  const ports = (slice.ports ?? [])
    // A port without a number means all ports, which no service can use.
    .flatMap(({ name, protocol, port }) =>
      port ? [{ name: sharedText(name), protocol: sharedText(protocol), port }] : [],
    );
  const endpoints = (slice.endpoints ?? []).map((endpoint, i): EndpointRecord => {
    const field = `endpoints[${i}].addresses[0]`;
    // Only the first address counts; the API has a list for historical reasons.
    const address = readAddress(field, endpoint.addresses[0]!, 'ordinary');
    if (familyOf(address) !== addressType) {
      throw new FieldError(
        field,
        address,
        `must be an ${addressType} address, because addressType is ${addressType}`,
      );
    }
    const { conditions, hints } = endpoint;
    return {
      address,
      ready: conditions?.ready ?? true,
      serving: conditions?.serving ?? true,
      terminating: conditions?.terminating ?? false,
      nodeName: sharedText(endpoint.nodeName),
      target: ownText(endpoint.targetRef?.name ?? ''),
      zoneHints: readHints(hints?.forZones),
      nodeHints: readHints(hints?.forNodes),
    };
  });
  const record: SliceRecord = {
    kind: 'slice',
    namespace,
    name: ownText(metadata.name),
    service: ownText(service),
    family: sharedText(addressType),
    ports: compactList(ports),
    endpoints: compactList(endpoints),
  };
  // Only a metric uses it, so a malformed time doesn't make the slice invalid.
  const triggeredMs = Date.parse(metadata.annotations?.[triggerAnnotation] ?? '');
  return Number.isNaN(triggeredMs)
    ? { kind: 'slice', record }
    : { kind: 'slice', record, triggeredMs };
}

function readHints(hints: readonly { name: string }[] | null | undefined): readonly string[] {
  return hints && hints.length > 0 ? hints.map(({ name }) => sharedText(name)) : none;
}

function toNode({ metadata, spec, status }: NodeObject): NodeRecord {
  const addresses = new Set<string>();
  const nodeIPs = new Set<string>();
  for (const { type, address } of status?.addresses ?? []) {
    // The same list has host names and DNS names.
    const canonical = canonicalAddress(address);
    if (canonical === undefined) continue;
    addresses.add(canonical);
    if (type === 'InternalIP' || type === 'ExternalIP') nodeIPs.add(canonical);
  }
  return {
    kind: 'node',
    namespace: '',
    name: ownText(metadata.name),
    zone: sharedText(metadata.labels?.[zoneLabel] ?? ''),
    addresses: compactList([...addresses]),
    nodeIPs: compactList([...nodeIPs]),
    leaving:
      typeof metadata.deletionTimestamp === 'string' ||
      (spec?.taints ?? []).some(({ key }) => key === leavingTaint),
  };
}

function refOf(value: Record<string, unknown>, kind: ObjectKind): InvalidRef | undefined {
  const metadata = isMap(value.metadata) ? value.metadata : {};
  const ref = namedRef(metadata, kind);
  const labels = isMap(metadata.labels) ? metadata.labels : {};
  const service = labels[serviceNameLabel];
  return ref && kind === 'slice' && typeof service === 'string'
    ? { ...ref, service: ownText(service) }
    : ref;
}

function namedRef(metadata: Record<string, unknown>, kind: ObjectKind): ObjectRef | undefined {
  const { name, namespace } = metadata;
  if (typeof name !== 'string' || name === '') return undefined;
  if (kind === 'node') return { kind, namespace: '', name: ownText(name) };
  if (namespace === undefined || namespace === null) {
    return { kind, namespace: 'default', name: ownText(name) };
  }
  return typeof namespace === 'string'
    ? { kind, namespace: sharedText(namespace), name: ownText(name) }
    : undefined;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
