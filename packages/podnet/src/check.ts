import {
  findLink,
  listAddresses,
  listLinks,
  listRoutes,
  type NetlinkSocket,
  type NetworkLink,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { seesAllProcesses } from './namespace-paths.ts';
import { visitPeers } from './peers.ts';
import type { PodInterface } from './pod-settings.ts';

/** The state of a pod interface. */
export interface PodInterfaceState {
  /** Sentences about what differs from its settings. */
  readonly problems: readonly string[];
  /**
   * False if no mount and no process leads to the pod's network namespace; undefined if that is unknown: in a
   * container, mounts and processes of the node may be hidden.
   */
  readonly hasNamespace: boolean | undefined;
}

/**
 * Compares pod interfaces with their settings, in whose node's namespace the calling thread and `node` are. Returns
 * their states by name. Throws NetlinkError, SysError.
 */
export function checkPodInterfaces<Pod extends PodInterface>(
  platform: Platform,
  node: NetlinkSocket,
  pods: readonly Pod[],
): ReadonlyMap<string, PodInterfaceState> {
  const links = new Map(listLinks(node).map((link) => [link.name, link]));
  const routes = new Set(listRoutes(node).map(({ destination, link }) => `${destination} ${link}`));
  const found = pods.flatMap((pod) => {
    const link = links.get(pod.name);
    return link ? [{ ...link, pod, problems: nodeProblems(pod, link, routes) }] : [];
  });
  const hidden = new Set(
    visitPeers(platform, node, found, ({ pod, problems }, peer, inside) => {
      problems.push(...podProblems(pod, peer, inside));
    }),
  );
  const states = new Map<string, PodInterfaceState>();
  for (const link of found) {
    const { name, problems } = link;
    if (!hidden.has(link)) {
      states.set(name, { problems, hasNamespace: true });
      continue;
    }
    const isGone = seesAllProcesses(platform);
    const reason = isGone
      ? "no mount and no process leads to the pod's network namespace"
      : 'the end in the pod cannot be checked: its network namespace is hidden from the agent';
    const hasNamespace = isGone ? false : undefined;
    states.set(name, { problems: [...problems, reason], hasNamespace });
  }
  for (const { name } of pods) {
    if (!states.has(name)) {
      states.set(name, { problems: [`${name} is gone`], hasNamespace: false });
    }
  }
  return states;
}

function nodeProblems(pod: PodInterface, link: NetworkLink, routes: ReadonlySet<string>): string[] {
  const problems = linkProblems(pod, link);
  const { name, alias } = pod;
  if (alias !== undefined && link.alias !== alias) {
    problems.push(`${name} has the alias ${JSON.stringify(link.alias ?? '')}`);
  }
  for (const { address } of pod.addresses) {
    const route = `${address}/${address.includes(':') ? 128 : 32} ${link.index}`;
    if (!routes.has(route)) problems.push(`the node has no route to ${address} through ${name}`);
  }
  return problems;
}

function podProblems(pod: PodInterface, index: number, inside: NetlinkSocket): string[] {
  const link = findLink(inside, index);
  if (!link) return [`${pod.podName} is gone`];
  const problems = linkProblems(pod, link);
  const { kind, podName, podMac } = pod;
  if (link.name !== podName) problems.push(`${podName} is called ${link.name}`);
  if (kind !== 'netkit' && link.address !== podMac) {
    problems.push(`${podName} has the link-layer address ${link.address}, not ${podMac}`);
  }
  const present = listAddresses(inside, index).map(({ address }) => address);
  const routes = listRoutes(inside).filter((route) => route.link === index);
  for (const { address } of pod.addresses) {
    if (!present.includes(address)) problems.push(`${podName} has no address ${address}`);
    const destination = address.includes(':') ? '::/0' : '0.0.0.0/0';
    if (!routes.some((route) => route.destination === destination)) {
      problems.push(`the pod has no route to ${destination} through ${podName}`);
    }
  }
  return problems;
}

function linkProblems({ mtu }: PodInterface, link: NetworkLink): string[] {
  return [
    ...(link.up ? [] : [`${link.name} is down`]),
    ...(link.mtu === mtu ? [] : [`${link.name} has the MTU ${link.mtu}, not ${mtu}`]),
  ];
}
