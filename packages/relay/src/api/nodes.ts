import { NodeState } from '@heddle/hubble/messages';
import type { NodeCount, NodesAnswer } from '@heddle/web/contract';
import type { PeerPool } from '../peers/pool.ts';
import { perSecond, type Traffic } from '../traffic/traffic.ts';

/** The nodes as the page shows them. */
export interface NodesState {
  readonly count: NodeCount;
}

const states: Readonly<Record<number, NodesAnswer['nodes'][number]['state']>> = {
  [NodeState.NODE_CONNECTED]: 'connected',
  [NodeState.NODE_GONE]: 'gone',
  [NodeState.NODE_ERROR]: 'error',
};

/** Returns the number of connected nodes and of all. */
export function nodeCount(pool: PeerPool): NodeCount {
  return { seen: pool.connected.length, all: pool.connections.length };
}

/** Returns the state of each node. */
export function nodesOf(pool: PeerPool, traffic: Traffic, now: number): NodesAnswer['nodes'] {
  const pods = new Map<string, number>();
  for (const workload of traffic.ends.workloads) {
    for (const { node } of workload.pods.values()) pods.set(node, (pods.get(node) ?? 0) + 1);
  }
  return pool.connections.map(({ peer: { name }, state, text, since, status }) => {
    const seen = traffic.nodes.get(name);
    return {
      ...{ name, state: states[state] ?? 'unavailable', since },
      text: text === '' ? '' : `${name} does not answer: ${text}.`,
      flowsPerSecond: seen ? perSecond(seen, now) : 0,
      lost24h: traffic.lostIn(now - 86_400_000, now + 1, name),
      ...(seen && seen.lastLost > 0 ? { lastLost: seen.lastLost } : {}),
      ...{ clock: seen?.clock ?? 0, keptSince: seen?.keptSince ?? now },
      version: status?.version ?? '',
      pods: pods.get(name) ?? 0,
      tables: status
        ? [{ name: 'kept flows', used: Number(status.numFlows), size: Number(status.maxFlows) }]
        : [],
    };
  });
}
