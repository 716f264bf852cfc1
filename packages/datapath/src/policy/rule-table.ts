import type { Direction, PolicyRule } from '@heddle/policy';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { policyAction, policyRuleSize } from '../generated/abi.ts';
import { ownResponseCode } from './constants.ts';
import type { RuleNumbers } from './rule-numbers.ts';
import { policyRules, type RuleSet } from './vectors.ts';

/** A rule with the number by which the programs name it. */
export interface NumberedRule {
  readonly number: number;
  readonly rule: PolicyRule;
  /** The number of connections that it has decided. */
  readonly connections: bigint;
}

/** Denied connections, by policy and direction. */
export type DenialsByPolicy = Map<string, Record<Direction, bigint>>;

/** The offset of the fields of a rule that the control plane writes. */
const actionAt = 8;

/** The map `policy_rules`: the actions of rules, and the connections that each has decided. */
export class RuleTable {
  readonly #memory: ArrayMemory;
  readonly #numbers: RuleNumbers;
  /** The denied connections of rules that are gone. */
  readonly #denied: DenialsByPolicy = new Map();
  /** Those that rules in audit mode would have denied. */
  readonly #wouldDeny: DenialsByPolicy = new Map();

  constructor(memory: ArrayMemory, numbers: RuleNumbers) {
    this.#memory = memory;
    this.#numbers = numbers;
  }

  /** Writes rules at their numbers. `policyNumber` returns the number of a policy in the map. */
  write(rules: Iterable<PolicyRule>, policyNumber: (policy: string) => number): void {
    const view = this.#view();
    for (const rule of rules) {
      const at = this.#numbers.numberOf(rule)! * policyRuleSize;
      view.setBigUint64(at, 0n, true);
      view.setUint16(at + actionAt, policyAction[rule.action], true);
      view.setUint16(at + actionAt + 2, ownResponseCode(rule.denyResponse), true);
      view.setUint32(at + actionAt + 4, policyNumber(rule.policy), true);
      this.#memory.wrote(at + actionAt, policyRuleSize - actionAt);
    }
  }

  /** Clears numbers. The denied connections still count if `isKnown` returns true for the policy. */
  clear(numbers: RuleSet, isKnown: (policy: string) => boolean): void {
    const bytes = this.#memory.first(policyRules);
    for (const number of numbers) {
      const rule = this.#numbers.ruleAt(number);
      if (rule?.action === 'deny' && isKnown(rule.policy)) {
        const denied = rule.isAudited ? this.#wouldDeny : this.#denied;
        addDenied(denied, rule, this.#connections(number));
      }
      const at = number * policyRuleSize;
      bytes.fill(0, at, at + policyRuleSize);
      this.#memory.wrote(at + actionAt, policyRuleSize - actionAt);
    }
  }

  /** Forgets the denied connections of a policy that is gone. */
  forget(policy: string): void {
    this.#denied.delete(policy);
    this.#wouldDeny.delete(policy);
  }

  /** Returns the rules that are programmed, in the order of their numbers. */
  *rules(): Generator<NumberedRule> {
    for (let number = 0; number < policyRules; number++) {
      const rule = this.#numbers.ruleAt(number);
      if (!rule || this.#numbers.numberOf(rule) !== number) continue;
      yield { number, rule, connections: this.#connections(number) };
    }
  }

  /** Returns the denied connections of each policy that has denied one, by direction. */
  denied(): DenialsByPolicy {
    return this.#sum(this.#denied, (rule) => !rule.isAudited);
  }

  /** Returns the connections that each policy in audit mode would have denied, by direction. */
  wouldDeny(): DenialsByPolicy {
    return this.#sum(this.#wouldDeny, (rule) => rule.isAudited === true);
  }

  #sum(gone: DenialsByPolicy, isWanted: (rule: PolicyRule) => boolean): DenialsByPolicy {
    const all = new Map(Array.from(gone, ([key, counts]) => [key, { ...counts }]));
    for (const { rule, connections } of this.rules()) {
      if (rule.action === 'deny' && isWanted(rule)) addDenied(all, rule, connections);
    }
    return all;
  }

  #connections(number: number): bigint {
    return this.#view().getBigUint64(number * policyRuleSize, true);
  }

  #view(): DataView {
    const bytes = this.#memory.first(policyRules);
    return new DataView(bytes.buffer, bytes.byteOffset);
  }
}

function addDenied(
  denied: DenialsByPolicy,
  { policy, direction }: PolicyRule,
  connections: bigint,
): void {
  if (connections === 0n) return;
  const counts = denied.get(policy) ?? { egress: 0n, ingress: 0n };
  counts[direction] += connections;
  denied.set(policy, counts);
}
