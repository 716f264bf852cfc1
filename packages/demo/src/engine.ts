import type { AgentStatus, ServiceDetail, ServiceEntry } from '@heddle/agent';
import type { ClientReport } from '@heddle/lab';
import type { Endpoint } from './manifests.ts';

/**
 * The engine that translates the connections: the kernel of this machine or the userspace machine.
 */
export type EngineName = 'kernel' | 'vm';

/** The names of the engines in messages. */
export const engineLabels = { kernel: 'the kernel', vm: 'the userspace machine' } as const;

/** A pod of the demo. */
export interface DemoPod {
  readonly name: string;
  readonly node: { readonly name: string };
  readonly addresses: { readonly v4: string; readonly v6: string };
}

export interface TrafficOptions {
  /** The number of requests to each target. Default: until the end. */
  readonly requests?: number;
  /** Requests per second to each target. */
  readonly rate?: number;
  readonly reportMs?: number;
}

/** Requests in progress. */
export interface Traffic {
  /** Resolves to the last report when all requests are done; rejects if there is none. */
  readonly total: Promise<ClientReport>;
  readonly hasEnded: boolean;
  setTarget(name: string, addresses: readonly string[]): void;
}

/** The agent of the demo's node. */
export interface DemoAgent {
  /** Starts the agent, and resolves when it has read all manifests. Rejects if it can't start. */
  start(): Promise<AgentStatus>;
  /** Kills the agent without a chance to clean up. */
  kill(): Promise<void>;
  /** Returns the rows of all services, or undefined while there is no agent. */
  services(): Promise<ServiceEntry[] | undefined>;
  /** Returns the rows of a service with their backends, or undefined while there is no agent. */
  service(name: string): Promise<readonly ServiceDetail[] | undefined>;
}

/** A node with pods, a client and an agent. Closing it removes everything. */
export interface DemoEngine {
  readonly engine: EngineName;
  /** IPv4 address of the node. */
  readonly address: string;
  readonly agent: DemoAgent;
  addPod(): DemoPod;
  removePod(pod: DemoPod): void;
  /** Resolves when the pod answers requests, with `name` as the response. */
  startBackend(pod: DemoPod, name: string): Promise<void>;
  /** Writes the manifests that the agent reads, with these endpoints. */
  writeManifests(endpoints: readonly Endpoint[]): void;
  /** Sends requests from the client pod to each target in turn. */
  startTraffic(
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ): Traffic;
  close(): Promise<void>;
}
