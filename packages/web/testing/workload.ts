import type { Neighbour, RuleRef, WorkloadAnswer } from '@heddle/web/contract';
import { policyOf } from './build-cluster.ts';
import { type InventedLink, nameOf, partyOf } from './cluster.ts';
import type { ScriptedRelay } from './relay.ts';

/** Returns the page of a workload, a pod, a service or something outside; undefined for an unknown name. */
export function workloadOf(
  relay: ScriptedRelay,
  path: readonly string[],
  from: number,
  to: number,
): WorkloadAnswer | undefined {
  const name = path.join('/');
  const workload = relay.cluster.workloads.find(
    (each) =>
      nameOf(each) === name || each.pods.some((pod) => `${each.namespace}/${pod.name}` === name),
  );
  if (!workload) return undefined;
  const callers = relay.cluster.links.filter((link) => link.to === workload);
  const called = relay.cluster.links.filter((link) => link.from === workload);
  const sums = (links: readonly InventedLink[], bytes: 'bytesOut' | 'bytesIn') => ({
    forwarded: total(links, (link) => link.forwarded),
    dropped: total(links, (link) => link.dropped),
    refused: total(links, (link) => link.refused),
    bytes: total(links, (link) => link.forwarded * link[bytes]),
  });
  const neighbour = (link: InventedLink, other: 'from' | 'to'): Neighbour => {
    const kind = relay.kinds.find((each) => each.link === link);
    const allowed: readonly RuleRef[] = link.allowedBy
      ? [{ policy: link.allowedBy, rule: 1, direction: 'ingress', relation: 'allowed' }]
      : [];
    return {
      ...{ party: partyOf(link[other]), protocol: link.protocol, port: link.port },
      ...{
        forwarded: link.last > 1 ? 0 : link.forwarded,
        dropped: link.dropped,
        refused: link.refused,
      },
      ...{ last: relay.now - link.last * 60_000, rules: kind?.rules ?? allowed },
    };
  };
  const byRate = (one: Neighbour, other: Neighbour) =>
    other.dropped - one.dropped || other.forwarded - one.forwarded;
  return {
    ...{ party: partyOf(workload), from, to, reset: 0.002 },
    ...{ in: sums(callers, 'bytesOut'), out: sums(called, 'bytesIn') },
    callers: callers.map((link) => neighbour(link, 'from')).sort(byRate),
    called: called.map((link) => neighbour(link, 'to')).sort(byRate),
    policies: callers.some(({ allowedBy }) => allowedBy)
      ? [
          {
            ...{ policy: policyOf(workload), directions: ['ingress'] },
            allowed: total(callers, (link) => link.forwarded),
            dropped: total(callers, (link) => link.dropped),
          },
        ]
      : [],
    pods: workload.pods.map((pod) => ({
      ...{ name: pod.name, node: pod.node, addresses: [pod.address] },
      rate: total(callers, (link) => link.forwarded) / workload.pods.length,
      dropped: total(callers, (link) => link.dropped) / workload.pods.length,
    })),
    services: [...new Set(callers.map(({ port }) => port))].slice(0, 1).map((port) => ({
      ...{ name: nameOf(workload), ports: [`TCP ${port}`], endpoints: workload.pods.length },
    })),
    timeline: relay.timeline(`to:${nameOf(workload)}`, relay.keptSince, relay.now, 300),
  };
}

function total(links: readonly InventedLink[], value: (link: InventedLink) => number): number {
  return links.reduce((sum, link) => sum + value(link), 0);
}
