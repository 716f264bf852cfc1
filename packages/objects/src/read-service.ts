import { familyOf } from './addresses.ts';
import { readBalancing, readForwarding } from './annotations.ts';
import { FieldError, readAddress, readAddresses, readRanges, readTime } from './field-values.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import type { ServicePort, ServiceRecord } from './records.ts';
import { proxyNameLabel, type ServiceObject } from './schema.ts';

const defaultAffinitySeconds = 10800;
const none: readonly string[] = [];

/** Returns the record of a Service. Throws FieldError. */
export function readService({ metadata, spec, status }: ServiceObject): ServiceRecord {
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
    sourceRanges: compactList(
      readRanges('spec.loadBalancerSourceRanges', spec.loadBalancerSourceRanges ?? none).toSorted(),
    ),
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
