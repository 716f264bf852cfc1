import { canonicalAddress, familyOf } from './addresses.ts';
import { mirrorAnnotation, readBandwidth } from './annotations.ts';
import { FieldError, readAddresses, readTime } from './field-values.ts';
import { readLabels } from './labels.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import type { IgnoredObject, ReadResult } from './object-reader.ts';
import type { HostPort, NamedPort, PodRecord, Protocol } from './records.ts';
import type { PodObject } from './schema.ts';
import { readWorkload } from './workload.ts';

/**
 * Reads a pod of a node with a network of its own into a record of its name, addresses, labels, workload, ports and
 * limits. It has no address yet while its node connects it. Other pods are `ignored`. Throws FieldError.
 */
export function readPod({ metadata, spec, status }: PodObject): ReadResult<PodRecord> {
  const namespace = sharedText(metadata.namespace ?? 'default');
  const unused = (reason: string): IgnoredObject => ({
    kind: 'ignored',
    note: `Pod ${namespace}/${metadata.name} is not used: ${reason}`,
  });
  const { hostPorts, namedPorts } = readPorts(spec);
  if (spec.hostNetwork) return unused('it uses the host network');
  const phase = status?.phase ?? '';
  if (phase === 'Succeeded' || phase === 'Failed') return unused(`its phase is ${phase}`);
  const addresses = readPodIPs(status);
  if (spec.nodeName === '') return unused('it is not scheduled to a node yet');
  const annotations = metadata.annotations ?? {};
  const { bandwidth, problems } = readBandwidth(annotations);
  const record: PodRecord = {
    kind: 'pod',
    namespace,
    name: ownText(metadata.name),
    uid: ownText(annotations[mirrorAnnotation] ?? metadata.uid ?? ''),
    createdMs: readTime(metadata.creationTimestamp ?? undefined),
    nodeName: sharedText(spec.nodeName),
    addresses,
    hostPorts,
    labels: readLabels(metadata.labels),
    workload: readWorkload(metadata),
    namedPorts,
    bandwidth,
    terminating: typeof metadata.deletionTimestamp === 'string',
    problems: compactList(problems),
  };
  return { kind: 'record', record };
}

/**
 * Returns the hostPorts and the named ports of the containers and of sidecar containers (init containers with
 * restartPolicy Always, KEP-753).
 */
function readPorts({ containers, initContainers }: PodObject['spec']): {
  readonly hostPorts: readonly HostPort[];
  readonly namedPorts: readonly NamedPort[];
} {
  const hostPorts: HostPort[] = [];
  const namedPorts: NamedPort[] = [];
  const read = (list: string, i: number, ports: PodPorts) => {
    for (const [k, port] of (ports ?? []).entries()) {
      const { name, containerPort, hostPort, hostIP } = port;
      const protocol = sharedText(port.protocol);
      if (name !== '') namedPorts.push(sharedPort(name, protocol, containerPort));
      if (hostPort === 0) continue;
      const address = hostIP === '' ? '' : canonicalAddress(hostIP);
      if (address === undefined) {
        const field = `spec.${list}[${i}].ports[${k}].hostIP`;
        throw new FieldError(field, hostIP, 'must be an IP address');
      }
      hostPorts.push({ protocol, containerPort, hostPort, hostIP: sharedText(address) });
    }
  };
  for (const [i, { ports }] of (containers ?? []).entries()) read('containers', i, ports);
  for (const [i, { ports, restartPolicy }] of (initContainers ?? []).entries()) {
    if (restartPolicy === 'Always') read('initContainers', i, ports);
  }
  return { hostPorts: compactList(hostPorts), namedPorts: sharedPorts(namedPorts) };
}

const ports = new Map<string, NamedPort>();
const portLists = new Map<string, readonly NamedPort[]>();
const maxShared = 1000;

/** Returns one object for equal ports, as long as there are not too many different ones. */
function sharedPort(name: string, protocol: Protocol, port: number): NamedPort {
  const key = `${name} ${protocol} ${port}`;
  const existing = ports.get(key);
  if (existing !== undefined) return existing;
  if (ports.size >= maxShared) ports.clear();
  const own = { name: sharedText(name), protocol, port };
  ports.set(key, own);
  return own;
}

/** Returns one list for equal lists of ports, as long as there are not too many different ones. */
function sharedPorts(list: readonly NamedPort[]): readonly NamedPort[] {
  if (list.length === 0) return compactList<NamedPort>(list);
  const key = list.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`).join('\n');
  const existing = portLists.get(key);
  if (existing !== undefined) return existing;
  if (portLists.size >= maxShared) portLists.clear();
  const own = compactList(list);
  portLists.set(key, own);
  return own;
}

type PodPorts = NonNullable<PodObject['spec']['containers']>[number]['ports'];

function readPodIPs(status: PodObject['status']): readonly string[] {
  const many = (status?.podIPs ?? []).map(({ ip }) => ip).filter((ip) => ip !== '');
  const texts = many.length > 0 ? many : status?.podIP ? [status.podIP] : [];
  const field = many.length > 0 ? 'status.podIPs' : 'status.podIP';
  const addresses = readAddresses(field, texts, 'ordinary');
  // Only the first of each family counts.
  return compactList(
    addresses.filter(
      (each, i) => addresses.findIndex((other) => familyOf(other) === familyOf(each)) === i,
    ),
  );
}
