import type { AgentStatus, EffectiveConfig } from '@heddle/agent';

/** A fact, or the reason why it could not be read. */
export type Known<Value> = { readonly value: Value } | { readonly unknown: string };

/** Returns the value of a fact, or undefined if it is unknown. */
export function valueIfKnown<Value>(fact: Known<Value>): Value | undefined {
  return 'value' in fact ? fact.value : undefined;
}

/** Answers of the agent. */
export interface AgentFacts {
  readonly maps: AgentStatus['datapath']['maps'];
  /** True if netfilter has to see the connections that Heddle forwards. */
  readonly tracked: boolean;
  readonly config: Pick<EffectiveConfig, 'snatPorts' | 'network'>;
  /** The limit of open files of its process. */
  readonly descriptors: Known<number>;
}

export interface KernelFacts {
  /** E.g. `6.12.48+deb13-amd64`. */
  readonly release: string;
  /** The options of the kernel's configuration that are set, by name without `CONFIG_`. */
  readonly config: Known<ReadonlyMap<string, string>>;
  /** The value of `preempt=` on the command line. */
  readonly preemptOption?: string;
  /** The words of /sys/kernel/debug/sched/preempt; the active one is in parentheses. */
  readonly preemptModes: Known<string>;
}

export interface ProcessorFacts {
  readonly count: number;
  /** The frequency governor of each CPU; empty where the kernel does not change frequencies. */
  readonly governors: Known<ReadonlyMap<number, string>>;
  /** The CPUs with a frequency governor that can be set to `performance`. */
  readonly canPerform: ReadonlySet<number>;
}

/** Programs of the node that change the settings that this package is about. */
export interface ProgramFacts {
  readonly irqbalance: Known<boolean>;
  /** The active profile of tuned; undefined without tuned. */
  readonly tunedProfile: Known<string | undefined>;
}

/** An interrupt of a network interface. */
export interface Interrupt {
  readonly number: number;
  /** The number of its occurrences. */
  readonly count: number;
  /** The CPUs that serve it. */
  readonly cpus: readonly number[];
}

export interface Feature {
  readonly active: boolean;
  /** True if it can be turned on and off. */
  readonly changeable: boolean;
}

export interface Rings {
  readonly rx: number;
  readonly rxMax: number;
  readonly tx: number;
  readonly txMax: number;
}

export interface Channels {
  readonly combined: number;
  readonly combinedMax: number;
}

export interface DeviceFacts {
  readonly name: string;
  readonly role: 'external' | 'tunnel';
  readonly mtu: number;
  /** `fq`, another kind that was set, or `default (KIND)`. */
  readonly qdisc: Known<string>;
  /** The offloads by the kernel's names, e.g. `rx-gro`. */
  readonly features: Known<ReadonlyMap<string, Feature>>;
  /** Undefined for an interface without rings. */
  readonly rings: Known<Rings | undefined>;
  /** Undefined for an interface without queues to choose. */
  readonly channels: Known<Channels | undefined>;
  readonly interrupts: Known<readonly Interrupt[]>;
  /** Received packets that were dropped because a ring was full. */
  readonly fifoErrors: Known<number>;
}

/** Rules and tables that kube-proxy has left. */
export interface LeftoverFacts {
  /** Names, e.g. `chain KUBE-SERVICES`. */
  readonly kubeProxy: Known<readonly string[]>;
  /** The connections that netfilter tracks. */
  readonly tracked: Known<number>;
}

/** Everything that the checks look at. */
export interface Facts {
  readonly agent: Known<AgentFacts>;
  readonly kernel: Known<KernelFacts>;
  readonly processors: ProcessorFacts;
  readonly programs: ProgramFacts;
  readonly devices: Known<readonly DeviceFacts[]>;
  /** True if the node has an IPv6 address that other hosts reach. */
  readonly ipv6: Known<boolean>;
  readonly leftovers: LeftoverFacts;
  /** Values below /proc/sys by their path there, e.g. `net/ipv4/ip_forward`. */
  readonly sysctls: ReadonlyMap<string, Known<string>>;
}

/** Returns a value below /proc/sys. */
export function sysctlOf(facts: Pick<Facts, 'sysctls'>, name: string): Known<string> {
  return facts.sysctls.get(name) ?? { unknown: `${name} was not read` };
}
