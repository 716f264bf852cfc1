import type { DenyResponse } from '@heddle/objects';
import type { Direction, PolicyRow, PolicyRule, PolicyUpdate, Subject, Tier } from '@heddle/policy';
import type { Platform } from '@heddle/sys';
import { type KeyedMap, NoRoom } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { policyVectorSize } from '../generated/abi.ts';
import type { PodTables } from '../pods/pod-tables.ts';
import { closedSubject, noSubject } from './constants.ts';
import { NameClasses } from './name-classes.ts';
import { NameEntries, type NameMaps } from './name-entries.ts';
import { PeerClasses, type RefusedRules } from './peer-classes.ts';
import { PeerEntries, peerKey, peerNameKey } from './peer-entries.ts';
import { isEmpty, newPending } from './pending-changes.ts';
import { type AttachedPod, PodSwitch } from './pod-switch.ts';
import { PolicyStateTable } from './policy-state.ts';
import { PortClasses } from './port-classes.ts';
import { Resolvers } from './resolvers.ts';
import { RuleNumbers, tierRegions } from './rule-numbers.ts';
import { type NumberedRule, RuleTable } from './rule-table.ts';
import { Subjects } from './subjects.ts';
import { RuleSet, Vectors } from './vectors.ts';

export interface PolicyTablesParts {
  readonly platform: Pick<Platform, 'monotonicNs' | 'setTimer' | 'log'>;
  readonly state: ArrayMemory;
  readonly rules: ArrayMemory;
  readonly subjects: ArrayMemory;
  readonly peers: KeyedMap;
  readonly ranges: KeyedMap;
  readonly peerVectors: ArrayMemory;
  readonly ports: ArrayMemory;
  readonly portVectors: ArrayMemory;
  readonly names: NameMaps;
  readonly pods: PodTables;
}

interface PolicyState {
  readonly row: PolicyRow;
  /** The number of the policy in the map. */
  readonly number: number;
  /** The reason why its rules are not programmed, so that the pods that it selects are closed. */
  problem: string | undefined;
  /** Its rules wait for numbers that are free soon; the pods that it selects keep what they have. */
  isWaiting: boolean;
}

const tiers = Object.keys(tierRegions) as Tier[];
/** Removed numbers are released at most this often, in milliseconds. */
const sweepMs = 10;
/**
 * Programs network policies. A change is programmed at once, in an order in which each packet meets the old or the new rules:
 * new rules in vectors, then new subjects, then the pods, then the epoch. What is not needed any more is removed 100 ms
 * later, when no program can still read it.
 *
 * What an earlier agent has programmed stays until the source is complete. Then all is written anew beside it, the pods
 * are switched, and the old is removed like removed policies. So a restart needs no comparison, and no connection
 * meets anything between.
 */
export class PolicyTables implements Disposable {
  readonly #parts: PolicyTablesParts;
  readonly #state: PolicyStateTable;
  readonly #numbers = new RuleNumbers();
  readonly #rules: RuleTable;
  readonly #subjects: Subjects;
  readonly #ports: PortClasses;
  readonly #peers: PeerClasses;
  readonly #names = new NameClasses();
  readonly #resolvers: Resolvers;
  readonly #pods: PodSwitch;
  readonly #policies = new Map<string, PolicyState>();
  #pending = newPending();
  #nextPolicy = 1;
  #isActive = false;
  #isComplete = false;
  #isStarted = false;
  /** Policies whose rules are in a subject that has no room, and pods that are closed for it. */
  #subjectProblem: string | undefined;
  readonly #withoutSubject = new Set<string>();
  #retriesWhenFreed = false;
  #sweep: Disposable | undefined;
  #onProblems: (keys: readonly string[]) => void = () => {};

  /** Takes over what an earlier agent has programmed. Throws SysError. */
  constructor(parts: PolicyTablesParts) {
    this.#parts = parts;
    const now = () => parts.platform.monotonicNs();
    this.#state = new PolicyStateTable(parts.state);
    this.#rules = new RuleTable(parts.rules, this.#numbers);
    this.#subjects = new Subjects(parts.subjects, now);
    const portVectors = new Vectors(parts.portVectors, policyVectorSize);
    this.#ports = new PortClasses(parts.ports, portVectors, now);
    const peerVectors = new Vectors(parts.peerVectors, policyVectorSize);
    this.#peers = new PeerClasses({
      ...{ vectors: peerVectors, numbers: this.#numbers, now },
      entries: (has) => {
        const { peers: addresses, ranges } = parts;
        return new PeerEntries({ addresses, ranges, names: new NameEntries(parts.names) }, has);
      },
    });
    this.#resolvers = new Resolvers(parts.names.resolvers);
    this.#pods = new PodSwitch(parts.pods, this.#subjects);
    for (const number of this.#earlierRules(peerVectors, portVectors))
      this.#numbers.reserve(number);
  }

  /** The number of used entries of each map. */
  get sizes(): Readonly<Record<string, number>> {
    return {
      ...this.#peers.sizes,
      policy_rules: this.#numbers.used,
      policy_subjects: this.#subjects.used,
      peer_vectors: this.#peers.used,
      port_vectors: this.#ports.used,
    };
  }

  /**
   * Has new pods start closed, until they have the subjects of their pod, and sets what happens to open connections when
   * policies change, and to the senders of denied packets.
   */
  enable(keepsOpen: boolean, response: DenyResponse): void {
    this.#parts.pods.defaultSubjects = closedSubject;
    this.#state.setOptions(keepsOpen, response);
  }

  /** Calls `onProblems` with the keys of policies whose problem has changed other than by `take`. */
  setListener(onProblems: (keys: readonly string[]) => void): void {
    this.#onProblems = onProblems;
  }

  /**
   * Sets the addresses of the name servers whose answers give addresses to the names that rules have; what the map has
   * no room for is not written. Throws SysError.
   */
  setResolvers(addresses: Iterable<string>): void {
    this.#resolvers.set(addresses);
  }

  /** Sets whether the programs write verdicts. */
  setWatched(watched: boolean): void {
    this.#state.setWatched(watched);
  }

  /** The programs read these maps from now on. Throws SysError. */
  activate(): void {
    this.#isActive = true;
    this.program();
  }

  /** The source has delivered everything: what an earlier agent has left may be replaced. */
  setComplete(): void {
    this.#isComplete = true;
  }

  /** From now on nothing is written. */
  release(): void {
    this.#isActive = false;
    this.#sweep?.[Symbol.dispose]();
    this.#sweep = undefined;
  }

  /** Takes note of a change, which `program` programs. Changes lead, in order, from one state to the next. */
  take({ policies, rules, peers, subjects }: PolicyUpdate): void {
    const pending = this.#pending;
    for (const key of policies.removed) {
      this.#policies.delete(key);
      this.#rules.forget(key);
    }
    for (const row of policies.upserted) {
      const number = this.#policies.get(row.key)?.number ?? this.#nextPolicy++;
      this.#policies.set(row.key, { row, number, problem: undefined, isWaiting: false });
      pending.tiers.add(row.tier);
    }
    for (const rule of rules.added) pending.added.add(rule);
    for (const rule of rules.removed) pending.added.delete(rule);
    pending.removed.push(...rules.removed);
    if (rules.removed.length + peers.removed.length + subjects.removed.length > 0) {
      pending.makesRoom = true;
    }
    for (const [number, own] of peers.created) this.#peers.create(number, own);
    for (const number of new Set([...peers.gained.keys(), ...peers.lost.keys()])) {
      this.#peers.change(number, peers.gained.get(number) ?? [], peers.lost.get(number) ?? []);
    }
    for (const [range, number] of peers.assigned) pending.assigned.set(peerKey(range), number);
    pending.forgotten.push(...peers.removed);
    const names = this.#names.update(rules.added, rules.removed);
    for (const [number, own] of names?.created ?? []) this.#peers.create(number, own);
    for (const [name, number] of names?.assigned ?? []) {
      pending.assigned.set(peerNameKey(name), number);
    }
    pending.forgotten.push(...(names?.removed ?? []));
    for (const pod of subjects.removed) {
      this.#pods.remove(pod);
      pending.pods.add(pod);
    }
    for (const pod of subjects.upserted) {
      this.#pods.set(pod);
      pending.pods.add(pod.pod);
    }
  }

  /** Programs what was taken, once the source is complete and the programs read these maps. Throws SysError. */
  program(): void {
    if (!this.#isActive || !this.#isComplete) return;
    if (!this.#isStarted) this.#start();
    if (isEmpty(this.#pending)) return;
    const before = this.#problems();
    const placed = this.#placeRules();
    this.#rules.write(placed, (policy) => this.#policies.get(policy)?.number ?? 0);
    const refused = [...this.#givePorts(placed), ...this.#givePeers(placed)];
    for (const each of refused) this.#refuse(each);
    const isSwitched = this.#switchPods(placed);
    const { removed, assigned, forgotten } = this.#pending;
    for (const number of forgotten) this.#peers.forget(number);
    if (isSwitched || placed.size + removed.length + assigned.size > 0) this.#state.nextEpoch();
    const after = this.#problems();
    const hasFailed = [...after.keys()].some((key) => !before.has(key));
    if (this.#pending.makesRoom || hasFailed) this.#retriesWhenFreed = true;
    this.#pending = newPending();
    this.#sweepLater();
    this.#reportProblems(before, after);
  }

  /** Tries again to program policies that have failed. Throws SysError. */
  retry(): void {
    this.#pending.retries = true;
    this.program();
  }

  /** Takes note of the interface of a pod; it has the subjects of its pod as soon as these are known. Throws SysError. */
  attach(pod: AttachedPod, addresses: readonly string[]): void {
    this.#pods.attach(pod, addresses);
    this.#pending.pods.add(pod.pod);
    this.program();
  }

  /** Takes note that the interface with these addresses is gone. */
  detach(addresses: readonly string[]): void {
    this.#pods.detach(addresses);
    this.#sweepLater();
  }

  /** The names (`namespace/name`) of the pods that have an interface. */
  get attached(): Iterable<string> {
    return this.#pods.attached;
  }

  /** Returns true if an address has the subjects of its pod. */
  isProgrammed(address: string): boolean {
    return this.#pods.isProgrammed(address);
  }

  /** Calls `done` once an address has the subjects of its pod, unless the result is disposed before. */
  whenProgrammed(address: string, done: () => void): Disposable {
    return this.#pods.whenProgrammed(address, done);
  }

  /** Returns the reason why a policy is not programmed, so that the pods that it selects are closed. */
  problemOf(key: string): string | undefined {
    const state = this.#policies.get(key);
    const waits = state?.isWaiting ? 'wait for rule numbers, which are free in 100 ms' : undefined;
    const closed = this.#withoutSubject.has(key) ? this.#subjectProblem : undefined;
    return state?.problem ?? waits ?? closed;
  }

  /** Returns the rule that has a number, or has had it until 100 ms ago. */
  ruleAt(number: number): PolicyRule | undefined {
    return this.#numbers.ruleAt(number);
  }

  /** Returns the rules that are programmed, in the order of their numbers. */
  rules(): Iterable<NumberedRule> {
    return this.#rules.rules();
  }

  /** Returns the denied connections of each policy that has denied one, by direction, since the agent's start. */
  denied(): ReadonlyMap<string, Readonly<Record<Direction, bigint>>> {
    return this.#rules.denied();
  }

  /** Returns the connections that no rule has allowed, by direction, since the agent's start. */
  deniedByDefault(): Readonly<Record<Direction, bigint>> {
    return this.#subjects.denied();
  }

  /** Returns the connections that policies in audit mode would have denied, in the form of `denied`. */
  wouldDeny(): ReadonlyMap<string, Readonly<Record<Direction, bigint>>> {
    return this.#rules.wouldDeny();
  }

  /** Returns the connections that no rule would have allowed with the policies in audit mode. */
  wouldDenyByDefault(): Readonly<Record<Direction, bigint>> {
    return this.#subjects.wouldDeny();
  }

  [Symbol.dispose](): void {
    this.#sweep?.[Symbol.dispose]();
  }

  #start(): void {
    this.#isStarted = true;
    this.#subjects.start();
    this.#peers.start();
    this.#ports.start();
    this.#state.start();
    // Entries without rules are not needed even while pods have the subjects of an earlier agent.
    this.#peers.remove(new RuleSet(), this.#numbers.retired);
    this.#pods.forgetUnattached();
    this.#pending.allPods = true;
    for (const tier of tiers) this.#pending.tiers.add(tier);
  }

  /** Returns the numbers of the rules of an earlier agent, wherever they are left. */
  #earlierRules(peerVectors: Vectors, portVectors: Vectors): RuleSet {
    const all = this.#subjects.readable();
    const add = (rules: RuleSet) => {
      for (const number of rules) all.add(number);
    };
    for (const vector of this.#peers.vectors()) add(peerVectors.rules(vector));
    for (const vector of this.#ports.classes) add(portVectors.rules(vector));
    return all;
  }

  /** Gives numbers to rules that have none. Returns the rules with a new number. */
  #placeRules(): Set<PolicyRule> {
    const { removed, retries } = this.#pending;
    this.#numbers.retire(removed);
    const placed = new Set<PolicyRule>();
    for (const tier of tiers) {
      const states = [...this.#policies.values()].filter(({ row }) => row.tier === tier);
      if (retries) for (const state of states) state.problem = undefined;
      const isWanted = retries || this.#pending.tiers.has(tier) || states.some((s) => s.isWaiting);
      if (!isWanted) continue;
      const rows = states.filter(({ problem }) => problem === undefined).map(({ row }) => row);
      const result = this.#numbers.place(tier, rows);
      for (const rule of result.placed) placed.add(rule);
      for (const state of states) state.isWaiting = false;
      for (const row of result.left) this.#leave(row);
    }
    return placed;
  }

  /** Notes that a policy has no numbers: it waits if some are free soon, and fails otherwise. */
  #leave(row: PolicyRow): void {
    const state = this.#policies.get(row.key)!;
    const { first, end } = tierRegions[row.tier];
    const held = this.#subjects.held();
    const isSoonFree = (number: number) => number >= first && number < end && !held.has(number);
    if ([...this.#numbers.retired].some(isSoonFree)) {
      state.isWaiting = true;
      return;
    }
    const limit = `full with ${end - first} rules of the tier ${row.tier} that apply to pods of this node`;
    this.#fail(row.key, `write map policy_rules: ${limit} (have fewer rules: the size is fixed)`);
    // The pods are closed now, so that the numbers of their old rules become free.
    this.#pending.allPods = true;
  }

  #fail(key: string, problem: string): void {
    const state = this.#policies.get(key);
    if (!state) return;
    state.problem ??= problem;
    this.#numbers.retire(state.row.rules);
  }

  #refuse({ numbers, reason }: RefusedRules): void {
    for (const number of numbers) {
      const rule = this.#numbers.ruleAt(number);
      if (rule && this.#numbers.numberOf(rule) === number) this.#fail(rule.policy, reason);
    }
  }

  #givePorts(placed: ReadonlySet<PolicyRule>): RefusedRules[] {
    const refused: RefusedRules[] = [];
    for (const rule of placed) {
      const number = this.#numbers.numberOf(rule)!;
      if (this.#ports.add(rule, number)) continue;
      const { length } = this.#parts.portVectors;
      const reason = new NoRoom('port_vectors', length, 'sizes.policyPortClasses').message;
      refused.push({ numbers: [number], reason });
    }
    return refused;
  }

  #givePeers(placed: ReadonlySet<PolicyRule>): RefusedRules[] {
    const anyPeer = [...placed].filter((rule) => rule.anyPeer);
    this.#peers.giveAll(this.#numbers.numbersOf(anyPeer));
    const held = this.#held();
    return [
      ...(placed.size > 0 ? this.#peers.give(placed) : []),
      ...this.#peers.assign(this.#pending.assigned, held),
      ...(placed.size > 0 ? this.#peers.assignRefused(held) : []),
    ];
  }

  /** Returns the retired rules that programs may still find in a subject. */
  #held(): RuleSet {
    const held = this.#subjects.readable();
    held.intersect(this.#numbers.retired);
    return held;
  }

  #switchPods(placed: ReadonlySet<PolicyRule>): boolean {
    const { added, allPods, pods, retries } = this.#pending;
    const isAll =
      allPods ||
      retries ||
      this.#subjectProblem !== undefined ||
      [...placed].some((rule) => !added.has(rule)) ||
      [...this.#policies.values()].some(
        ({ problem, isWaiting }) => problem !== undefined || isWaiting,
      );
    if (isAll) {
      this.#subjectProblem = undefined;
      this.#withoutSubject.clear();
    }
    const known = new Map<Subject, number | undefined>();
    return this.#pods.update(isAll ? [...this.#pods.attached] : pods, (subject) => {
      if (!known.has(subject)) known.set(subject, this.#indexOf(subject));
      return known.get(subject);
    });
  }

  /** Returns the index of a subject; that of the closed one if a rule of it failed, undefined if one waits. */
  #indexOf({ direction, rules, isIsolated, denyResponse, audited }: Subject): number | undefined {
    const numbers = this.#numbers.numbersOf(rules);
    if (numbers.length < rules.length) {
      const without = rules.filter((rule) => this.#numbers.numberOf(rule) === undefined);
      const isWaiting = without.every(({ policy }) => this.#policies.get(policy)?.isWaiting);
      return isWaiting ? undefined : closedSubject;
    }
    if (numbers.length === 0 && !isIsolated && !audited) return noSubject;
    const audit =
      audited &&
      this.#subjects.indexOf({
        ...{ direction, isIsolated: audited.isIsolated, audit: 0, isAudit: true },
        numbers: this.#numbers.numbersOf(audited.rules),
      });
    const index = this.#subjects.indexOf({
      ...{ direction, numbers, isIsolated, denyResponse, isAudit: false },
      audit: audit ?? 0,
    });
    if (index !== undefined && (!audited || audit !== undefined)) return index;
    const setting = 'sizes.policySubjects';
    this.#subjectProblem = new NoRoom(
      'policy_subjects',
      this.#parts.subjects.length,
      setting,
    ).message;
    for (const { policy } of audited?.rules ?? rules) this.#withoutSubject.add(policy);
    return index ?? closedSubject;
  }

  /** Has removed numbers and subjects freed once no program can read them. */
  #sweepLater(): void {
    if (this.#sweep || !this.#isActive) return;
    const next = this.#subjects.nextFreeNs;
    const held = this.#subjects.readable();
    const isDue = [...this.#numbers.retired].some((number) => !held.has(number));
    if (next === undefined && !isDue) return;
    const { platform } = this.#parts;
    const waitMs = next === undefined ? 0 : Number(next - platform.monotonicNs()) / 1e6;
    this.#sweep = platform.setTimer(Math.max(sweepMs, Math.ceil(waitMs)), () => {
      this.#sweep = undefined;
      this.#free();
    });
  }

  #free(): void {
    let isFreed = this.#subjects.sweep();
    const readable = this.#subjects.readable();
    const { retired } = this.#numbers;
    const [free, kept] = [new RuleSet(), new RuleSet()];
    for (const number of retired) (readable.has(number) ? kept : free).add(number);
    if (!free.isEmpty) {
      this.#ports.remove(free);
      this.#rules.clear(free, (policy) => this.#policies.has(policy));
      isFreed = true;
    }
    if (this.#peers.remove(free, kept)) isFreed = true;
    this.#numbers.release([...free]);
    const states = [...this.#policies.values()];
    const waits = states.some(({ isWaiting }) => isWaiting);
    if (isFreed && (waits || this.#subjectProblem !== undefined)) this.#pending.allPods = true;
    // Once only: an attempt that fails frees its own numbers again.
    const fails = states.some(({ problem }) => problem !== undefined);
    if (isFreed && fails && this.#retriesWhenFreed) this.#pending.retries = true;
    if (isFreed) this.#retriesWhenFreed = false;
    this.program();
    this.#sweepLater();
  }

  #problems(): Map<string, string> {
    const problems = new Map<string, string>();
    for (const key of this.#policies.keys()) {
      const problem = this.problemOf(key);
      if (problem !== undefined) problems.set(key, problem);
    }
    return problems;
  }

  #reportProblems(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    const keys = new Set([...before.keys(), ...after.keys()]);
    const changed = [...keys].filter((key) => before.get(key) !== after.get(key));
    if (changed.length > 0) this.#onProblems(changed);
  }
}
