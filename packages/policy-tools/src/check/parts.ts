import type { PeerRecord, PodRecord, PortRecord, ServiceRecord } from '@heddle/objects';
import { isInBlock, matchesLabels } from '@heddle/policy';
import { prefixLength } from '../contain.ts';
import { counted, listed, podName, podsText, portText, selectorText } from '../texts.ts';
import { type Finding, type PlacedRule, rulesOf, type Subject } from './finding.ts';

/** Returns what can't be used or is unknown in the text of a policy. */
export function textFindings({ policy, remarks }: Subject): readonly Finding[] {
  const unusable = policy.problems.map((sentence): Finding => {
    const [at, ...rest] = sentence.split(' is ');
    const isPlaced = rest.length > 0 && at!.startsWith('spec.');
    const place = isPlaced ? at! : '';
    return { severity: 'error', code: 'unusable', at: place, message: sentence };
  });
  const unknown = (remarks?.unknownFields ?? []).map((at): Finding => {
    const message = `${at} is not a field that Heddle knows, so it has no effect (is it misspelt, or of a newer API version?)`;
    return { severity: 'error', code: 'unknown-field', at, message };
  });
  const ports = (remarks?.portsWithoutProtocol ?? []).map((at): Finding => {
    const port = portAt(policy, at);
    const isDns = port?.type === 'numbers' && port.first <= 53 && 53 <= port.last;
    const more = isDns ? '; DNS needs UDP, too' : '';
    const message = `${at} has no protocol, so it is TCP only${more} (write protocol: TCP if that is meant)`;
    return { severity: 'warning', code: 'port-without-protocol', at, message };
  });
  return [...unusable, ...unknown, ...ports];
}

/** Returns the port at a place such as `spec.ingress[0].ports[1]`, if all ports before it can be used. */
function portAt(policy: Subject['policy'], at: string): PortRecord | undefined {
  const match = /^spec\.(ingress|egress)\[(\d+)\]\.ports\[(\d+)\]$/.exec(at);
  if (!match) return undefined;
  return policy[match[1] as 'ingress' | 'egress']?.[Number(match[2])]?.ports?.[Number(match[3])];
}

/** Returns what the selectors, ranges and ports of a policy do not match. */
export function matchFindings(subject: Subject): readonly Finding[] {
  const { policy, cluster } = subject;
  if (cluster.world.pods.size === 0) return [];
  const selected = selectedPods(subject);
  const findings: Finding[] = [];
  if (selected.length === 0) {
    const which =
      policy.kind === 'networkPolicy'
        ? podsText(policy.pods, undefined, policy.namespace)
        : podsText(policy.subject.pods, policy.subject.namespaces, '');
    const at = policy.kind === 'networkPolicy' ? 'spec.podSelector' : 'spec.subject';
    const message = `it selects nothing: there are no ${which.replace(/^all /, '')} (${counted(cluster.world.pods.size, 'pod')} are known)`;
    findings.push({ severity: 'warning', code: 'selects-nothing', at, message });
  }
  for (const placed of rulesOf(policy)) {
    findings.push(...peerFindings(subject, placed), ...portFindings(subject, placed, selected));
  }
  return findings;
}

/** Returns the pods that a policy selects. */
export function selectedPods({ cluster: { world }, policy }: Subject): readonly PodRecord[] {
  return [...world.pods.values()].filter((pod) => world.selects(policy, pod));
}

/** Returns the pods that are peers of a rule, apart from ranges. */
export function peerPods(subject: Subject, peers: readonly PeerRecord[]): readonly PodRecord[] {
  const { cluster, policy } = subject;
  const { world } = cluster;
  return [...world.pods.values()].filter((pod) =>
    peers.some((peer) => world.isPeer(policy, peer, pod)),
  );
}

function peerFindings(subject: Subject, { direction, number, rule }: PlacedRule): Finding[] {
  const { policy, cluster } = subject;
  const list = direction === 'ingress' ? 'from' : 'to';
  const at = `spec.${direction}[${number}].${list}`;
  const peers = rule.peers ?? [];
  const findings = peers.flatMap((peer) => peerFinding(subject, peer, at, direction));
  const hasOnly = (part: 'pods' | 'namespaces') =>
    peers.some(
      (peer) =>
        peer.type === 'pods' &&
        (part === 'pods'
          ? peer.pods.length > 0 && peer.namespaces === undefined
          : peer.pods.length === 0 && peer.namespaces !== undefined),
    );
  if (policy.kind === 'networkPolicy' && hasOnly('pods') && hasOnly('namespaces')) {
    const message = `${at} has podSelector and namespaceSelector in different items, so either is enough (put both into one item if both are meant)`;
    findings.push({ severity: 'note', code: 'separate-peers', at, message });
  }
  return cluster.world.pods.size === 0 ? [] : findings;
}

function peerFinding(
  subject: Subject,
  peer: PeerRecord,
  at: string,
  direction: 'ingress' | 'egress',
): Finding[] {
  const { world } = subject.cluster;
  const nothing = (message: string): Finding[] => [
    { severity: 'warning', code: 'peer-matches-nothing', at, message: `${at}: ${message}` },
  ];
  if (peer.type === 'range') return direction === 'egress' ? rangeFinding(subject, peer, at) : [];
  if (peer.type === 'nodes') {
    const nodes = [...world.nodes.values()];
    return nodes.length > 0 && !nodes.some(({ labels }) => matchesLabels(peer.nodes, labels))
      ? nothing(`no node has ${selectorText(peer.nodes)}`)
      : [];
  }
  if (peer.type !== 'pods' || peerPods(subject, [peer]).length > 0) return [];
  const { namespaces, pods } = peer;
  if (namespaces !== undefined) {
    const matching = [...world.namespaces.values()].filter(({ labels }) =>
      matchesLabels(namespaces, labels),
    );
    if (matching.length === 0) return nothing(`no namespace has ${selectorText(namespaces)}`);
    const names = listed(matching.map(({ name }) => name));
    return nothing(`no pod of ${names} matches${pods.length > 0 ? `: ${selectorText(pods)}` : ''}`);
  }
  return nothing(`there are no ${podsText(pods, undefined, subject.policy.namespace)}`);
}

/**
 * Returns a warning about a range with ClusterIPs whose backends are elsewhere: policies see the backend, so the range
 * does not allow the service.
 */
function rangeFinding(
  { cluster, policy }: Subject,
  peer: Extract<PeerRecord, { type: 'range' }>,
  at: string,
): Finding[] {
  const { range } = peer;
  if (prefixLength(range) === 0) return [];
  const isIn = (address: string) => isInBlock(address, peer);
  const missed = [...cluster.services.values()].filter((service) => {
    if (!service.clusterIPs.some(isIn)) return false;
    const backends = backendAddresses(cluster.slices, service);
    return backends.length === 0 || backends.some((address) => !isIn(address));
  });
  if (missed.length === 0) return [];
  const field = policy.kind === 'networkPolicy' ? 'ipBlock' : 'networks';
  const names = listed(missed.map(podName), 3);
  const message = `${at}: ${range} covers the ClusterIPs of ${names}, and policies see the backends' addresses, so it does not match them (select the backends' pods instead of using ${field})`;
  return [{ severity: 'warning', code: 'covers-cluster-ips', at, message }];
}

function backendAddresses(
  slices: Subject['cluster']['slices'],
  { namespace, name }: ServiceRecord,
): readonly string[] {
  return slices
    .filter((slice) => slice.namespace === namespace && slice.service === name)
    .flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
}

/** Returns a warning about each named port that no destination pod has. */
function portFindings(
  subject: Subject,
  { direction, number, rule }: PlacedRule,
  selected: readonly PodRecord[],
): Finding[] {
  const at = `spec.${direction}[${number}]`;
  const { world } = subject.cluster;
  const destinations =
    direction === 'ingress'
      ? selected
      : rule.peers === undefined
        ? [...world.pods.values()]
        : peerPods(subject, rule.peers);
  if (destinations.length === 0) return [];
  return (rule.ports ?? []).flatMap((port): Finding[] => {
    if (port.type !== 'name') return [];
    const named = destinations.flatMap(({ namedPorts }) => namedPorts);
    const same = named.filter(({ name }) => name === port.name);
    if (same.some(({ protocol }) => port.protocol === undefined || protocol === port.protocol)) {
      return [];
    }
    const others = [
      ...new Set(named.map((each) => `${each.name} (${each.protocol}/${each.port})`)),
    ];
    const known = others.length === 0 ? 'they name no ports' : `they have ${listed(others)}`;
    const whose = direction === 'ingress' ? 'pod that the policy selects' : 'pod among the peers';
    const message = `${at}: no ${whose} has a port ${portText(port)}; ${known}`;
    return [{ severity: 'warning', code: 'no-such-port', at, message }];
  });
}
