import { reservedIdentity } from '@heddle/hubble';
import type { Endpoint } from '@heddle/hubble/messages';
import { cidrContains, formatIp, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import type { WorkloadKind } from '@heddle/web/contract';
import type { End, PodSeen, Workload } from './model.ts';

/** The most ends and workloads that are kept; what comes beyond is named by one end outside. */
const endsMax = 100_000;
const workloadsMax = 20_000;
const podsMax = 500;
/** Names and labels from a peer are cut to this length. */
const textMax = 253;
const labelsMax = 32;
const workloadsOfPodMax = 4;

const kinds: ReadonlySet<string> = new Set<WorkloadKind>([
  ...(['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'Pod'] as const),
]);
/** Letters and digits of which Kubernetes makes the ends of names. */
const generated = '[bcdfghjklmnpqrstvwxz2456789]';
/** The name of a pod of a Deployment: the Deployment's name, the hash of the template, and an end of its own. */
export const podOfDeployment = new RegExp(`^(.+)-(${generated}{6,10})-${generated}{5}$`);

/** The ends and workloads that flows have named. */
export class EndTable {
  readonly #ends = new Map<string, End>();
  readonly #workloads = new Map<string, Workload>();
  #nextId = 0;

  get workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }

  /** Returns the end that a flow describes. `node` is the node that reports it. */
  end(
    endpoint: Endpoint | undefined,
    address: string,
    names: readonly string[],
    node: string,
  ): End {
    const namespace = endpoint?.namespace ?? '';
    const pod = endpoint?.podName ?? '';
    const identity = endpoint?.identity ?? 0;
    const place = identity === reservedIdentity.host ? node : '';
    const key = `${cut(namespace)}/${cut(pod)}/${cut(address)}/${identity}/${cut(names[0] ?? '')}/${place}`;
    const known = this.#ends.get(key);
    // Labels and owners may be learned later than the name.
    if (known && known.labels?.length === Math.min(endpoint?.labels.length ?? 0, labelsMax))
      return known;
    if (this.#ends.size >= endsMax) this.#ends.clear();
    const workload =
      pod === ''
        ? this.#otherWorkload(identity, address, names, node)
        : this.#podWorkload(endpoint!);
    const end: End = {
      namespace: workload.namespace,
      name: workload.name,
      kind: workload.kind,
      ...(pod === '' ? {} : { pod: cut(pod) }),
      ...(address === '' ? {} : { address: cut(address) }),
      labels: (endpoint?.labels ?? []).slice(0, labelsMax).map(cut),
      hosts: names.slice(0, 4).map(cut),
      workload,
      endpoint: endpoint && bounded(endpoint),
      podSeen: pod === '' ? undefined : podSeen(workload, cut(pod)),
    };
    if (end.podSeen && address !== '' && end.podSeen.addresses.size < 8) {
      end.podSeen.addresses.add(end.address!);
    }
    this.#ends.set(key, end);
    return end;
  }

  /** Returns a workload with this name that was seen. */
  find(namespace: string, name: string): Workload | undefined {
    for (const workload of this.#workloads.values()) {
      if (workload.namespace === namespace && workload.name === name) return workload;
    }
    return undefined;
  }

  /** Returns the workload with these names; it is made if it is new. */
  workload(namespace: string, name: string, kind: WorkloadKind): Workload {
    const key = `${namespace}/${kind}/${name}`;
    const known = this.#workloads.get(key);
    if (known) return known;
    if (this.#workloads.size >= workloadsMax && name !== 'others') {
      return this.workload('', 'others', 'Outside');
    }
    const workload = { id: this.#nextId++, namespace, name, kind, pods: new Map() };
    this.#workloads.set(key, workload);
    return workload;
  }

  #podWorkload({ namespace, podName, workloads: [owner] }: Endpoint): Workload {
    if (owner && owner.name !== '') {
      const kind = kinds.has(owner.kind)
        ? owner.kind
        : owner.kind === 'CronJob'
          ? 'Job'
          : 'Deployment';
      return this.workload(cut(namespace), cut(owner.name), kind as WorkloadKind);
    }
    const match = podOfDeployment.exec(podName);
    return match
      ? this.workload(cut(namespace), cut(match[1]!), 'Deployment')
      : this.workload(cut(namespace), cut(podName), 'Pod');
  }

  #otherWorkload(
    identity: number,
    address: string,
    names: readonly string[],
    node: string,
  ): Workload {
    switch (identity) {
      case reservedIdentity.host:
        return this.workload('', node, 'Host');
      case reservedIdentity.remoteNode:
      case reservedIdentity.kubeApiserver:
        return this.workload(
          '',
          identity === reservedIdentity.remoteNode ? 'nodes' : 'kube-apiserver',
          'Node',
        );
      default:
        return this.workload('', cut(names[0] ?? rangeOf(address)), 'Outside');
    }
  }
}

/** Returns an endpoint whose texts have a bounded length. */
function bounded({ $unknown: _, ...endpoint }: Endpoint): Endpoint {
  return {
    ...endpoint,
    namespace: cut(endpoint.namespace),
    podName: cut(endpoint.podName),
    clusterName: cut(endpoint.clusterName),
    labels: endpoint.labels.slice(0, labelsMax).map(cut),
    workloads: endpoint.workloads
      .slice(0, workloadsOfPodMax)
      .map(({ $unknown: _unknown, name, kind, ...rest }) => ({
        ...rest,
        name: cut(name),
        kind: cut(kind),
      })),
  };
}

function podSeen(workload: Workload, name: string): PodSeen {
  const known = workload.pods.get(name);
  if (known) return known;
  if (workload.pods.size >= podsMax) {
    const oldest = [...workload.pods.values()].reduce((a, b) => (a.lastSeen < b.lastSeen ? a : b));
    workload.pods.delete(oldest.name);
  }
  const pod = { name, addresses: new Set<string>(), node: '', firstSeen: 0, lastSeen: 0 };
  workload.pods.set(name, pod);
  return pod;
}

/** Returns the range that an address outside the cluster is shown as: /24 of IPv4, /48 of IPv6. */
export function rangeOf(address: string): string {
  const bytes = parseIp(address);
  if (!bytes) return 'unknown';
  const isV4 = isIpv4(bytes);
  const kept = bytes.slice();
  kept.fill(0, isV4 ? 15 : 6);
  const range = `${formatIp(kept)}/${isV4 ? 24 : 48}`;
  return cidrContains(parseCidr(range)!, bytes) ? range : 'unknown';
}

function cut(text: string): string {
  return text.length > textMax ? text.slice(0, textMax) : text;
}
