import type { Endpoint } from '@heddle/hubble/messages';
import type { LinkVerdict, RuleRef, WorkloadKind } from '@heddle/web/contract';
import type { FilterEnd, FilterSubject, FlowFacts } from '@heddle/web/filter';
import type { Buckets } from './buckets.ts';

/** A workload, or what takes its place outside of namespaces. */
export interface Workload {
  /** A number that holds during one run of the relay. */
  readonly id: number;
  readonly namespace: string;
  readonly name: string;
  readonly kind: WorkloadKind;
  /** Pods that were seen, by name. */
  readonly pods: Map<string, PodSeen>;
}

/** A pod that was seen in flows. */
export interface PodSeen {
  readonly name: string;
  readonly addresses: Set<string>;
  /** The node that reports the pod's own side of flows; empty as long as it is unknown. */
  node: string;
  firstSeen: number;
  lastSeen: number;
}

/** One end of flows. Flows of the same end share one object. */
export interface End extends FilterEnd {
  readonly workload: Workload;
  readonly podSeen: PodSeen | undefined;
  /** The end as the first of its flows had it. */
  readonly endpoint: Endpoint | undefined;
}

/** The flows between two workloads that have the same port, service, verdict and rules. */
export interface LinkRow {
  readonly id: string;
  readonly from: Workload;
  readonly to: Workload;
  readonly protocol: number;
  readonly port: number;
  readonly service: string;
  readonly verdict: LinkVerdict;
  readonly reason: number;
  readonly rules: readonly RuleRef[];
  readonly direction: 'ingress' | 'egress' | undefined;
  /** The row as filters look at it. */
  readonly subject: FilterSubject;
  readonly firstSeen: number;
  last: number;
  /** The beginning of the present run; a pause of ten minutes ends a run. */
  since: number;
  readonly nodes: Set<string>;
  readonly buckets: Buckets;
}

/** A flow as the relay keeps it. */
export interface RelayFlow extends FilterSubject {
  readonly from: End;
  readonly to: End;
  readonly flow: FlowFacts;
  /** Milliseconds since 1970. It is set once more when the flow is counted, as is `firstSeen`. */
  time: number;
  firstSeen: number;
  readonly uuid: string;
  /** Hubble's verdict. */
  readonly hubbleVerdict: number;
  readonly fromPort: number;
  readonly isReply: boolean;
  readonly isNew: boolean;
  /** Hubble's type of the event. */
  readonly eventType: number;
  readonly bytes: number;
  readonly packets: number;
}
