import { type Disruption, type Distribution, rounded } from './measures.ts';
import type { NodeClass, SimulatedNode } from './node-class.ts';

export interface ReasonCount {
  readonly reason: string;
  readonly count: number;
}

/** The use of a map over all nodes that are up. */
export interface MapReport {
  readonly name: string;
  readonly least: number;
  readonly mean: number;
  readonly most: number;
  readonly maxEntries: number;
  /** The fill of the fullest node, 0 to 1. */
  readonly pressure: number;
}

/** The result of a step, which scenario, manifests and seed determine. */
export interface StepReport {
  readonly number: number;
  /** Seconds after the start. */
  readonly at: number;
  readonly text: string;
  /** Other events during the step, with their time. */
  readonly events: readonly string[];
  readonly traffic?: TrafficReport;
  readonly disruption?: Disruption;
  /** The number of dropped packets and refused calls on all nodes, by reason. */
  readonly drops: readonly ReasonCount[];
  readonly maps: readonly MapReport[];
  /** The number of rows that are not programmed, by reason. */
  readonly failures: readonly ReasonCount[];
}

export interface TrafficReport {
  readonly attempts: number;
  readonly connected: number;
  readonly refused: number;
  readonly reset: number;
  readonly unanswered: number;
  readonly distribution?: Distribution;
}

export interface SimulationReport {
  readonly version: 1;
  readonly seed: number;
  readonly nodes: number;
  readonly services: number;
  /** The number of sets of nodes whose services have the same form. */
  readonly classes: number;
  readonly steps: readonly StepReport[];
  readonly total: {
    readonly traffic: TrafficReport;
    /** The sum of the disruptions of all steps. */
    readonly disruption?: Disruption;
    readonly drops: readonly ReasonCount[];
    readonly openConnections: number;
    /** The distribution of the open connections over their backends. */
    readonly distribution?: Distribution;
  };
}

export function mapsOf(classes: readonly NodeClass[]): MapReport[] {
  const found = new Map<string, { entries: number; nodes: number; maxEntries: number }[]>();
  const note = (name: string, entries: number, nodes: number, maxEntries: number) => {
    const others = found.get(name);
    if (others) others.push({ entries, nodes, maxEntries });
    else found.set(name, [{ entries, nodes, maxEntries }]);
  };
  for (const each of classes) {
    const up = each.nodes.filter(({ isUp }) => isUp);
    if (up.length === 0) continue;
    for (const { name, entries, maxEntries } of each.sharedUse())
      note(name, entries, up.length, maxEntries);
    for (const node of up) {
      for (const { name, entries, maxEntries } of each.ownUse(node))
        note(name, entries, 1, maxEntries);
    }
  }
  return [...found].map(([name, uses]) => {
    const { maxEntries } = uses[0]!;
    const nodes = uses.reduce((sum, use) => sum + use.nodes, 0);
    const most = uses.reduce((max, { entries }) => Math.max(max, entries), 0);
    return {
      name,
      least: uses.reduce((min, { entries }) => Math.min(min, entries), Number.POSITIVE_INFINITY),
      mean: rounded(uses.reduce((sum, use) => sum + use.entries * use.nodes, 0) / nodes),
      most,
      maxEntries,
      pressure: rounded(most / maxEntries),
    };
  });
}

/**
 * Returns the drops and refusals of all nodes since the start by reason, the most frequent first.
 */
export function sumDrops(nodes: readonly SimulatedNode[]): Map<string, number> {
  const sums = new Map<string, number>();
  const add = (reason: string, count: number) => sums.set(reason, (sums.get(reason) ?? 0) + count);
  for (const node of nodes) {
    for (const [reason, count] of node.lostDrops) add(reason, count);
    for (const { reason, count } of node.class.drops(node)) add(reason, count);
  }
  return new Map([...sums].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));
}
