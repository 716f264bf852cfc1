import type {
  Direction,
  PodSubjects,
  PolicyRow,
  PolicyRule,
  PolicyUpdate,
  PortRange,
  RuleAction,
  Subject,
  Tier,
} from '@heddle/policy';
import { cidrContains, parseCidr } from '@heddle/sys';
import type { Packet } from './policy-maps.ts';

/** A rule of a test, with its peers as ranges, or undefined if all are. */
export interface WorldRule {
  readonly direction: Direction;
  readonly action: RuleAction;
  readonly peers: readonly string[] | undefined;
  readonly ports: readonly PortRange[] | undefined;
}

/** A policy of a test. */
export interface WorldPolicy {
  readonly key: string;
  readonly tier: Tier;
  readonly priority: number;
  /** The names of the pods that it selects. */
  readonly pods: readonly string[];
  readonly rules: readonly WorldRule[];
}

/** The policies at one moment, with the addresses that are peers by their labels. */
export interface WorldState {
  readonly policies: readonly WorldPolicy[];
  /** Addresses by a label; a peer `label:x` stands for those of the label x. */
  readonly labels: ReadonlyMap<string, readonly string[]>;
}

interface Known {
  readonly policy: WorldPolicy;
  readonly row: PolicyRow;
}

/** A slow model: it makes rows of the states, and updates from one to the next as the contract demands. */
export class PolicyWorld {
  readonly #pods: readonly string[];
  #known = new Map<string, Known>();
  readonly #classes = new Map<number, Set<PolicyRule>>();
  #assigned = new Map<string, number>();
  #subjects = new Map<string, Subject>();
  #podTexts = new Map<string, string>();
  #nextClass = 1;
  #peersOf = new Map<PolicyRule, readonly string[] | undefined>();
  readonly #identities = new Map<PolicyRule, number>();

  constructor(pods: readonly string[]) {
    this.#pods = pods;
  }

  /** Returns the update from the last state to this one. */
  update(state: WorldState): PolicyUpdate {
    const before = [...this.#known.values()].flatMap(({ row }) => row.rules);
    const { upserted, removed } = this.#setPolicies(state);
    const now = [...this.#known.values()].flatMap(({ row }) => row.rules);
    const added = now.filter((rule) => !before.includes(rule));
    const gone = before.filter((rule) => !now.includes(rule));
    return {
      policies: { upserted, removed },
      rules: { added, removed: gone },
      peers: this.#updatePeers(state, new Set(added), new Set(gone)),
      subjects: { upserted: this.#updateSubjects(), removed: [] },
    };
  }

  #setPolicies(state: WorldState) {
    const upserted: PolicyRow[] = [];
    const known = new Map<string, Known>();
    for (const policy of state.policies) {
      const old = this.#known.get(policy.key);
      if (old?.policy === policy) {
        known.set(policy.key, old);
        continue;
      }
      const { key, tier, priority } = policy;
      const rules = policy.rules.map((rule, number): PolicyRule => {
        const { direction, action, peers, ports } = rule;
        const anyPeer = peers === undefined;
        const made = { policy: key, tier, direction, number, name: '', action, anyPeer, ports };
        return { ...made, domainNames: [] };
      });
      for (const [i, rule] of rules.entries()) this.#peersOf.set(rule, policy.rules[i]!.peers);
      const row = { ...{ key, tier, priority, rules }, isAudited: false, problems: [] };
      known.set(key, { policy, row });
      upserted.push(row);
    }
    const removed = [...this.#known.keys()].filter((key) => !known.has(key));
    this.#known = known;
    return { upserted, removed };
  }

  #updatePeers(
    state: WorldState,
    added: ReadonlySet<PolicyRule>,
    gone: ReadonlySet<PolicyRule>,
  ): PolicyUpdate['peers'] {
    const wanted = this.#wantedSets(state);
    const created = new Map<number, ReadonlySet<PolicyRule>>();
    const gained = new Map<number, readonly PolicyRule[]>();
    const lost = new Map<number, readonly PolicyRule[]>();
    const assigned = new Map<string, number | undefined>();
    for (const [number, rules] of this.#classes) {
      const members = [...this.#assigned].filter(([, own]) => own === number).map(([key]) => key);
      const left = [...rules].filter((rule) => gone.has(rule));
      for (const rule of left) rules.delete(rule);
      if (left.length > 0) lost.set(number, left);
      const sets = members.map((key) => wanted.get(key) ?? new Set<PolicyRule>());
      const [first] = sets;
      if (!first || sets.some((set) => this.#text(set) !== this.#text(first))) continue;
      const more = [...first].filter((rule) => !rules.has(rule));
      const isGrowth =
        [...rules].every((rule) => first.has(rule)) && more.every((r) => added.has(r));
      if (!isGrowth || more.length === 0) continue;
      for (const rule of more) rules.add(rule);
      gained.set(number, more);
    }
    const byText = new Map<string, number>();
    for (const [number, rules] of this.#classes) byText.set(this.#text(rules), number);
    const next = new Map<string, number>();
    for (const [key, rules] of wanted) {
      const text = this.#text(rules);
      const own = this.#assigned.get(key);
      const fits = own !== undefined && this.#text(this.#classes.get(own)!) === text;
      let number = fits ? own : byText.get(text);
      if (number === undefined) {
        number = this.#nextClass++;
        this.#classes.set(number, new Set(rules));
        byText.set(text, number);
        created.set(number, rules);
      }
      next.set(key, number);
      if (own !== number) assigned.set(key, number);
    }
    for (const key of this.#assigned.keys()) if (!next.has(key)) assigned.set(key, undefined);
    this.#assigned = next;
    const used = new Set(next.values());
    const removed = [...this.#classes.keys()].filter((number) => !used.has(number));
    for (const number of removed) this.#classes.delete(number);
    return { created, gained, lost, assigned, removed };
  }

  /** Returns the rules of each address and range that needs a class. */
  #wantedSets({ labels }: WorldState): Map<string, Set<PolicyRule>> {
    const ranges = new Map<PolicyRule, readonly string[]>();
    for (const { row } of this.#known.values()) {
      for (const rule of row.rules) {
        const peers = this.#peersOf.get(rule);
        if (peers)
          ranges.set(
            rule,
            peers.flatMap((peer) => rangesOf(peer, labels)),
          );
      }
    }
    const wanted = new Map<string, Set<PolicyRule>>();
    for (const key of new Set([...ranges.values()].flat())) {
      const rules = [...ranges].filter(([, all]) => all.some((range) => contains(range, key)));
      wanted.set(key, new Set(rules.map(([rule]) => rule)));
    }
    return wanted;
  }

  #updateSubjects(): PodSubjects[] {
    const upserted: PodSubjects[] = [];
    const subjects = new Map<string, Subject>();
    for (const pod of this.#pods) {
      const of = (direction: Direction): Subject | undefined => {
        const own = [...this.#known.values()].filter(({ policy }) => policy.pods.includes(pod));
        const applying = own.filter(({ policy }) =>
          policy.tier === 'NetworkPolicy' ? hasDirection(policy, direction) : true,
        );
        if (applying.length === 0) return undefined;
        const rules = applying.flatMap(({ row }) =>
          row.rules.filter((rule) => rule.direction === direction),
        );
        const isIsolated = applying.some(({ policy }) => policy.tier === 'NetworkPolicy');
        const text = `${direction} ${isIsolated} ${this.#text(new Set(rules))}`;
        const known = subjects.get(text) ??
          this.#subjects.get(text) ?? { direction, rules, isIsolated, audited: undefined };
        subjects.set(text, known);
        return known;
      };
      const subject = { pod, uid: '', addresses: [], egress: of('egress'), ingress: of('ingress') };
      const textOf = (each: Subject | undefined) =>
        each ? `${each.isIsolated} ${this.#text(new Set(each.rules))}` : '-';
      const text = `${textOf(subject.egress)} | ${textOf(subject.ingress)}`;
      if (this.#podTexts.get(pod) !== text) upserted.push(subject);
      this.#podTexts.set(pod, text);
    }
    this.#subjects = subjects;
    return upserted;
  }

  /** Returns a text that is equal for sets of the same rules only. */
  #text(rules: ReadonlySet<PolicyRule>): string {
    const numbers = Array.from(rules, (rule) => {
      const known = this.#identities.get(rule) ?? this.#identities.size;
      this.#identities.set(rule, known);
      return known;
    });
    return numbers.sort((a, b) => a - b).join();
  }
}

/** Judges a packet by the policies themselves. `pod` of the packet is the pod's name here. */
export function judgeNaively({ policies, labels }: WorldState, packet: Packet): 'allow' | 'deny' {
  const { pod, direction } = packet;
  const own = policies.filter((policy) => policy.pods.includes(pod));
  const byPrecedence = [...own].sort((a, b) => a.priority - b.priority || (a.key < b.key ? -1 : 1));
  for (const tier of ['Admin', 'NetworkPolicy', 'Baseline'] satisfies Tier[]) {
    const ofTier = byPrecedence.filter((policy) => policy.tier === tier);
    const rule = ofTier
      .flatMap(({ rules }) => rules)
      .find((each) => each.direction === direction && matches(each, packet, labels));
    if (rule && rule.action !== 'pass') return rule.action;
    if (tier !== 'NetworkPolicy') continue;
    if (ofTier.some((policy) => hasDirection(policy, direction))) return rule ? 'allow' : 'deny';
  }
  return 'allow';
}

/** A NetworkPolicy of a test isolates the directions of its rules, and ingress without rules. */
function hasDirection({ rules }: WorldPolicy, direction: Direction): boolean {
  if (rules.length === 0) return direction === 'ingress';
  return rules.some((rule) => rule.direction === direction);
}

function matches(
  { peers, ports }: WorldRule,
  { peer, protocol, port }: Packet,
  labels: WorldState['labels'],
): boolean {
  const isPeer =
    !peers || peers.some((each) => rangesOf(each, labels).some((range) => contains(range, peer)));
  const isPort =
    !ports ||
    ports.some((range) => range.protocol === protocol && range.first <= port && port <= range.last);
  return isPeer && isPort;
}

function rangesOf(peer: string, labels: WorldState['labels']): string[] {
  if (!peer.startsWith('label:')) return [peer];
  const addresses = labels.get(peer.slice('label:'.length)) ?? [];
  return addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
}

function contains(range: string, key: string): boolean {
  const [outer, inner] = [parseCidr(range)!, parseCidr(key)!];
  const sameFamily = range.includes(':') === key.includes(':');
  return (
    sameFamily && outer.prefixLength <= inner.prefixLength && cidrContains(outer, inner.address)
  );
}
