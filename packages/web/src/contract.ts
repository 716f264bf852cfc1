/**
 * The contract between the page and the relay. All requests are GET below `api/`, relative to the page.
 * Tables are in columns: the arrays of one table have the same length, and an entry of a column that ends in
 * an index refers to the dictionary that its comment names. Fields are added, never changed.
 *
 * Times are milliseconds since 1970 (UTC), rates are per second, sizes are bytes.
 */

/** The answer to a request that fails; its status is 400 or more. */
export interface ApiError {
  readonly error: {
    readonly code: 'filter' | 'range' | 'unknown' | 'forbidden' | 'unavailable';
    /** A whole sentence for the reader. */
    readonly text: string;
    /** The index of the filter's word that the error is about. */
    readonly word?: number;
  };
}

/** `GET hello` */
export interface Hello {
  readonly version: string;
  readonly cluster: string;
  /** A new value after each start of the relay. The ids of all other answers are valid during one run. */
  readonly run: string;
  readonly now: number;
  /** The oldest time that links and single flows are kept from. */
  readonly keptSince: { readonly links: number; readonly flows: number };
  readonly nodes: NodeCount;
  readonly features: readonly ('dns' | 'http' | 'policy')[];
  /** The namespaces that the reader may see, or undefined for all. */
  readonly namespaces?: readonly string[];
  readonly limits: { readonly links: number; readonly historyBytes: number };
}

export interface NodeCount {
  readonly seen: number;
  readonly all: number;
}

/** The kind of a party of a link. */
export type WorkloadKind =
  | 'Deployment'
  | 'StatefulSet'
  | 'DaemonSet'
  | 'Job'
  | 'Pod'
  | 'Service'
  | 'Host'
  | 'Node'
  | 'Outside';

/**
 * One letter for each kind, in the string `MapAnswer.workloads.kind`: D Deployment, S StatefulSet, A DaemonSet,
 * J Job, P Pod, V Service, H host process, N another node, O outside the cluster.
 */
export const kindLetters: Readonly<Record<string, WorkloadKind>> = {
  D: 'Deployment',
  S: 'StatefulSet',
  A: 'DaemonSet',
  J: 'Job',
  P: 'Pod',
  V: 'Service',
  H: 'Host',
  N: 'Node',
  O: 'Outside',
};

/** `GET map?f&from&to&level=ns|workload&open=NS,NS` and the event `map` with the whole map. */
export interface MapAnswer {
  readonly seq: number;
  /** The range that is covered. */
  readonly from: number;
  readonly to: number;
  readonly namespaces: { readonly name: readonly string[]; readonly outside: readonly boolean[] };
  readonly workloads: {
    /** Index of `namespaces`. */
    readonly namespace: readonly number[];
    /** With `level=ns`, a namespace that is not open has one workload with the empty name. */
    readonly name: readonly string[];
    /** One letter of `kindLetters` for each. */
    readonly kind: string;
    /** The number of pods, and of workloads where the entry stands for a namespace. */
    readonly pods: readonly number[];
    readonly workloads: readonly number[];
  };
  readonly links: MapLinks;
  /** Workloads that nearly all others call, or that call nearly all: the page folds them. */
  readonly hubs: readonly {
    /** Index of `workloads`. */
    readonly workload: number;
    readonly direction: 'called' | 'calls';
    readonly port: number;
    readonly count: number;
    readonly of: number;
  }[];
  /** The sum of the links beyond the limit. */
  readonly left: { readonly links: number; readonly connections: number };
}

/** The links of a map in columns. */
export interface MapLinks {
  /** Indexes of `workloads`. */
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** The number of the IP protocol. */
  readonly protocol: readonly number[];
  /** The port of the server; 0 where several ports are summed up. */
  readonly port: readonly number[];
  /** New connections per second; `dropped` and `refused` are packets per second. */
  readonly forwarded: readonly number[];
  readonly dropped: readonly number[];
  readonly refused: readonly number[];
  readonly audit: readonly number[];
  /** Bytes per second from the client, and to it. */
  readonly bytesOut: readonly number[];
  readonly bytesIn: readonly number[];
  /** Seconds before `to` at which the link was last seen. */
  readonly last: readonly number[];
}

/** The event `map` after a whole map: the values of links that changed. `link` are indexes of its links. */
export interface MapDelta extends Partial<Omit<MapLinks, 'from' | 'to' | 'protocol' | 'port'>> {
  readonly seq: number;
  /** The sequence number of the map that this one changes. */
  readonly base: number;
  readonly from: number;
  readonly to: number;
  readonly link: readonly number[];
}

/** `GET timeline?f&from&to&step`: rates of the buckets from `from` on, `step` seconds each; null where nothing is kept. */
export interface Timeline {
  readonly from: number;
  readonly step: number;
  readonly forwarded: readonly (number | null)[];
  readonly dropped: readonly (number | null)[];
  readonly refused: readonly (number | null)[];
  /** Flow records that were lost in the bucket. */
  readonly lost: readonly number[];
}

/** One end of a link or flow. */
export interface Party {
  /** Empty outside of namespaces. */
  readonly namespace: string;
  /** The workload, the host name or the range of addresses. */
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly pod?: string;
  readonly address?: string;
  readonly labels?: readonly string[];
}

export interface PolicyRef {
  /** NetworkPolicy or ClusterNetworkPolicy. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** A policy's part in a decision. */
export interface RuleRef {
  readonly policy: PolicyRef;
  /** The rule's number in its direction, from 1; undefined where the policy only isolates. */
  readonly rule?: number;
  readonly direction: 'ingress' | 'egress';
  readonly relation: 'allowed' | 'denied' | 'isolates' | 'nearest';
}

export type LinkVerdict = 'forwarded' | 'dropped' | 'refused' | 'audit';

/** Drops with the same reason, rules, ends and port. */
export interface DropKind {
  /** Stable over restarts: a hash of what the kind consists of. */
  readonly id: string;
  /** Hubble's number and name of the reason. */
  readonly reason: number;
  readonly name: string;
  readonly verdict: 'dropped' | 'refused' | 'audit';
  readonly direction?: 'ingress' | 'egress';
  readonly from: Party;
  readonly to: Party;
  readonly protocol: number;
  readonly port: number;
  /** NAMESPACE/NAME of the service whose address the client used. */
  readonly service?: string;
  /** Packets per second in the last minute, and packets in the range. */
  readonly now: number;
  readonly packets: number;
  /** Distinct connections that were tried, where the relay knows them. */
  readonly attempts?: number;
  /** True if `packets` comes from counters of the kernel and no packet is missing. */
  readonly exact: boolean;
  /** The beginning of the present run; a pause of more than ten minutes ends a run. */
  readonly since: number;
  readonly last: number;
  /** Packets in each of the last 24 hours, oldest first. */
  readonly hours: readonly number[];
  readonly nodes: readonly string[];
  readonly rules: readonly RuleRef[];
}

/** `GET drops?f&from&to` */
export interface DropsAnswer {
  readonly from: number;
  readonly to: number;
  /** Kinds that happen now come first, then by number; 200 at most. */
  readonly kinds: readonly DropKind[];
  readonly left: { readonly kinds: number; readonly packets: number };
}

/** `GET drops/ID` */
export interface Explanation extends DropKind {
  readonly tests: readonly {
    readonly what: 'direction' | 'subject' | 'peer' | 'protocol' | 'port';
    readonly rule: string;
    readonly here: string;
    readonly fits: boolean;
  }[];
  /** The text of the policy, with 0-based lines: the nearest rule's first and last, and those that fail. */
  readonly source?: {
    readonly kind: string;
    readonly lines: readonly string[];
    readonly near: readonly [number, number];
    readonly failing: readonly number[];
  };
  /** Rules that come as near. */
  readonly others: number;
  /**
   * Facts for the sentence of a reason. The page uses these, and does without those that are missing: `selector`
   * (labels), `pods` (their number) of a service without endpoints; `ranges` and `client` of source ranges;
   * `ports` of a service; `endpointNodes` and `policy` of local traffic policies; `used`, `size` and `setting`
   * of tables; `address` of SNAT; `timeout` in seconds; `mtu`; `limit` per second; `ruleName` and `tier` of a
   * rule that denies.
   */
  readonly facts: Readonly<Record<string, string | number | readonly string[]>>;
  readonly change?: { readonly event: ClusterEvent; readonly seconds: number };
  readonly wouldAllow?: {
    readonly yaml: string;
    readonly alsoLetsIn: number;
    readonly ofThemAsked: number;
  };
  /** The arguments of `heddle trace` that show the same packet. */
  readonly trace: string;
}

/** `GET events?from&to` */
export interface ClusterEvent {
  readonly id: string;
  readonly at: number;
  readonly lane: 'rollout' | 'policy' | 'service' | 'node';
  /** The changed object, e.g. NAMESPACE/NAME; `text` is a sentence about it. */
  readonly subject: string;
  readonly text: string;
}

/** `GET changes?f&a=FROM..TO&b=FROM..TO` */
export interface ChangesAnswer {
  readonly a: { readonly from: number; readonly to: number };
  readonly b: { readonly from: number; readonly to: number };
  /** 500 at most. */
  readonly links: readonly ChangedLink[];
  readonly asBefore: number;
  readonly left: number;
}

export interface ChangedLink {
  readonly change: 'dropped' | 'refused' | 'new' | 'gone' | 'more' | 'less';
  readonly from: Party;
  readonly to: Party;
  readonly protocol: number;
  readonly port: number;
  readonly a: LinkRates;
  readonly b: LinkRates;
  readonly began: number;
  readonly event?: { readonly event: ClusterEvent; readonly seconds: number };
}

export interface LinkRates {
  readonly forwarded: number;
  readonly dropped: number;
  readonly refused: number;
}

/** `GET workload/NS/NAME?from&to`, `GET pod/NS/NAME`, `GET service/NS/NAME`, `GET outside/NAME` */
export interface WorkloadAnswer {
  readonly party: Party;
  readonly from: number;
  readonly to: number;
  readonly in: LinkRates & { readonly bytes: number };
  readonly out: LinkRates & { readonly bytes: number };
  /** The share of connections that were reset, 0 to 1. */
  readonly reset: number;
  readonly callers: readonly Neighbour[];
  readonly called: readonly Neighbour[];
  readonly policies: readonly {
    readonly policy: PolicyRef;
    readonly directions: readonly ('ingress' | 'egress')[];
    readonly allowed: number;
    readonly dropped: number;
  }[];
  readonly pods: readonly {
    readonly name: string;
    readonly node: string;
    readonly addresses: readonly string[];
    readonly rate: number;
    readonly dropped: number;
  }[];
  readonly services: readonly {
    readonly name: string;
    readonly ports: readonly string[];
    readonly endpoints: number;
  }[];
  readonly timeline: Timeline;
}

export interface Neighbour extends LinkRates {
  readonly party: Party;
  readonly protocol: number;
  readonly port: number;
  /** The last connection in the last 24 hours. */
  readonly last: number;
  readonly rules: readonly RuleRef[];
}

/**
 * `GET flows?f&from&to&before=CURSOR&limit` and, in the event `flows`, what arrived since the last one. Newest
 * first. `names` is the dictionary of this message.
 */
export interface FlowRows {
  readonly at: number;
  /** The number of flows that matched, and the number of those in this message. */
  readonly matched: number;
  readonly shown: number;
  /** False if drops were chosen evenly, too. */
  readonly exact: boolean;
  /** The cursor of the next older page; undefined at the end of the kept flows. */
  readonly next?: string;
  readonly names: readonly string[];
  readonly time: readonly number[];
  /** Hubble's verdict and drop reason. */
  readonly verdict: readonly number[];
  readonly reason: readonly number[];
  /** Indexes of `names`: NAMESPACE/WORKLOAD or the name of what has no namespace; POD; address. 0 is the empty name. */
  readonly from: readonly number[];
  readonly fromPod: readonly number[];
  readonly fromAddress: readonly number[];
  readonly fromPort: readonly number[];
  readonly to: readonly number[];
  readonly toPod: readonly number[];
  readonly toAddress: readonly number[];
  readonly port: readonly number[];
  readonly protocol: readonly number[];
  /** Bits of TCP flags as in the TCP header; with `reply` 1 for packets of the server. */
  readonly flags: readonly number[];
  readonly reply: readonly number[];
  /** 1 ingress, 2 egress, 0 unknown. */
  readonly direction: readonly number[];
  /** Indexes of `names`: one line of text; the policy and rule as KIND NAMESPACE/NAME DIRECTION/RULE; the service; the node. */
  readonly summary: readonly number[];
  readonly rule: readonly number[];
  readonly service: readonly number[];
  readonly node: readonly number[];
  readonly bytes: readonly number[];
  readonly packets: readonly number[];
  readonly id: readonly string[];
}

/** `GET find?q`: twelve results at most. */
export interface FindAnswer {
  readonly results: readonly {
    readonly kind: 'workload' | 'pod' | 'service' | 'policy' | 'address' | 'host' | 'node';
    readonly name: string;
    readonly detail: string;
    /** The hash route of its page, or undefined where the filter is the use of it. */
    readonly route?: string;
    /** The filter word that selects it. */
    readonly word: string;
  }[];
}

/** `GET values?key&prefix&f`: values of a filter's key that were seen, the most frequent first. */
export interface ValuesAnswer {
  readonly values: readonly { readonly value: string; readonly count: number }[];
}

/** `GET why-empty?f&from&to`: the checks in order, until and with the first that fails. */
export interface WhyEmpty {
  readonly checks: readonly {
    readonly id:
      | 'relay'
      | 'nodes'
      | 'visibility'
      | 'flows'
      | 'kept'
      | 'names'
      | 'pods'
      | 'pod-nodes'
      | 'words'
      | 'hidden';
    readonly isOk: boolean;
    readonly text: string;
    /** The filter that helps, with its label. */
    readonly remedy?: { readonly label: string; readonly filter: string };
    /** Values of the word's key that were seen. */
    readonly values?: readonly string[];
  }[];
  /** Sentences about what this set-up cannot observe. */
  readonly never: readonly string[];
}

/** `GET nodes` */
export interface NodesAnswer {
  readonly nodes: readonly {
    readonly name: string;
    readonly state: 'connected' | 'unavailable' | 'gone' | 'error';
    /** A sentence where the state is not `connected`. */
    readonly text: string;
    readonly since: number;
    readonly flowsPerSecond: number;
    readonly lost24h: number;
    readonly lastLost?: number;
    /** Milliseconds by which the clock of the node is ahead of the relay's. */
    readonly clock: number;
    readonly keptSince: number;
    readonly version: string;
    readonly pods: number;
    readonly tables: readonly {
      readonly name: string;
      readonly used: number;
      readonly size: number;
    }[];
  }[];
  readonly never: readonly string[];
}

/** The event `counts`, each second. */
export interface Counts {
  readonly now: number;
  readonly flowsPerSecond: number;
  /** Records that were lost in the last hour. */
  readonly lost: number;
  readonly nodes: NodeCount;
  /** The ids of the kinds of drops in the last minute. */
  readonly drops: readonly string[];
}

/**
 * `GET stream?view=map|flows|none&f&w&level&open`: server-sent events `hello`, `counts`, `map` (MapAnswer or
 * MapDelta), `flows` (FlowRows), `events` (ClusterEvent[]) and `bye` (ApiError). `id` is the sequence number.
 */
export interface StreamEvents {
  readonly hello: Hello;
  readonly counts: Counts;
  readonly map: MapAnswer | MapDelta;
  readonly flows: FlowRows;
  readonly events: readonly ClusterEvent[];
  readonly bye: ApiError;
}
