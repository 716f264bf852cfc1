import { startBackend } from '@heddle/lab';
import type { AgentLab } from './agent-lab.ts';
import { ManifestLab } from './manifest-lab.ts';
import { Client } from './traffic/client.ts';

/** The ports of every backend, which replies with its name. */
export const ports = { http: 8080, https: 8443, dns: 5353 } as const;

/**
 * A lab with a running agent: pods 0 and 1 are clients, pods 2 to 4 (`pod-1-3` to `pod-1-5`) are
 * backends.
 */
export class ServiceLab<Run extends AgentLab = ManifestLab> implements Disposable {
  readonly agentLab: Run;
  readonly client: Client;
  /** A client in another pod. */
  readonly other: Client;
  /** A client process on the node itself. */
  readonly onNode: Client;

  private constructor(agentLab: Run) {
    this.agentLab = agentLab;
    this.client = new Client(agentLab.pod(0));
    this.other = new Client(agentLab.pod(1));
    this.onNode = new Client(agentLab.node);
  }

  static open(name: string): Promise<ServiceLab> {
    return ServiceLab.on(new ManifestLab(name, { podsPerNode: 5 }));
  }

  /** Starts agent and backends in a lab with five pods on its first node. */
  static async on<Run extends AgentLab>(agentLab: Run): Promise<ServiceLab<Run>> {
    try {
      const { http, https, dns } = ports;
      const backends = [2, 3, 4].map((number) =>
        startBackend(agentLab.pod(number), { tcp: [http, https], udp: [dns], http: [80] }),
      );
      await Promise.all([agentLab.start(), ...backends]);
      return new ServiceLab(agentLab);
    } catch (error) {
      agentLab[Symbol.dispose]();
      throw error;
    }
  }

  /** Returns the IPv4 addresses of backends by number, from 1 to 3. */
  v4(...numbers: readonly number[]): string[] {
    return numbers.map((number) => this.agentLab.pod(number + 1).addresses.v4);
  }

  v6(...numbers: readonly number[]): string[] {
    return numbers.map((number) => this.agentLab.pod(number + 1).addresses.v6);
  }

  [Symbol.dispose](): void {
    this.agentLab[Symbol.dispose]();
  }
}

/** Returns the names of backends by number, from 1 to 3. */
export function backendNames(...numbers: readonly number[]): string[] {
  return numbers.map((number) => `pod-1-${number + 2}`);
}

/** Returns the distinct answers, sorted. */
export function distinct(answers: readonly string[]): string[] {
  return [...new Set(answers)].sort();
}

/** Returns the number of occurrences of each answer. */
export function countEach(answers: readonly string[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const each of answers.toSorted()) found[each] = (found[each] ?? 0) + 1;
  return found;
}
