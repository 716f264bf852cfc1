import type { PodRecord } from '@heddle/objects';
import type { ClusterObjects } from './cluster.ts';
import { endAt } from './ends.ts';
import type { Flow } from './flows.ts';
import { workloadLabels, workloadName } from './groups.ts';
import { counted, listed, namespaceNameLabel, podName } from './texts.ts';
import { type YamlComment, yamlOf } from './yaml.ts';

export interface SuggestRequest {
  readonly namespace: string;
  readonly directions: readonly ('ingress' | 'egress')[];
  /** Adds a rule for DNS where none was seen, because requests are over before they are seen. */
  readonly addDns: boolean;
}

/** NetworkPolicies that allow the connections that were seen. */
export interface Suggestion {
  readonly policies: readonly object[];
  /** The policies as YAML, with a comment for each rule. */
  readonly yaml: string;
  /** Sentences about what no policy could be made of. */
  readonly notes: readonly string[];
}

/** Pods that one policy selects. */
interface Workload {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ingress: Map<string, Peer>;
  readonly egress: Map<string, Peer>;
}

/** The other ends of connections that have the same peer in a policy. */
interface Peer {
  readonly peer: object;
  /** By text such as `TCP/80`. */
  readonly ports: Map<string, { readonly protocol: string; readonly port: number }>;
  /** Connections by text such as `pod shop/web-1 > pod shop/db-0, TCP/5432`. */
  readonly seen: Map<string, number>;
}

/** More addresses that belong to no pod become the range of all addresses. */
const mostAddresses = 8;

/** Returns NetworkPolicies for the workloads of a namespace, which allow what was seen and deny everything else. */
export function suggestPolicies(
  cluster: ClusterObjects,
  flows: readonly Flow[],
  request: SuggestRequest,
): Suggestion {
  const workloads = new Map<string, Workload>();
  const notes = new Set<string>();
  for (const flow of flows) {
    const client = cluster.world.podAt(flow.client);
    const server = cluster.world.podAt(flow.backend);
    if (client && client === server) continue;
    for (const direction of request.directions) {
      const pod = direction === 'egress' ? client : server;
      if (pod?.namespace !== request.namespace) continue;
      if (flow.protocol === 'ICMP') {
        notes.add(
          'ICMP was seen: a NetworkPolicy allows it only by a rule without ports, so no rule was made for it',
        );
        continue;
      }
      const workload = workloadOf(workloads, pod);
      if (workload) record(cluster, workload[direction], flow, direction, pod);
      else notes.add(`pod ${podName(pod)} has no labels of its own, so no policy can select it`);
    }
  }
  const silent = [...cluster.world.pods.values()].filter(
    (pod) => pod.namespace === request.namespace && !workloads.has(JSON.stringify(labelsOf(pod))),
  );
  if (silent.length > 0) {
    const names = listed(silent.map(podName).sort());
    notes.add(
      `no connection of ${names} was seen, so there is no policy for ${silent.length === 1 ? 'it' : 'them'}`,
    );
  }
  const made = [...workloads.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((workload) => policyOf(cluster, workload, request));
  const policies = made.map(({ policy }) => policy);
  const yaml = yamlOf(
    policies,
    made.map(({ comments }) => comments),
  );
  return { policies, yaml, notes: [...notes] };
}

function labelsOf({ labels }: PodRecord): Readonly<Record<string, string>> {
  return Object.fromEntries(workloadLabels(labels));
}

/** Labels that mostly have the name of a workload. */
const nameLabels = ['app.kubernetes.io/name', 'app', 'k8s-app'];

/** Returns true for a text that an object can have as its name. */
function isName(text: string | undefined): boolean {
  return text !== undefined && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text);
}

function workloadOf(workloads: Map<string, Workload>, pod: PodRecord): Workload | undefined {
  const labels = labelsOf(pod);
  if (Object.keys(labels).length === 0) return undefined;
  const key = JSON.stringify(labels);
  let workload = workloads.get(key);
  if (!workload) {
    const known = new Set([...workloads.values()].map(({ name }) => name));
    const base = nameLabels.map((label) => labels[label]).find(isName) ?? workloadName(pod);
    let name = base;
    for (let n = 2; known.has(name); n++) name = `${base}-${n}`;
    workload = { name, labels, ingress: new Map(), egress: new Map() };
    workloads.set(key, workload);
  }
  return workload;
}

function record(
  cluster: ClusterObjects,
  peers: Map<string, Peer>,
  flow: Flow,
  direction: 'ingress' | 'egress',
  pod: PodRecord,
): void {
  const { protocol, backendPort: port, client, backend, source } = flow;
  // The other node sees the translated source.
  const isHere = source === client || cluster.world.podAt(backend) === undefined;
  const address = direction === 'egress' ? backend : isHere ? client : source;
  if (direction === 'ingress') {
    const nodes = cluster.world.nodesAt(address);
    // A node always reaches its own pods.
    if (nodes.some(({ name }) => name === pod.nodeName)) return;
  }
  const peer = peerAt(cluster, address, pod.namespace);
  const key = JSON.stringify(peer);
  let known = peers.get(key);
  if (!known) {
    known = { peer, ports: new Map(), seen: new Map() };
    peers.set(key, known);
  }
  const text = `${protocol}/${port}`;
  known.ports.set(text, { protocol, port });
  const ends = `${endAt(cluster, client).label} > ${endAt(cluster, backend).label}, ${text}`;
  known.seen.set(ends, (known.seen.get(ends) ?? 0) + 1);
}

function peerAt(cluster: ClusterObjects, address: string, namespace: string): object {
  const pod = cluster.world.podAt(address);
  if (!pod) return { ipBlock: { cidr: `${address}/${address.includes(':') ? 128 : 32}` } };
  const labels = labelsOf(pod);
  const podSelector =
    Object.keys(labels).length === 0 ? {} : { podSelector: { matchLabels: labels } };
  if (pod.namespace === namespace && 'podSelector' in podSelector) return podSelector;
  const namespaceSelector = { matchLabels: { [namespaceNameLabel]: pod.namespace } };
  return { namespaceSelector, ...podSelector };
}

const dnsPeer = {
  namespaceSelector: { matchLabels: { [namespaceNameLabel]: 'kube-system' } },
  podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
};
const dnsPorts = [
  { protocol: 'UDP', port: 53 },
  { protocol: 'TCP', port: 53 },
];

interface MadeRule {
  readonly peers: readonly object[];
  readonly ports: readonly object[];
  readonly comment: string;
}

function policyOf(
  cluster: ClusterObjects,
  workload: Workload,
  { namespace, directions, addDns }: SuggestRequest,
): { readonly policy: object; readonly comments: readonly YamlComment[] } {
  const comments: YamlComment[] = [];
  const spec: Record<string, unknown> = {
    podSelector: { matchLabels: workload.labels },
    policyTypes: directions.map((each) => (each === 'ingress' ? 'Ingress' : 'Egress')),
  };
  for (const direction of directions) {
    const rules = rulesOf(cluster, workload[direction]);
    if (direction === 'egress' && addDns && !hasDns(workload.egress)) {
      const comment = 'DNS of the cluster; it was not seen, because requests are short';
      rules.push({ peers: [dnsPeer], ports: dnsPorts, comment });
    }
    const list = direction === 'ingress' ? 'from' : 'to';
    spec[direction] = rules.map(({ peers, ports }) => ({ [list]: peers, ports }));
    for (const [i, { comment }] of rules.entries()) {
      comments.push({ path: ['spec', direction, i], text: comment });
    }
  }
  const policy = {
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name: workload.name, namespace },
    spec,
  };
  return { policy, comments };
}

function hasDns(peers: ReadonlyMap<string, Peer>): boolean {
  return [...peers.values()].some(({ ports }) => ports.has('UDP/53'));
}

/** Returns a rule for each peer; the addresses of no pod are together in one rule for each set of ports. */
function rulesOf(cluster: ClusterObjects, peers: ReadonlyMap<string, Peer>): MadeRule[] {
  const isRange = ({ peer }: Peer) => 'ipBlock' in peer;
  const all = [...peers.values()];
  const bySet = new Map<string, Peer[]>();
  for (const peer of all.filter(isRange)) {
    const key = [...peer.ports.keys()].sort().join();
    bySet.set(key, [...(bySet.get(key) ?? []), peer]);
  }
  const rules = all.filter((peer) => !isRange(peer)).map((peer) => ruleOf([peer.peer], [peer]));
  for (const group of bySet.values()) {
    if (group.length <= mostAddresses)
      rules.push(
        ruleOf(
          group.map(({ peer }) => peer),
          group,
        ),
      );
    else {
      const { comment, ...rule } = ruleOf(everywhere(cluster, group), group);
      const more = `${counted(group.length, 'address')} that no pod has, so all of them are allowed; name their ranges if they are known`;
      rules.push({ ...rule, comment: `${comment}\n${more}` });
    }
  }
  return rules;
}

/** Returns all addresses of the families that were seen, without those of pods. */
function everywhere({ world }: ClusterObjects, group: readonly Peer[]): readonly object[] {
  const isV6 = (text: string) => text.includes(':');
  const ranges = [...world.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs);
  const texts = group.map(({ peer }) => (peer as { ipBlock: { cidr: string } }).ipBlock.cidr);
  return ['0.0.0.0/0', '::/0']
    .filter((cidr) => texts.some((each) => isV6(each) === isV6(cidr)))
    .map((cidr) => {
      const except = ranges.filter((each) => isV6(each) === isV6(cidr));
      return { ipBlock: { cidr, ...(except.length > 0 ? { except } : {}) } };
    });
}

function ruleOf(peers: readonly object[], of: readonly Peer[]): MadeRule {
  const seen = of.flatMap((peer) => [...peer.seen]).sort(([, a], [, b]) => b - a);
  const sum = seen.reduce((total, [, number]) => total + number, 0);
  const ends = listed(
    seen.map(([text]) => text),
    3,
  );
  const ports = [...of[0]!.ports.values()].sort((a, b) =>
    a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.port - b.port,
  );
  return { peers, ports, comment: `${counted(sum, 'connection')}: ${ends}` };
}
