import type { Facts, Known } from './facts.ts';

/** A setting of the node that Heddle can change and restore. */
export type Target =
  /** A value below /proc/sys, by its path there. */
  | { readonly kind: 'sysctl'; readonly name: string }
  /** A file in another place, e.g. the governor of a CPU. */
  | { readonly kind: 'file'; readonly path: string }
  /** An offload of a network interface: `on` or `off`. */
  | { readonly kind: 'feature'; readonly device: string; readonly feature: string }
  /** The queueing discipline of a network interface: `fq`, or `default`, that of the kernel. */
  | { readonly kind: 'qdisc'; readonly device: string };

/** A target with the value that it gets. */
export interface Change {
  readonly target: Target;
  readonly value: string;
}

/**
 * The judgement of a check: `wrong` loses packets, connections or rows, or is about to; `improve` costs
 * time or memory; `unknown` could not be read.
 */
export type State = 'good' | 'improve' | 'wrong' | 'unknown';

/** The result of a check for one subject, e.g. a network interface. */
export interface Result {
  readonly subject?: string;
  readonly state: State;
  readonly found: string;
  readonly recommended?: string;
  /** The command that does it by hand; the default is made of the changes. */
  readonly command?: string;
  /** The changes that `--apply` makes. */
  readonly changes?: readonly Change[];
}

/** A check of the node. Its texts are the same on all nodes; docs/tuning.md shows them. */
export interface Check {
  readonly name: string;
  /** The settings that it looks at. */
  readonly about: string;
  /** The recommendation. */
  readonly advice: string;
  /** Why, with the effect in figures where it was measured. */
  readonly reason: string;
  /** The harm that the recommendation may do. */
  readonly risk: string;
  /** `no` if `--apply` can not follow the advice. */
  readonly applies: 'yes' | 'no' | 'in part';
  examine(facts: Facts): readonly Result[];
}

/** A result with the texts of its check. */
export interface Finding extends Result {
  readonly name: string;
  readonly reason: string;
  readonly risk: string;
  /** True if `--apply` follows the recommendation. */
  readonly canApply: boolean;
}

/** Returns the result for a fact: that of `judge`, or `unknown` with the reason. */
export function judged<Value>(
  fact: Known<Value>,
  judge: (value: Value) => Result,
  subject?: string,
): Result {
  const result: Result =
    'value' in fact ? judge(fact.value) : { state: 'unknown', found: fact.unknown };
  return subject === undefined ? result : { subject, ...result };
}

/** Returns the command that makes a change by hand. */
export function commandOf({ target, value }: Change): string {
  switch (target.kind) {
    case 'sysctl':
      return `sysctl -w ${target.name}=${/\s/.test(value) ? `"${value}"` : value}`;
    case 'file':
      return `echo ${value} > ${target.path}`;
    case 'feature':
      return `ethtool -K ${target.device} ${target.feature} ${value}`;
    case 'qdisc':
      return `tc qdisc replace dev ${target.device} root ${value}`;
  }
}

/** Returns a key that is unique to a target. */
export function keyOf(target: Target): string {
  switch (target.kind) {
    case 'sysctl':
      return `sysctl ${target.name}`;
    case 'file':
      return `file ${target.path}`;
    case 'feature':
      return `feature ${target.device} ${target.feature}`;
    case 'qdisc':
      return `qdisc ${target.device}`;
  }
}

/** Returns a change of a value below /proc/sys. */
export function setSysctl(name: string, value: string): Change {
  return { target: { kind: 'sysctl', name }, value };
}
