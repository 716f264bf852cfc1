import { randomBytes } from 'node:crypto';
import { eventType } from '@heddle/hubble';
import { EndTable } from './ends.ts';
import { EventLog } from './events.ts';
import { RelayRing } from './flow-ring.ts';
import { LinkTable } from './links.ts';
import type { LinkRow, RelayFlow } from './model.ts';
import { FlowReader } from './read-flow.ts';

/** Flows of a node whose clock differs by more than this are counted at their arrival, in milliseconds. */
const clockMs = 10_000;
const minutesKept = 1440;

/** A node as its stream of flows shows it. */
export interface NodeTraffic {
  flows: number;
  /** Flows in the current second and in the last whole one. */
  second: number;
  inSecond: number;
  perSecond: number;
  lastLost: number;
  /** Milliseconds by which the clock of the node is ahead. */
  clock: number;
  keptSince: number;
}

/** The limits of what is kept. */
export interface TrafficLimits {
  readonly historyBytes?: number;
  readonly flows?: number;
}

/** All that the relay knows from the flows of all nodes. */
export class Traffic {
  /** A text that is new at each start. */
  readonly run = randomBytes(6).toString('base64url');
  readonly ends = new EndTable();
  readonly links: LinkTable;
  readonly ring: RelayRing;
  readonly events = new EventLog();
  readonly nodes = new Map<string, NodeTraffic>();
  readonly historyBytes: number;
  /** The oldest time that links are kept from, in milliseconds since 1970. */
  keptSince: number;
  /** Flows before this time are in the history of an earlier run: they are kept, but not counted again. */
  countedUntil = 0;
  /** Lost records by the minute of their time. */
  readonly #lost = new Map<number, Map<string, number>>();
  readonly #reader = new FlowReader(this.ends);
  readonly #listeners = new Set<(flow: RelayFlow) => void>();

  constructor(limits: TrafficLimits = {}, now = Date.now()) {
    this.historyBytes = limits.historyBytes ?? 64 * 1024 * 1024;
    this.links = new LinkTable(this.historyBytes);
    this.ring = new RelayRing(limits.flows);
    this.keptSince = now;
  }

  /**
   * Counts a flow of a node from its bytes, and returns its time by the node's clock. A flow before `oldUntil` is one
   * that the node kept before the relay asked it. Throws an Error if the bytes are no flow.
   */
  accept(message: Uint8Array, node: string, arrived: number, oldUntil: number): number {
    const flow = this.#reader.read(message, node, arrived);
    const state = this.#node(node, arrived);
    state.flows++;
    const { time } = flow;
    const isOld = time < oldUntil;
    const ahead = time - arrived;
    const isWrong = ahead > clockMs || ahead < (isOld ? -minutesKept * 60_000 : -clockMs);
    if (!isOld) {
      state.clock = isWrong ? Math.round(ahead) : 0;
      countSecond(state, arrived);
    }
    this.add(flow, isWrong ? arrived : time);
    return time;
  }

  /** Counts a flow at a time that can be trusted, in milliseconds since 1970. */
  add(flow: RelayFlow, time: number): void {
    notePods(flow, time);
    const isNew = time >= this.countedUntil && isCounted(flow);
    const row = isNew ? this.links.add(flow, time) : this.links.rowOf(flow, time);
    if (time < this.keptSince) this.keptSince = time;
    flow.time = time;
    flow.firstSeen = row?.firstSeen ?? time;
    this.ring.add(flow);
    this.events.observe(flow, time);
    for (const listener of this.#listeners) listener(flow);
  }

  /** Counts records that a node has lost. A time before all that is kept counts as the oldest. */
  lose(node: string, count: number, time: number, now = Date.now()): void {
    const oldest = Math.floor(now / 60_000) - minutesKept;
    const minute = Math.max(oldest, Math.floor(time / 60_000));
    const counts = this.#lost.get(minute) ?? new Map<string, number>();
    this.#lost.set(minute, counts);
    counts.set(node, (counts.get(node) ?? 0) + count);
    this.#node(node, time).lastLost = time;
    for (const old of this.#lost.keys()) if (old < oldest) this.#lost.delete(old);
  }

  /** Returns the records that were lost in [from, to), of one node or of all. */
  lostIn(from: number, to: number, node?: string): number {
    let sum = 0;
    for (const [minute, counts] of this.#lost) {
      if (minute * 60_000 < from - 59_999 || minute * 60_000 >= to) continue;
      for (const [name, count] of counts) if (node === undefined || name === node) sum += count;
    }
    return sum;
  }

  /** Calls `listener` for each flow until the returned function is called. */
  listen(listener: (flow: RelayFlow) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets nodes that are gone. */
  keepNodes(isThere: (node: string) => boolean): void {
    for (const name of this.nodes.keys()) if (!isThere(name)) this.nodes.delete(name);
  }

  /** Returns the flows of all nodes in the last whole second. */
  flowsPerSecond(now: number): number {
    let sum = 0;
    for (const state of this.nodes.values()) sum += perSecond(state, now);
    return sum;
  }

  /** Returns the rows with drops or refusals since a time. */
  *dropsSince(time: number): Generator<LinkRow> {
    for (const row of this.links.rows)
      if (row.verdict !== 'forwarded' && row.last >= time) yield row;
  }

  #node(name: string, now: number): NodeTraffic {
    const known = this.nodes.get(name);
    if (known) return known;
    const rates = { flows: 0, second: 0, inSecond: 0, perSecond: 0 };
    const state = { ...rates, lastLost: 0, clock: 0, keptSince: now };
    this.nodes.set(name, state);
    return state;
  }
}

/** Returns the flows of a node in the last whole second. */
export function perSecond(state: NodeTraffic, now: number): number {
  const second = Math.floor(now / 1000);
  if (state.second === second) return state.perSecond;
  return state.second === second - 1 ? state.inSecond : 0;
}

function countSecond(state: NodeTraffic, now: number): void {
  const second = Math.floor(now / 1000);
  if (state.second !== second) {
    state.perSecond = state.second === second - 1 ? state.inSecond : 0;
    state.second = second;
    state.inSecond = 0;
  }
  state.inSecond++;
}

function notePods({ from, to, flow: { direction, node } }: RelayFlow, time: number): void {
  for (const { podSeen } of [from, to]) {
    if (!podSeen) continue;
    if (podSeen.firstSeen === 0) podSeen.firstSeen = time;
    if (time > podSeen.lastSeen) podSeen.lastSeen = time;
  }
  if (direction === 'egress' && from.podSeen) from.podSeen.node = node;
  if (direction === 'ingress' && to.podSeen) to.podSeen.node = node;
}

/**
 * Returns false for a flow that the client's node reports, too: a connection between pods of two nodes is observed by
 * both. Packets that were dropped are observed once, where they were dropped.
 */
export function isCounted({ verdict, eventType: type, from, flow }: RelayFlow): boolean {
  const { direction, node } = flow;
  // The decision of a policy is an event of its own besides the connection or the drop; audit has no other event.
  if (type === eventType.policyVerdict && verdict !== 'audit') return false;
  if (verdict !== 'forwarded' || direction !== 'ingress') return true;
  const client = from.podSeen?.node ?? '';
  return client === '' || client === node;
}
