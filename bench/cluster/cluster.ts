import { setTimeout as sleep } from 'node:timers/promises';
import { createLab, type Lab } from '@heddle/lab';
import { type Programmed, ServicesMap } from '../services-map.ts';
import { AgentProcess, sizeFlags } from '../variants/agent-process.ts';
import { quietCpu, type World } from '../world.ts';
import { ApiProcess, Cpus, nowNs } from './api-client.ts';
import type { Churn, Churned } from './api-process.ts';
import type { Sighting } from './lag.ts';
import { clusterIp } from './objects.ts';

/** The agent looks every few seconds whether there is memory to give back. */
const settleMs = 8_000;

export interface ClusterSize {
  readonly services: number;
  /** The number of endpoints of each service. */
  readonly endpoints: number;
}

/** The cost of an agent's start. */
export interface Arrival {
  /** Milliseconds from its first connection to the API server until the kernel has every service. */
  readonly fromConnectMs: number;
  /** The same from the start of its process. */
  readonly fromStartMs: number;
  /** Processor time of all threads, from the start of its process. */
  readonly cpuMs: number;
  readonly peakMiB: number;
}

/**
 * A fresh node with an API server that speaks TLS, and an agent that reads from it. The agent has a
 * processor of its own: it is started with sched_setaffinity(2) to one, the API server to another.
 */
export class Cluster implements Disposable {
  readonly arrival: Arrival;
  readonly agent: AgentProcess;
  readonly #lab: Lab;
  readonly #api: ApiProcess;
  readonly #map: ServicesMap;
  readonly #size: ClusterSize;
  #generation = 0;

  private constructor(
    lab: Lab,
    api: ApiProcess,
    agent: AgentProcess,
    { map, arrival }: { map: ServicesMap; arrival: Arrival },
    size: ClusterSize,
  ) {
    this.#lab = lab;
    this.#api = api;
    this.agent = agent;
    this.#map = map;
    this.arrival = arrival;
    this.#size = size;
  }

  /** Returns when all services are programmed. */
  static async open(world: World, name: string, size: ClusterSize): Promise<Cluster> {
    const lab = createLab(world.platform, { name: `bench-${name}-${process.pid}` });
    try {
      const node = lab.nodes[0]!;
      const folder = world.folder(lab.name);
      const cpus = new Cpus(world);
      const api = await ApiProcess.start(node, cpus, folder);
      await api.ask({ do: 'fill', node: node.name, ...size });
      const agent = cpus.on(quietCpu(world.platform), () => {
        const flags = {
          kubeconfig: api.kubeconfig,
          ...sizeFlags(size.services, size.endpoints),
        };
        return new AgentProcess(node, folder, flags);
      });
      const map = await agent.first(() => ServicesMap.open(world.platform, node.bpffs));
      const inForceNs = await untilInForce(agent, map, size);
      const cpuMs = agent.cpuNs() / 1e6;
      const peakMiB = agent.peakBytes() / 2 ** 20;
      const connectedNs = (await api.ask({ do: 'connected' })) as number;
      const arrival = {
        fromConnectMs: (inForceNs - connectedNs) / 1e6,
        fromStartMs: (inForceNs - agent.startedNs) / 1e6,
        ...{ cpuMs, peakMiB },
      };
      map.learn();
      return new Cluster(lab, api, agent, { map, arrival }, size);
    } catch (error) {
      lab[Symbol.dispose]();
      throw error;
    }
  }

  /** Changes one service after the other; returns the milliseconds that each took. */
  async changes(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      // Neighbours are far from each other in all that is sorted.
      const n = (++this.#generation * 7919) % this.#size.services;
      times.push(await this.#change(n));
      // Whatever the agent still does after a change is not to be in the way of the next.
      await sleep(5);
    }
    return times;
  }

  /** Has services changed at a steady pace; `see` receives the marker again and again. */
  async churn(churn: Churn, see: (marker: Sighting) => void): Promise<Churned> {
    const address = clusterIp(0);
    let isOver = false;
    const watched = async () => {
      while (!isOver) {
        see({ endpoints: this.#map.endpoints(address), atNs: nowNs() });
        await sleep(1);
      }
    };
    const churned = this.#api.ask({ do: 'churn', ...churn }).finally(() => {
      isOver = true;
    });
    const [result] = await Promise.all([churned, watched()]);
    return result as Churned;
  }

  /**
   * Gives service number `n` other endpoints at the API server and looks at the kernel's map until
   * they are programmed. Returns the milliseconds in between.
   */
  async #change(n: number): Promise<number> {
    const address = clusterIp(n);
    const before = this.#map.entry(address);
    const asked = this.#api.ask({
      do: 'change',
      service: n,
      endpoints: this.#size.endpoints,
      generation: this.#generation,
    });
    this.#map.waitForChange(address, before);
    const inForceNs = nowNs();
    return (inForceNs - ((await asked) as number)) / 1e6;
  }

  /** Lets the agent give back what its start needed. */
  async settle(): Promise<void> {
    await sleep(settleMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop();
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#map[Symbol.dispose]();
    this.#api[Symbol.dispose]();
    this.#lab[Symbol.dispose]();
  }
}

async function untilInForce(
  agent: AgentProcess,
  map: ServicesMap,
  { services, endpoints }: ClusterSize,
): Promise<number> {
  const wanted: Programmed = { services, endpoints: services * endpoints };
  await agent.first(() => {
    const found = map.programmed();
    return found.services === wanted.services && found.endpoints === wanted.endpoints
      ? found
      : undefined;
  });
  return nowNs();
}
