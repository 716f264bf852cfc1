import type { ServiceInput } from '@heddle/objects';
import { Random } from '@heddle/vm/internal';
import { keyOf, keyOfText } from './addresses.ts';
import { Clients } from './clients.ts';
import { SimulationClock } from './clock.ts';
import { type ClusterNode, SimulatedCluster } from './cluster.ts';
import { backendKey, type Connection, PodSockets } from './connections.ts';
import { type Disruption, disruptionOf, distributionOf, sumDisruptions } from './measures.ts';
import { Network } from './network.ts';
import { NodeClass, type SimulatedNode } from './node-class.ts';
import { type ClusterEvent, makePlan, type Plan, type PlannedStep } from './plan.ts';
import {
  mapsOf,
  type ReasonCount,
  type SimulationReport,
  type StepReport,
  sumDrops,
  type TrafficReport,
} from './report.ts';
import type { Scenario } from './scenario.ts';
import { type Target, targetOf } from './targets.ts';

/** Receives the progress of a long operation. */
export type Progress = (text: string, done: number, of: number) => void;

const noCounts = () => ({ attempts: 0, connected: 0, refused: 0, reset: 0, unanswered: 0 });
/** Runs a scenario. Throws Failure for an impossible step. */
export function simulate(
  scenario: Scenario,
  records: readonly ServiceInput[],
  progress: Progress = () => {},
): SimulationReport {
  const random = new Random(scenario.seed);
  const cluster = new SimulatedCluster(records, scenario, random);
  const start = cluster.start();
  const plan = makePlan(cluster, scenario, random);
  using simulation = new Simulation(scenario, cluster, plan, progress);
  simulation.begin(start);
  return simulation.run();
}

/** An open connection and its service. */
interface OpenConnection {
  readonly connection: Connection;
  readonly service: string;
}

class Simulation implements Disposable {
  readonly #scenario: Scenario;
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #progress: Progress;
  readonly #random: Random;
  readonly #clock = new SimulationClock();
  readonly #network = new Network();
  readonly #sockets = new PodSockets();
  readonly #classes: readonly NodeClass[];
  readonly #nodes: readonly SimulatedNode[];
  readonly #byName: ReadonlyMap<string, SimulatedNode>;
  readonly #later: ClusterEvent[];
  readonly #clients: Clients;
  #open: OpenConnection[] = [];
  #events: string[] = [];
  #drops: ReadonlyMap<string, number> = new Map();

  constructor(scenario: Scenario, cluster: SimulatedCluster, plan: Plan, progress: Progress) {
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
        ownerOf: (address: string) => this.#network.owners.get(address),
      };
      classes.push(new NodeClass(nodes, options));
    });
    this.#byName = new Map(
      classes.flatMap(({ nodes }) => nodes.map((node) => [node.name, node] as const)),
    );
    this.#nodes = cluster.nodes.map(({ name }) => this.#byName.get(name)!);
    for (const node of this.#nodes) {
      for (const address of node.addresses) {
        this.#network.owners.set(keyOf(address), { node, isPod: false });
      }
    }
    this.#clients = new Clients(this.#network, this.#sockets, this.#byName);
    this.#updateRunningNodes();
  }

  [Symbol.dispose](): void {
    for (const each of this.#classes) each[Symbol.dispose]();
  }

  begin(start: ClusterEvent['changes']): void {
    this.#placePods(start);
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
      if (step.event) this.#applyEvent(step.event, step.text);
      if (step.close) this.#close(new Set(step.close));
      const traffic = step.traffic ? this.#send(step, step.traffic) : undefined;
      const disruption = step.traffic ? undefined : this.#check(step);
      for (const name of Object.keys(all) as (keyof typeof all)[])
        all[name] += traffic?.[name] ?? 0;
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
    for (const {
      connection: { backend },
    } of this.#open) {
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

  /** Advances the time and applies all events that are due. */
  #advanceTo(atMs: number): void {
    for (const each of this.#classes) each.detachNode();
    for (let next = this.#later[0]; next && next.atMs <= atMs; next = this.#later[0]) {
      this.#later.shift();
      this.#clock.advanceTo(next.atMs);
      this.#applyEvent(next);
    }
    this.#clock.advanceTo(atMs);
  }

  /** Applies an event. `reported` is the text that the report has already. */
  #applyEvent(
    { atMs, text, changes, podsEnd, nodesFail, nodesHeal, agentsStop, agentsStart }: ClusterEvent,
    reported?: string,
  ): void {
    if (text !== reported) this.#events.push(`${atMs / 1000} s: ${text}`);
    for (const name of nodesFail) this.#byName.get(name)!.isUp = false;
    for (const address of podsEnd) {
      const key = keyOfText(address);
      this.#network.owners.delete(key);
      this.#sockets.forget(key);
    }
    for (const name of nodesHeal) {
      const node = this.#byName.get(name)!;
      node.class.resetNode(node);
      node.isUp = true;
      for (const [address, owner] of this.#network.owners) {
        if (owner.node === node) this.#sockets.forget(address);
      }
    }
    const stopped = new Set(agentsStop.map((name) => this.#byName.get(name)!.class));
    for (const each of stopped) each.stop();
    if (changes.length > 0) {
      this.#placePods(changes);
      for (const each of this.#classes) each.apply(changes);
      for (const { reason, count } of this.#failures()) {
        this.#events.push(`${atMs / 1000} s: ${count} rows are not programmed yet: ${reason}`);
      }
    }
    const started = new Set(agentsStart.map((name) => this.#byName.get(name)!.class));
    for (const each of started) each.start();
    this.#updateRunningNodes();
  }

  #updateRunningNodes(): void {
    this.#clients.setRunning(this.#nodes.filter(({ isUp }) => isUp));
  }

  /** Records the nodes of pods in slices. */
  #placePods(changes: ClusterEvent['changes']): void {
    const { owners } = this.#network;
    for (const change of changes) {
      if (change.op !== 'set' || change.object.kind !== 'slice') continue;
      for (const { address } of change.object.endpoints) {
        const key = keyOfText(address);
        if (owners.has(key)) continue;
        owners.set(key, {
          node: this.#byName.get(this.#cluster.placement.get(address)!)!,
          isPod: true,
        });
      }
    }
  }

  #send(step: PlannedStep, traffic: NonNullable<PlannedStep['traffic']>): TrafficReport {
    const { targets: services } = traffic;
    const targets = services.map((name) => targetOf(this.#cluster.services.get(name)!, traffic));
    const make = this.#clients.connectionsOf(traffic);
    const counts = noCounts();
    const spread = new Map<string, number>();
    for (let i = 0; i < traffic.connections; i++) {
      this.#spread(step, i, traffic.connections);
      const chosen = targets.length === 1 ? 0 : this.#random.below(targets.length);
      const connection = make(i, targets[chosen]!);
      const answer = connection.connect();
      counts.attempts++;
      if ('backend' in answer) {
        counts.connected++;
        spread.set(answer.backend, (spread.get(answer.backend) ?? 0) + 1);
      } else count(counts, answer.failed);
      if (traffic.keep && 'backend' in answer) {
        this.#open.push({ connection, service: services[chosen]! });
      } else {
        connection.close();
      }
    }
    const distribution = distributionOf(spread, this.#weights(targets));
    return { ...counts, ...(distribution ? { distribution } : {}) };
  }

  #close(services: ReadonlySet<string>): void {
    this.#open = this.#open.filter(({ connection, service }) => {
      if (!services.has(service)) return true;
      if (!connection.isClientGone) connection.close();
      return false;
    });
  }

  /** Sends a packet on all open connections; broken ones connect again. */
  #check(step: PlannedStep): Disruption | undefined {
    if (this.#open.length === 0) return undefined;
    const counts = {
      ...{ open: 0, kept: 0, moved: 0, reset: 0, resetToSame: 0, resetToOther: 0, resetToNone: 0 },
      ...{ backendGone: 0, pathGone: 0, clientsGone: 0 },
    };
    const open: OpenConnection[] = [];
    this.#open.forEach((each, i) => {
      const { connection } = each;
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
        const again = connection.connect();
        if (!('backend' in again)) counts.resetToNone++;
        else if (again.backend === backend) counts.resetToSame++;
        else counts.resetToOther++;
      }
      if (connection.backend !== undefined) open.push(each);
    });
    this.#open = open;
    return disruptionOf(counts);
  }

  /** Advances the time so that packets are spread over a step. */
  #spread({ atMs, lastsMs, text }: PlannedStep, done: number, of: number): void {
    const due = atMs + Math.floor((lastsMs * done) / of);
    if (due > this.#clock.nowMs) this.#advanceTo(due);
    if (done % 500 === 0) this.#progress(text, done, of);
  }

  /** Returns the weights of the backends that take new connections. */
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

  #newDrops(): ReasonCount[] {
    const now = sumDrops(this.#nodes);
    const found: ReasonCount[] = [];
    for (const [reason, count] of now) {
      const more = count - (this.#drops.get(reason) ?? 0);
      if (more > 0) found.push({ reason, count: more });
    }
    this.#drops = now;
    return found;
  }

  #failures(): ReasonCount[] {
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

/** Groups nodes that have the same rows, except for the node's own address, throughout the plan. */
function classesOf(cluster: SimulatedCluster, { restarts }: Plan): Map<string, ClusterNode[]> {
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
