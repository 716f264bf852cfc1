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
  /** The path from the client: `same node`, `direct` to another node, or `tunnel`. */
  readonly path: string;
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

/** The agent of a node. */
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

/** Nodes with pods, a client, and an agent that can be killed. Closing it removes everything. */
export interface DemoEngine {
  readonly engine: EngineName;
  /** The hosts of the demo in words. */
  readonly place: string;
  /** The agent of the client's node. */
  readonly agent: DemoAgent;
  /** Starts all agents with manifests that have no endpoints, and then the client's pod. */
  start(): Promise<void>;
  /** Adds a pod, to each node in turn. */
  addPod(): Promise<DemoPod>;
  removePod(pod: DemoPod): Promise<void>;
  /** Resolves when the pod answers requests, with `name` as the response. */
  startBackend(pod: DemoPod, name: string): Promise<void>;
  /** Writes the endpoints of the service into the manifests that the agents read. */
  writeEndpoints(endpoints: readonly Endpoint[]): void;
  /** Sends requests from the client pod to each target in turn. */
  startTraffic(
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ): Traffic;
  /** Starts the web page, and resolves to its address. Only the kernel has it. */
  startPage?(serviceAddress: string): Promise<string>;
  close(): Promise<void>;
}
