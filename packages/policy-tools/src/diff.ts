import type { PodRecord } from '@heddle/objects';
import type { Judgement } from '@heddle/policy';
import type { ClusterObjects } from './cluster.ts';
import { endAt } from './ends.ts';
import { verdictSentences } from './explain.ts';
import { type Flow, judgeFlow, policedPort } from './flows.ts';
import { addressPair, commonName, groupPods } from './groups.ts';
import { allowedPorts, allowedText } from './ports.ts';
import { counted, podName, questionPortText } from './texts.ts';

/** Connections between two ends at one port whose verdict changes. */
export interface FlowChange {
  /** A pod, a node or an address. */
  readonly from: string;
  readonly to: string;
  /** `TCP/80` or `ICMP`. */
  readonly port: string;
  /** The verdict after the change; it was the other one before. */
  readonly allowed: boolean;
  readonly connections: number;
  /** The reason of the new verdict, in sentences. */
  readonly why: readonly string[];
}

export interface FlowDiff {
  /** The connections that were judged. */
  readonly connections: number;
  /** Those that become denied come first, then those with most connections. */
  readonly changes: readonly FlowChange[];
}

/** Returns the connections whose verdict changes between two states of a cluster. `node` has the flows. */
export function diffFlows(
  before: ClusterObjects,
  after: ClusterObjects,
  flows: readonly Flow[],
  node: string,
): FlowDiff {
  const changes = new Map<string, FlowChange>();
  for (const flow of flows) {
    const then = judgeFlow(after, flow, node);
    const { allowed } = then;
    if (judgeFlow(before, flow, node).allowed === allowed) continue;
    const { protocol, port } = policedPort(flow);
    const change = {
      from: endAt(after, flow.client).label,
      to: endAt(after, flow.backend).label,
      port: questionPortText(protocol, port),
      allowed,
    };
    const key = JSON.stringify(change);
    const known = changes.get(key);
    changes.set(key, {
      ...change,
      connections: (known?.connections ?? 0) + 1,
      why: known?.why ?? reasons(then),
    });
  }
  const sorted = [...changes.values()].sort(
    (a, b) => Number(a.allowed) - Number(b.allowed) || b.connections - a.connections,
  );
  return { connections: flows.length, changes: sorted };
}

/** Returns the sentences about the direction that denies, or about both. */
function reasons({ egress, ingress }: Judgement): readonly string[] {
  const of = (direction: 'egress' | 'ingress') =>
    verdictSentences(direction, direction === 'egress' ? egress : ingress);
  if (!egress.allowed) return of('egress');
  if (!ingress.allowed) return of('ingress');
  return [...of('egress'), ...of('ingress')];
}

/** Two groups of pods between which other ports are allowed than before. */
export interface PairChange {
  readonly from: string;
  readonly to: string;
  /** Allowed ports as text: `all`, `none`, `TCP/80`. */
  readonly before: string;
  readonly after: string;
}

/**
 * Returns the pairs of pods between which other ports are allowed after a change. Returns undefined if there are more
 * pairs of groups of pods than `mostPairs`.
 */
export function diffPairs(
  before: ClusterObjects,
  after: ClusterObjects,
  mostPairs: number,
): readonly PairChange[] | undefined {
  const groups = commonGroups(before, after);
  if (groups.length ** 2 > mostPairs) return undefined;
  return groups.flatMap((from) =>
    groups.flatMap((to): PairChange[] => {
      const [client, server] = addressPair(from, to);
      if (client === undefined || server === undefined) return [];
      const textOf = ({ world }: ClusterObjects) =>
        allowedText(allowedPorts(world, client, server));
      const texts = { before: textOf(before), after: textOf(after) };
      if (texts.before === texts.after) return [];
      return [{ from: groupName(from), to: groupName(to), ...texts }];
    }),
  );
}

/** Returns pods in groups that are treated alike both before and after. */
function commonGroups(
  before: ClusterObjects,
  after: ClusterObjects,
): readonly (readonly PodRecord[])[] {
  const groupOf = ({ world }: ClusterObjects): ReadonlyMap<string, number> =>
    new Map(
      groupPods(world, world.pods.values()).flatMap(({ pods }, i) =>
        pods.map((pod): [string, number] => [podName(pod), i]),
      ),
    );
  const [first, second] = [groupOf(before), groupOf(after)];
  const groups = new Map<string, PodRecord[]>();
  for (const pod of after.world.pods.values()) {
    const key = `${first.get(podName(pod))} ${second.get(podName(pod))}`;
    const group = groups.get(key);
    if (group) group.push(pod);
    else groups.set(key, [pod]);
  }
  return [...groups.values()];
}

function groupName(pods: readonly PodRecord[]): string {
  const name = `${pods[0]!.namespace}/${commonName(pods)}`;
  return pods.length === 1 ? name : `${name} (${counted(pods.length, 'pod')})`;
}
