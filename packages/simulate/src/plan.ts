import { exitCodes, Failure } from '@heddle/control/failure';
import type { ObjectChange, ServiceInput } from '@heddle/objects';
import type { Random } from '@heddle/vm/internal';
import type { ServicePod, SimulatedCluster } from './cluster.ts';
import type { Scenario, ScenarioStep, SomeNodes, TrafficStep } from './scenario.ts';

/** A change of the cluster at one moment, with all choices made. */
export interface ClusterEvent {
  /** Milliseconds since the start. */
  readonly atMs: number;
  readonly text: string;
  readonly changes: readonly ObjectChange<ServiceInput>[];
  /** The addresses of pods that end. */
  readonly podsEnd: readonly string[];
  readonly nodesFail: readonly string[];
  readonly nodesHeal: readonly string[];
  readonly agentsStop: readonly string[];
  readonly agentsStart: readonly string[];
}

export interface PlannedStep {
  readonly atMs: number;
  /** The time that its packets take. */
  readonly lastsMs: number;
  readonly text: string;
  /** The change at the beginning of the step. */
  readonly event?: ClusterEvent;
  readonly traffic?: TrafficStep & { readonly targets: readonly string[] };
  /** Services whose open connections end. */
  readonly close?: readonly string[];
}

export interface Plan {
  readonly steps: readonly PlannedStep[];
  /** Changes that follow from steps and happen later, in order of time. */
  readonly later: readonly ClusterEvent[];
  /** The restarts of each node's agent, by the node's name. */
  readonly restarts: ReadonlyMap<string, string>;
}

/** The time after a change until every open connection has sent a packet. */
const checkMs = 1000;

const noChange = {
  ...{ changes: [], podsEnd: [], nodesFail: [], nodesHeal: [], agentsStop: [], agentsStart: [] },
};

/**
 * Makes all choices that a scenario leaves open: nodes, pods, times. It applies them to `cluster`. Throws
 * Failure for a step that is not possible.
 */
export function makePlan(cluster: SimulatedCluster, scenario: Scenario, random: Random): Plan {
  const steps: PlannedStep[] = [];
  const later: ClusterEvent[] = [];
  const pending: { readonly atMs: number; readonly happen: () => ClusterEvent }[] = [];
  const restarts = new Map<string, string>();
  const down = new Set<string>();
  let nowMs = 0;

  const runDueEvents = (untilMs: number) => {
    pending.sort((a, b) => a.atMs - b.atMs);
    while (pending.length > 0 && pending[0]!.atMs <= untilMs) later.push(pending.shift()!.happen());
  };
  const names = cluster.nodes.map(({ name }) => name);
  const alive = () => names.filter((name) => !down.has(name));
  const choose = (wanted: SomeNodes, from: readonly string[], where: string, what: string) => {
    if (wanted === 'all') return [...from];
    if (typeof wanted === 'number') {
      if (wanted > from.length) refuse(`${where} is ${wanted}; ${from.length} nodes ${what}`);
      return random.sample(from, wanted);
    }
    const unknown = wanted.find((name) => !from.includes(name));
    if (unknown !== undefined)
      refuse(`${where} has ${unknown}, which is none of the ${from.length} nodes that ${what}`);
    return [...wanted];
  };

  const change = (
    { backends, fail, heal, restart }: ScenarioStep,
    where: string,
  ): ClusterEvent | undefined => {
    const atMs = nowMs;
    if (backends) {
      const podsEnd: string[] = [];
      const { add } = backends;
      const services = cluster.matching(backends.service, `${where}.backends.service`);
      const counts = { added: 0, removed: 0, drained: 0 };
      for (const service of services) {
        const pick = (wanted: number | readonly string[], field: string) =>
          chooseMembers(
            cluster.members(service),
            wanted,
            `${where}.backends.${field}`,
            service,
            random,
          );
        const removed = pick(backends.remove, 'remove');
        cluster.remove(service, removed);
        podsEnd.push(...removed.flatMap(({ addresses }) => addresses));
        const drained = pick(backends.drain, 'drain');
        cluster.drain(service, drained);
        if (add > 0 && alive().length === 0)
          refuse(`${where}.backends.add is ${add}; no node is up`);
        if (add > 0) cluster.add(service, add, alive());
        counts.added += add;
        counts.removed += removed.length;
        counts.drained += drained.length;
      }
      const done = Object.entries(counts).filter(([, count]) => count > 0);
      const text = `${backends.service}: ${done.map(([what, count]) => `${counted(count, 'pod')} ${what}`).join(', ') || 'nothing changes'}`;
      return { ...noChange, atMs, text, podsEnd, changes: cluster.takeChanges() };
    }
    if (fail) {
      const failed = choose(fail.nodes, alive(), `${where}.fail.nodes`, 'are up');
      for (const name of failed) down.add(name);
      const text = `${counted(failed.length, 'node')} ${failed.length === 1 ? 'fails' : 'fail'}`;
      const notice = () => {
        const still = failed.filter((name) => down.has(name));
        const lost = cluster.loseNodes(still);
        return { text: `${counted(lost, 'endpoint')} removed`, changes: cluster.takeChanges() };
      };
      if (fail.noticed === 0) {
        const { text: removed, changes } = notice();
        return { ...noChange, atMs, text: `${text}; ${removed}`, changes, nodesFail: failed };
      }
      const noticedMs = atMs + fail.noticed;
      pending.push({
        atMs: noticedMs,
        happen: () => {
          const { text: removed, changes } = notice();
          return {
            ...noChange,
            atMs: noticedMs,
            text: `the failure is detected: ${removed}`,
            changes,
          };
        },
      });
      return { ...noChange, atMs, text, nodesFail: failed };
    }
    if (heal) {
      const healed = choose(heal.nodes, [...down].sort(), `${where}.heal.nodes`, 'are down');
      for (const name of healed) down.delete(name);
      const restored = cluster.restoreNodes(healed);
      const text = `${counted(healed.length, 'node')} ${healed.length === 1 ? 'returns' : 'return'} with ${counted(restored, 'endpoint')}`;
      return { ...noChange, atMs, text, changes: cluster.takeChanges(), nodesHeal: healed };
    }
    if (restart) {
      const chosen = choose(restart.nodes, alive(), `${where}.restart.nodes`, 'are up');
      for (const name of chosen) restarts.set(name, `${restarts.get(name) ?? ''} ${where}`);
      const backMs = atMs + restart.down;
      const agents = chosen.length === 1 ? 'agent' : 'agents';
      const back = `${chosen.length} ${agents} ${chosen.length === 1 ? 'starts' : 'start'} again`;
      pending.push({
        atMs: backMs,
        happen: () => ({ ...noChange, atMs: backMs, text: back, agentsStart: chosen }),
      });
      const text = `${chosen.length} ${agents} ${chosen.length === 1 ? 'stops' : 'stop'}`;
      return { ...noChange, atMs, text, agentsStop: chosen };
    }
    return undefined;
  };

  scenario.steps.forEach((step, i) => {
    const where = `steps[${i}]`;
    const startMs = step.at ?? nowMs;
    if (startMs < nowMs) {
      refuse(
        `${where}.at is ${durationText(startMs)}; the step before lasts until ${durationText(nowMs)} (write a later time, or omit at)`,
      );
    }
    nowMs = startMs;
    runDueEvents(nowMs);
    const event = change(step, where);
    const { traffic, close } = step;
    const lastsMs = traffic ? traffic.over : checkMs;
    const text = step.name ?? event?.text ?? (traffic ? trafficText(traffic) : quietText(step));
    steps.push({
      ...{ atMs: nowMs, lastsMs, text },
      ...(event ? { event } : {}),
      ...(traffic
        ? { traffic: { ...traffic, targets: cluster.matching(traffic.to, `${where}.traffic.to`) } }
        : {}),
      ...(close === undefined ? {} : { close: cluster.matching(close, `${where}.close`) }),
    });
    if (traffic && traffic.from !== 'outside' && alive().length === 0) {
      refuse(`${where}.traffic.from is ${traffic.from}; no node is up`);
    }
    if (
      traffic &&
      traffic.via !== 'ecmp' &&
      traffic.via !== 'resilient' &&
      !names.includes(traffic.via)
    ) {
      refuse(`${where}.traffic.via is ${traffic.via}; write ecmp, resilient or the name of a node`);
    }
    nowMs += lastsMs;
    runDueEvents(nowMs);
  });
  return { steps, later, restarts };
}

function chooseMembers(
  members: readonly ServicePod[],
  wanted: number | readonly string[],
  where: string,
  service: string,
  random: Random,
): ServicePod[] {
  if (typeof wanted === 'number') {
    if (wanted > members.length) {
      refuse(`${where} is ${wanted}; ${service} has ${counted(members.length, 'ready pod')} then`);
    }
    return random.sample(members, wanted);
  }
  return wanted.map((text) => {
    const found = members.find(({ name, addresses }) => name === text || addresses.includes(text));
    return found ?? refuse(`${where} has ${text}, which is no ready pod of ${service} then`);
  });
}

function trafficText({ connections, to, from, protocol, port, keep }: TrafficStep): string {
  const where = `${to}${port === undefined ? '' : `:${port}`}${protocol ? `/${protocol}` : ''}`;
  const what = from === 'outside' ? 'external connection' : 'connection';
  const origin = from === 'outside' ? '' : ` from ${from}s`;
  return `${counted(connections, what)}${origin} to ${where}${keep ? ', kept open' : ''}`;
}

function quietText({ close }: ScenarioStep): string {
  return close === undefined ? 'time passes' : `connections to ${close} are closed`;
}

export function durationText(milliseconds: number): string {
  if (milliseconds % 1000 !== 0) return `${milliseconds}ms`;
  const seconds = milliseconds / 1000;
  if (seconds % 3600 === 0 && seconds > 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 && seconds > 0 ? `${seconds / 60}m` : `${seconds}s`;
}

export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function refuse(sentence: string): never {
  throw new Failure(exitCodes.failed, `simulate: ${sentence}`);
}
