import assert from 'node:assert/strict';
import { inRanges } from '@heddle/objects';
import type { Question } from '../src/judge.ts';
import type {
  Direction,
  PodSubjects,
  PolicyRow,
  PolicyRule,
  PolicyUpdate,
  Subject,
} from '../src/rows.ts';

/** The verdict of one direction, for comparison with the judge. */
export interface CompiledVerdict {
  readonly allowed: boolean;
  /** `key number action` of the rule that decides, `default-deny`, or `no-rule`. */
  readonly reason: string;
}

/** The reason of unusable versions in tests. */
export const newestProblem = 'it can not be used';

const tiers = ['Admin', 'NetworkPolicy', 'Baseline'] as const;

/**
 * Holds what a writer of the maps would hold after the updates of a model, decides as bpf/policy does (subject & class of the
 * peer & ports), and checks what PolicyUpdate promises.
 */
export class CompiledPolicies {
  readonly rows = new Map<string, PolicyRow>();
  readonly rules = new Set<PolicyRule>();
  readonly classes = new Map<number, Set<PolicyRule>>();
  readonly assigned = new Map<string, number>();
  readonly pods = new Map<string, PodSubjects>();
  #lastClass = 0;

  apply({ policies, rules, peers, subjects }: PolicyUpdate): void {
    for (const rule of rules.added) {
      assert.ok(!this.rules.has(rule), 'an added rule is new');
      this.rules.add(rule);
    }
    const [added, removed] = [new Set(rules.added), new Set(rules.removed)];
    let last = this.#lastClass;
    for (const [number, set] of peers.created) {
      assert.ok(number > this.#lastClass, 'numbers of classes are never used again');
      last = Math.max(last, number);
      this.classes.set(number, new Set(set));
    }
    this.#lastClass = last;
    for (const [number, gained] of peers.gained) {
      assert.ok(!peers.created.has(number));
      for (const rule of gained) {
        assert.ok(added.has(rule), 'a class gains new rules only');
        assert.ok(!this.classes.get(number)!.has(rule));
        this.classes.get(number)!.add(rule);
      }
    }
    for (const [number, lost] of peers.lost) {
      for (const rule of lost) {
        assert.ok(removed.has(rule), 'a class loses removed rules only');
        assert.ok(this.classes.get(number)!.delete(rule));
      }
    }
    for (const [text, number] of peers.assigned) {
      if (number === undefined) this.assigned.delete(text);
      else this.assigned.set(text, number);
    }
    for (const number of peers.removed) assert.ok(this.classes.delete(number));
    for (const rule of rules.removed) assert.ok(this.rules.delete(rule), 'a removed rule exists');
    for (const key of policies.removed) assert.ok(this.rows.delete(key), `${key} is removed once`);
    for (const row of policies.upserted) this.rows.set(row.key, row);
    for (const key of subjects.removed) assert.ok(this.pods.delete(key), `${key} is removed once`);
    for (const pod of subjects.upserted) this.pods.set(pod.pod, pod);
    this.#check();
  }

  /** Checks that everything refers to what exists. */
  #check(): void {
    const used = new Set<number>();
    for (const [text, number] of this.assigned) {
      assert.ok(this.classes.has(number), `${text} has class ${number}, which does not exist`);
      used.add(number);
    }
    assert.equal(used.size, this.classes.size, 'each class has an address');
    const sets = new Set<string>();
    for (const set of this.classes.values()) {
      for (const rule of set) {
        assert.ok(this.rules.has(rule), 'a class has only rules that exist');
        assert.ok(!rule.anyPeer, 'a rule for all peers is in no class');
      }
      sets.add(
        [...set]
          .map((rule) => (rule as { id?: number }).id)
          .sort()
          .join(),
      );
    }
    assert.equal(sets.size, this.classes.size, 'no two classes have the same rules');
    const ofRows = new Set([...this.rows.values()].flatMap(({ rules }) => rules));
    assert.deepEqual(ofRows, this.rules, 'the rules are those of the policies');
    for (const { egress, ingress } of this.pods.values()) {
      for (const [direction, subject] of Object.entries({ egress, ingress })) {
        for (const rule of [...(subject?.rules ?? []), ...(subject?.audited?.rules ?? [])]) {
          assert.ok(this.rules.has(rule), 'a subject has only rules that exist');
          assert.equal(rule.direction, direction);
        }
      }
    }
  }

  /** Returns the rules that the longest prefix of an address has. */
  classOf(address: string): ReadonlySet<PolicyRule> {
    const host = `${address}/${address.includes(':') ? 128 : 32}`;
    let best = this.assigned.has(host) ? host : undefined;
    if (best === undefined) {
      const ranges = [...this.assigned.keys()].filter((text) => inRanges([text], address));
      const length = (text: string) => Number(text.split('/')[1]);
      best = ranges.sort((a, b) => length(b) - length(a))[0];
    }
    return best === undefined ? new Set() : this.classes.get(this.assigned.get(best)!)!;
  }

  /** Returns the verdict of a direction, or undefined if the pod there is not one of this node. */
  verdict(pod: string, question: Question, direction: Direction, audit = false) {
    const subject = this.pods.get(pod)![direction];
    return this.#decide(audit ? (subject?.audited ?? subject) : subject, question, direction);
  }

  #decide(
    subject: Pick<Subject, 'rules' | 'isIsolated'> | undefined,
    question: Question,
    direction: Direction,
  ): CompiledVerdict {
    const peers = this.classOf(direction === 'egress' ? question.to : question.from);
    const matching = (subject?.rules ?? [])
      .filter((rule) => rule.anyPeer || peers.has(rule) || isNamed(rule, question))
      .filter((rule) => hasPort(rule, question))
      .sort((a, b) => this.#compare(a, b));
    for (const tier of tiers) {
      const rule = matching.find((each) => each.tier === tier);
      if (rule && rule.action !== 'pass') {
        return { allowed: rule.action === 'allow', reason: `${rule.policy} ${rule.number}` };
      }
      if (!rule && tier === 'NetworkPolicy' && subject?.isIsolated) {
        return { allowed: false, reason: 'default-deny' };
      }
    }
    return { allowed: true, reason: 'no-rule' };
  }

  #compare(a: PolicyRule, b: PolicyRule): number {
    const [first, second] = [this.rows.get(a.policy)!, this.rows.get(b.policy)!];
    if (first.priority !== second.priority) return first.priority - second.priority;
    if (a.policy !== b.policy) return a.policy < b.policy ? -1 : 1;
    return a.number - b.number;
  }

  /** Returns the state in a form that does not depend on its history. */
  normalForm(): unknown {
    const text = ({ ...rule }: PolicyRule) => JSON.stringify({ ...rule, id: undefined });
    const texts = (rules: Iterable<PolicyRule>) => Array.from(rules, text).sort();
    const subject = (each: Subject | undefined) =>
      each && {
        ...{ rules: texts(each.rules), isIsolated: each.isIsolated },
        denyResponse: each.denyResponse,
        audited: each.audited && [texts(each.audited.rules), each.audited.isIsolated],
      };
    const sorted = <T>(map: ReadonlyMap<string, T>) =>
      [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      rows: sorted(this.rows).map(([, row]) => ({
        ...{ ...row, rules: texts(row.rules) },
        // The newest version of an object leaves a sentence, which its last good version does not have.
        problems: row.problems.filter((problem) => problem !== newestProblem),
      })),
      peers: sorted(this.assigned).map(([key, number]) => [key, texts(this.classes.get(number)!)]),
      pods: sorted(this.pods).map(([, pod]) => ({
        ...{ ...pod, egress: subject(pod.egress), ingress: subject(pod.ingress) },
      })),
      // Pods with the same rules share an object.
      subjects: new Set([...this.pods.values()].flatMap(({ egress, ingress }) => [egress, ingress]))
        .size,
    };
  }
}

function isNamed({ domainNames }: PolicyRule, { names = [] }: Question): boolean {
  return domainNames.some((pattern) =>
    names.some((name) => (pattern[0] === '*' ? name.endsWith(pattern.slice(1)) : name === pattern)),
  );
}

function hasPort({ ports }: PolicyRule, { protocol, port }: Question): boolean {
  if (ports === undefined) return true;
  return ports.some(
    (range) => range.protocol === protocol && range.first <= port && port <= range.last,
  );
}
