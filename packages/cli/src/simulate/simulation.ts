import { maglevSize, maglevTable } from '@heddle/datapath';
import type { ObjectRecord } from '@heddle/model';
import { parseIp } from '@heddle/sys';
import { keyOf, keyOfText } from './addresses.ts';
import { SimulationClock } from './clock.ts';
import { Cluster, type ClusterNode } from './cluster.ts';
import {
  backendKey,
  type Connection,
  type Entry,
  InsideConnection,
  OutsideConnection,
  PodSockets,
} from './connections.ts';
import type { Tuple } from './frames.ts';
import { type Disruption, type Distribution, disruptionOf, distributionOf } from './measures.ts';
import { Network } from './network.ts';
import { NodeClass, type SimulatedNode } from './node-class.ts';
import { type Happening, makePlan, type Plan, type PlannedStep } from './plan.ts';
import { hashText, Random } from './random.ts';
import { type Counted, type MapReport, mapsOf, sumDrops } from './report.ts';
import type { Scenario, TrafficStep } from './scenario.ts';
import { type Target, targetOf } from './targets.ts';

/** What a step came to. All of it is determined by scenario, manifests and seed. */
export interface StepReport {
  readonly number: number;
  /** Seconds after the start. */
  readonly at: number;
  readonly text: string;
  /** What else happened while it lasted, with its time. */
  readonly events: readonly string[];
  readonly traffic?: TrafficReport;
  readonly disruption?: Disruption;
  /** Packets that were dropped and calls that were refused, by reason, on all nodes together. */
  readonly drops: readonly Counted[];
  readonly maps: readonly MapReport[];
  /** Rows that are not in force, by reason. */
  readonly failures: readonly Counted[];
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
  /** Sets of nodes whose services have the same form. */
  readonly classes: number;
  readonly steps: readonly StepReport[];
  readonly total: {
    readonly traffic: TrafficReport;
    /** Connections that were open when something changed, over all changes. */
    readonly disruption?: Disruption;
    readonly drops: readonly Counted[];
    readonly openConnections: number;
    /** How the open connections are spread over their backends. */
    readonly distribution?: Distribution;
  };
}

/** Hears how far a long piece of work is. */
export type Progress = (text: string, done: number, of: number) => void;

const noCounts = () => ({ attempts: 0, connected: 0, refused: 0, reset: 0, unanswered: 0 });
/** First port of clients outside, and the first that is none. */
const clientPorts = { first: 10_000, end: 65_536 } as const;
/** Clients have addresses of these ranges (RFC 2544 and 3849). */
const clientAddress = (i: number, isIpv4: boolean) =>
  parseIp(
    isIpv4
      ? `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
      : `2001:db8:ffff::${i.toString(16)}`,
  )!;

/** Runs a scenario. Throws Failure for what can't be done. */
export function simulate(
  scenario: Scenario,
  records: readonly ObjectRecord[],
  progress: Progress = () => {},
): SimulationReport {
  const random = new Random(scenario.seed);
  const cluster = new Cluster(records, scenario, random);
  const start = cluster.start();
  const plan = makePlan(cluster, scenario, random);
  using simulation = new Simulation(scenario, cluster, plan, progress);
  simulation.begin(start);
  return simulation.run();
}

class Simulation implements Disposable {
  readonly #scenario: Scenario;
  readonly #cluster: Cluster;
  readonly #plan: Plan;
  readonly #progress: Progress;
  readonly #random: Random;
  readonly #clock = new SimulationClock();
  readonly #network = new Network();
  readonly #sockets = new PodSockets();
  readonly #classes: readonly NodeClass[];
  readonly #nodes: readonly SimulatedNode[];
  readonly #byName: ReadonlyMap<string, SimulatedNode>;
  readonly #later: Happening[];
  readonly #clientPods = new Map<SimulatedNode, bigint[]>();
  readonly #nextPorts = new Map<number, number>();
  #open: Connection[] = [];
  #up: readonly SimulatedNode[] = [];
  /** The node that packets of a hash enter by, where the network hashes consistently. */
  #resilient: readonly SimulatedNode[] | undefined;
  #events: string[] = [];
  #drops: ReadonlyMap<string, number> = new Map();

  constructor(scenario: Scenario, cluster: Cluster, plan: Plan, progress: Progress) {
    this.#scenario = scenario;
    this.#cluster = cluster;
    this.#plan = plan;
    this.#progress = progress;
    this.#later = [...plan.later];
    this.#random = new Random(scenario.seed + 1);
    const groups = [...classesOf(cluster, plan).values()];
    const classes: NodeClass[] = [];
    this.#classes = classes;
    groups.forEach((nodes, i) => {
      progress('starting nodes', i, groups.length);
      const options = {
        clock: this.#clock,
        seed: scenario.seed + i,
        sizes: scenario.sizes,
        homeOf: (address: string) => this.#network.homes.get(address),
      };
      classes.push(new NodeClass(nodes, options));
    });
    this.#byName = new Map(
      classes.flatMap(({ nodes }) => nodes.map((node) => [node.name, node] as const)),
    );
    this.#nodes = cluster.nodes.map(({ name }) => this.#byName.get(name)!);
    for (const node of this.#nodes) {
      for (const address of node.addresses) {
        this.#network.homes.set(keyOf(address), { node, isPod: false });
      }
    }
    this.#countNodes();
  }

  [Symbol.dispose](): void {
    for (const each of this.#classes) each[Symbol.dispose]();
  }

  begin(start: Happening['changes']): void {
    this.#settlePods(start);
    this.#classes.forEach((each, i) => {
      this.#progress('writing services', i, this.#classes.length);
      each.apply(start);
    });
  }

  run(): SimulationReport {
    const { steps } = this.#plan;
    const reports: StepReport[] = [];
    const all = noCounts();
    const disrupted: Disruption[] = [];
    steps.forEach((step, i) => {
      this.#events = [];
      this.#advanceTo(step.atMs);
      if (step.happening) this.#happen(step.happening, step.text);
      const traffic = step.traffic ? this.#send(step, step.traffic) : undefined;
      const disruption = step.traffic ? undefined : this.#check(step);
      if (traffic)
        for (const name of Object.keys(all) as (keyof typeof all)[]) all[name] += traffic[name];
      if (disruption) disrupted.push(disruption);
      this.#advanceTo(step.atMs + step.lastsMs);
      reports.push({
        ...{ number: i + 1, at: step.atMs / 1000, text: step.text, events: this.#events },
        ...(traffic ? { traffic } : {}),
        ...(disruption ? { disruption } : {}),
        drops: this.#newDrops(),
        maps: mapsOf(this.#classes),
        failures: this.#failures(),
      });
    });
    const spread = new Map<string, number>();
    for (const { backend } of this.#open) {
      if (backend !== undefined) spread.set(backend, (spread.get(backend) ?? 0) + 1);
    }
    const distribution = distributionOf(spread, new Map([...spread.keys()].map((key) => [key, 1])));
    const sum = sumDisruptions(disrupted);
    return {
      version: 1,
      seed: this.#scenario.seed,
      nodes: this.#nodes.length,
      services: this.#cluster.services.size,
      classes: this.#classes.length,
      steps: reports,
      total: {
        traffic: all,
        ...(sum ? { disruption: sum } : {}),
        drops: [...this.#drops].map(([reason, count]) => ({ reason, count })),
        openConnections: this.#open.length,
        ...(distribution ? { distribution } : {}),
      },
    };
  }

  /** Lets time pass, with all that is to happen until then. */
  #advanceTo(atMs: number): void {
    for (const each of this.#classes) each.leave();
    for (let next = this.#later[0]; next && next.atMs <= atMs; next = this.#later[0]) {
      this.#later.shift();
      this.#clock.advanceTo(next.atMs);
      this.#happen(next);
    }
    this.#clock.advanceTo(atMs);
  }

  /** `told` is what the report says of it anyway. */
  #happen(
    { atMs, text, changes, podsEnd, nodesFail, nodesHeal, agentsStop, agentsStart }: Happening,
    told?: string,
  ): void {
    if (text !== told) this.#events.push(`${atMs / 1000} s: ${text}`);
    for (const name of nodesFail) this.#byName.get(name)!.isUp = false;
    for (const address of podsEnd) {
      const key = keyOfText(address);
      this.#network.homes.delete(key);
      this.#sockets.forget(key);
    }
    for (const name of nodesHeal) {
      const node = this.#byName.get(name)!;
      node.class.forget(node);
      node.isUp = true;
      for (const [address, home] of this.#network.homes) {
        if (home.node === node) this.#sockets.forget(address);
      }
    }
    const stopped = new Set(agentsStop.map((name) => this.#byName.get(name)!.class));
    for (const each of stopped) each.stop();
    if (changes.length > 0) {
      this.#settlePods(changes);
      for (const each of this.#classes) each.apply(changes);
      for (const { reason, count } of this.#failures()) {
        this.#events.push(`${atMs / 1000} s: ${count} rows are not in force yet: ${reason}`);
      }
    }
    const started = new Set(agentsStart.map((name) => this.#byName.get(name)!.class));
    for (const each of started) each.start();
    this.#countNodes();
  }

  #countNodes(): void {
    this.#up = this.#nodes.filter(({ isUp }) => isUp);
    this.#resilient = undefined;
  }

  /** Notes where the pods of slices are. */
  #settlePods(changes: Happening['changes']): void {
    const { homes } = this.#network;
    for (const change of changes) {
      if (change.op !== 'set' || change.object.kind !== 'slice') continue;
      for (const { address } of change.object.endpoints) {
        const key = keyOfText(address);
        if (homes.has(key)) continue;
        homes.set(key, {
          node: this.#byName.get(this.#cluster.placement.get(address)!)!,
          isPod: true,
        });
      }
    }
  }

  #send(step: PlannedStep, traffic: NonNullable<PlannedStep['traffic']>): TrafficReport {
    const targets = traffic.targets.map((name) =>
      targetOf(this.#cluster.services.get(name)!, traffic),
    );
    const make = this.#clients(traffic);
    const counts = noCounts();
    const spread = new Map<string, number>();
    for (let i = 0; i < traffic.connections; i++) {
      this.#spread(step, i, traffic.connections);
      const connection = make(i, targets.length === 1 ? targets[0]! : this.#random.pick(targets));
      const answer = connection.dial();
      counts.attempts++;
      if ('backend' in answer) {
        counts.connected++;
        spread.set(answer.backend, (spread.get(answer.backend) ?? 0) + 1);
      } else count(counts, answer.failed);
      if (traffic.keep && 'backend' in answer) this.#open.push(connection);
      else connection.close();
    }
    const distribution = distributionOf(spread, this.#weights(targets));
    return { ...counts, ...(distribution ? { distribution } : {}) };
  }

  /** All that is open sends a packet; what is broken connects anew. */
  #check(step: PlannedStep): Disruption | undefined {
    if (this.#open.length === 0) return undefined;
    const counts = {
      ...{ open: 0, kept: 0, moved: 0, reset: 0, resetToSame: 0, resetToOther: 0, resetToNone: 0 },
      ...{ backendGone: 0, pathGone: 0, clientsGone: 0 },
    };
    const open: Connection[] = [];
    this.#open.forEach((connection, i) => {
      this.#spread(step, i, this.#open.length);
      if (connection.isClientGone) {
        counts.clientsGone++;
        return;
      }
      counts.open++;
      const { backend, isBackendGone, isPathGone } = connection;
      if (isBackendGone) counts.backendGone++;
      else if (isPathGone) counts.pathGone++;
      const answer = connection.check();
      if ('backend' in answer) {
        if (answer.backend === backend) counts.kept++;
        else counts.moved++;
        connection.backend = answer.backend;
      } else {
        counts.reset++;
        const again = connection.dial();
        if (!('backend' in again)) counts.resetToNone++;
        else if (again.backend === backend) counts.resetToSame++;
        else counts.resetToOther++;
      }
      if (connection.backend !== undefined) open.push(connection);
    });
    this.#open = open;
    return disruptionOf(counts);
  }

  /** Spreads packets over the time of a step. */
  #spread({ atMs, lastsMs, text }: PlannedStep, done: number, of: number): void {
    const due = atMs + Math.floor((lastsMs * done) / of);
    if (due > this.#clock.nowMs) this.#advanceTo(due);
    if (done % 500 === 0) this.#progress(text, done, of);
  }

  /** What makes the n-th connection of a step. */
  #clients(traffic: TrafficStep): (i: number, target: Target) => Connection {
    const { connections, from } = traffic;
    if (from === 'outside') {
      const clients = traffic.clients ?? Math.min(connections, 65_536);
      const entry = this.#entry(traffic.via);
      return (i, target) => this.#outside(i % clients, target, entry);
    }
    const places: { node: SimulatedNode; cookie: bigint }[] = [];
    const clients =
      traffic.clients ?? Math.min(connections, from === 'pod' ? 1000 : this.#up.length);
    for (let i = 0; i < clients; i++) {
      const node = this.#up[i % this.#up.length]!;
      const number = Math.floor(i / this.#up.length);
      places.push({ node, cookie: from === 'node' ? 1n : this.#clientPod(node, number) });
    }
    return (i, { address, protocol, port, isIpv4 }) => {
      const { node, cookie } = places[i % places.length]!;
      return new InsideConnection(this.#network, node, cookie, {
        ...{ address: address!, protocol, port, isIpv4 },
      });
    };
  }

  /** The n-th pod of a node that has clients; steps share them. */
  #clientPod(node: SimulatedNode, number: number): bigint {
    const pods = this.#clientPods.get(node) ?? [];
    this.#clientPods.set(node, pods);
    while (pods.length <= number) pods.push(node.class.makePod());
    return pods[number]!;
  }

  #outside(client: number, target: Target, entry: Entry): Connection {
    const { isIpv4, port, protocol, address } = target;
    const sourcePort = this.#nextPorts.get(client) ?? clientPorts.first;
    const following = sourcePort + 1;
    this.#nextPorts.set(client, following === clientPorts.end ? clientPorts.first : following);
    const source = clientAddress(client, isIpv4);
    const towards = (destination: Uint8Array): Tuple => {
      return { protocol, source, sourcePort, destination, destinationPort: port };
    };
    if (address !== undefined) {
      const tuple = towards(Uint8Array.from(address, (character) => character.charCodeAt(0)));
      return new OutsideConnection(this.#network, this.#sockets, entry, isIpv4, () => tuple);
    }
    // The client chooses a node, and another one only when it connects anew.
    let chosen: SimulatedNode | undefined;
    const none = new Uint8Array(16);
    return new OutsideConnection(
      ...([this.#network, this.#sockets, () => chosen, isIpv4] as const),
      () => {
        chosen = entry(towards(none));
        const own = chosen?.address(isIpv4 ? 4 : 6);
        return own && towards(own);
      },
    );
  }

  /** By which node packets enter: the network's choice by a hash, or always the same. */
  #entry(via: string): Entry {
    const named = this.#byName.get(via);
    if (named) return () => named;
    if (via === 'ecmp') return (tuple) => this.#up[hashOf(tuple) % this.#up.length];
    return (tuple) => {
      this.#resilient ??= this.#resilientTable();
      return this.#resilient[hashOf(tuple) % this.#resilient.length];
    };
  }

  #resilientTable(): SimulatedNode[] {
    const nodes = this.#up.map(({ name }) => ({ name, weight: 1 }));
    return Array.from(maglevTable(nodes, maglevSize(nodes.length)), (i) => this.#up[i]!);
  }

  /** Weights of the backends that take new connections. */
  #weights(targets: readonly Target[]): Map<string, number> {
    const weights = new Map<string, number>();
    const { table } = this.#classes[0]!;
    for (const { row } of targets) {
      const found = table.get(row);
      for (const { address, port, state, weight } of found?.backends ?? []) {
        if (state !== 'active') continue;
        const share = found!.algorithm === 'weighted' || found!.algorithm === 'maglev' ? weight : 1;
        weights.set(backendKey(keyOfText(address), port), share);
      }
    }
    return weights;
  }

  #newDrops(): Counted[] {
    const now = sumDrops(this.#nodes);
    const found: Counted[] = [];
    for (const [reason, count] of now) {
      const more = count - (this.#drops.get(reason) ?? 0);
      if (more > 0) found.push({ reason, count: more });
    }
    this.#drops = now;
    return found;
  }

  #failures(): Counted[] {
    const reasons = new Map<string, number>();
    for (const { reason } of this.#classes[0]!.failures()) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    return [...reasons].map(([reason, count]) => ({ reason, count }));
  }
}

function count(
  counts: ReturnType<typeof noCounts>,
  failed: 'refused' | 'reset' | 'no answer',
): void {
  counts[failed === 'no answer' ? 'unanswered' : failed]++;
}

/** Nodes that have the same rows, but for the node's own address, at every time of the plan. */
function classesOf(cluster: Cluster, { restarts }: Plan): Map<string, ClusterNode[]> {
  const classes = new Map<string, ClusterNode[]>();
  for (const node of cluster.nodes) {
    const { name, zone, addresses } = node;
    const families = addresses
      .map((address) => (address.includes(':') ? '6' : '4'))
      .sort()
      .join('');
    const isPlain = /^4?6?$/.test(families) && !cluster.special.has(name);
    const key = isPlain
      ? `${families} ${restarts.get(name) ?? ''} ${cluster.zonesMatter ? zone : ''}`
      : `node ${name}`;
    const others = classes.get(key);
    if (others) others.push(node);
    else classes.set(key, [node]);
  }
  return classes;
}

function hashOf({ source, sourcePort, destination, destinationPort }: Tuple): number {
  return hashText(
    keyOf(source) + keyOf(destination) + String.fromCharCode(sourcePort, destinationPort),
  );
}

function sumDisruptions(all: readonly Disruption[]): Disruption | undefined {
  if (all.length === 0) return undefined;
  const sum = (pick: (each: Disruption) => number) =>
    all.reduce((total, each) => total + pick(each), 0);
  return disruptionOf({
    ...{ open: sum((d) => d.open), kept: sum((d) => d.kept), moved: sum((d) => d.moved) },
    ...{ reset: sum((d) => d.reset), resetToSame: sum((d) => d.resetToSame) },
    ...{ resetToOther: sum((d) => d.resetToOther), resetToNone: sum((d) => d.resetToNone) },
    clientsGone: sum((d) => d.clientsGone),
    backendGone: sum((d) => d.backendGone),
    pathGone: sum((d) => d.pathGone),
  });
}
