import type { AgentStatus, ServiceDetail, ServiceEntry } from '@heddle/agent';
import type { ClientReport } from '@heddle/lab';
import type { Endpoint } from './manifests.ts';

/** What translates the connections: the kernel of this machine, or the userspace machine. */
export type Engine = 'kernel' | 'vm';

/** Where programs and maps are, in words. */
export const whereabouts = { kernel: 'the kernel', vm: 'the userspace machine' } as const;

/** A pod of the demo. */
export interface DemoPod {
  readonly name: string;
  readonly node: { readonly name: string };
  readonly addresses: { readonly v4: string; readonly v6: string };
}

export interface TrafficOptions {
  /** To the service, and as many directly to its pods; without it until the end. */
  readonly requests?: number;
  /** Per second, each way. */
  readonly rate?: number;
  readonly reportMs?: number;
}

/** Requests that are being sent. */
export interface Traffic {
  /** The last report, once all are sent; rejects when there is none. */
  readonly total: Promise<ClientReport>;
  readonly hasEnded: boolean;
  setTarget(name: string, addresses: readonly string[]): void;
}

/** The agent of the demo's node. */
export interface DemoAgent {
  /** Starts it, and returns once it has read all manifests. Throws when it can't. */
  start(): Promise<AgentStatus>;
  /** Kills it as nothing can prepare for. */
  kill(): Promise<void>;
  /** Rows of all services; undefined while there is no agent. */
  services(): Promise<ServiceEntry[] | undefined>;
  /** Rows of a service with their backends; undefined while there is no agent. */
  service(name: string): Promise<readonly ServiceDetail[] | undefined>;
}

/** A node with pods to play on. Closing it removes all of it. */
export interface Theatre {
  readonly engine: Engine;
  /** IPv4 address of the node. */
  readonly address: string;
  readonly agent: DemoAgent;
  addPod(): DemoPod;
  removePod(pod: DemoPod): void;
  /** Returns once the pod answers requests, with its endpoint as text. */
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
