import type { NamedPort, PortRecord, Protocol, RuleRecord } from '@heddle/objects';
import type { Group, NamedRule, Term } from './groups.ts';
import type { Attachment, PeerIndex } from './peer-index.ts';
import { type PolicyRecord, policyKey, tierOf } from './policies.ts';
import type { Direction, PortRange } from './rows.ts';
import type { ModelRule } from './rule-sets.ts';

/** Makes and removes rules, for a whole update. */
export interface RuleRegistry {
  readonly add: (fields: Omit<ModelRule, 'id'>) => ModelRule;
  readonly remove: (rule: ModelRule) => void;
}

interface Instance {
  readonly rule: ModelRule;
  uses: number;
}

/** The instances of a rule with named ports, one for each protocol and number. */
class Instances implements NamedRule {
  readonly byPort = new Map<string, Instance>();
  readonly #names: readonly PortRecord[];
  readonly #create: (protocol: Protocol, port: number) => ModelRule;
  readonly #drop: (rule: ModelRule) => void;
  /** Called when an instance has come or gone, or waits for `sweep`. */
  readonly #onChange: () => void;

  constructor(
    names: readonly PortRecord[],
    create: (protocol: Protocol, port: number) => ModelRule,
    drop: (rule: ModelRule) => void,
    onChange: () => void,
  ) {
    this.#names = names;
    this.#create = create;
    this.#drop = drop;
    this.#onChange = onChange;
  }

  acquire(ports: readonly NamedPort[]): readonly ModelRule[] {
    return this.#resolve(ports).map(({ protocol, port }) => {
      const key = `${protocol} ${port}`;
      let instance = this.byPort.get(key);
      if (!instance) {
        instance = { rule: this.#create(protocol, port), uses: 0 };
        this.byPort.set(key, instance);
        this.#onChange();
      }
      instance.uses++;
      return instance.rule;
    });
  }

  release(ports: readonly NamedPort[]): void {
    for (const { protocol, port } of this.#resolve(ports)) {
      const instance = this.byPort.get(`${protocol} ${port}`)!;
      if (--instance.uses === 0) this.#onChange();
    }
  }

  instances(ports: readonly NamedPort[]): readonly ModelRule[] {
    return this.#resolve(ports).flatMap(({ protocol, port }) => {
      const instance = this.byPort.get(`${protocol} ${port}`);
      return instance ? [instance.rule] : [];
    });
  }

  /** Drops the instances without a use. They wait for the end of the update, because a use may come back. */
  sweep(): void {
    for (const [key, { rule, uses }] of this.byPort) {
      if (uses > 0) continue;
      this.byPort.delete(key);
      this.#drop(rule);
      this.#onChange();
    }
  }

  /** Returns the ports that have one of the names, each once. */
  #resolve(ports: readonly NamedPort[]): readonly NamedPort[] {
    const found = new Map<string, NamedPort>();
    for (const port of ports) {
      const isNamed = this.#names.some(
        (each) =>
          each.type === 'name' &&
          each.name === port.name &&
          (each.protocol === undefined || each.protocol === port.protocol),
      );
      if (isNamed) found.set(`${port.protocol} ${port.port}`, port);
    }
    return [...found.values()];
  }
}

interface PlannedRule {
  readonly direction: Direction;
  /** The rule for ports by number, or for all; undefined if the rule has only named ports. */
  readonly base: ModelRule | undefined;
  readonly named: Instances | undefined;
  /** The terms of the named ports of an egress rule. */
  terms: ReadonlySet<Term> | undefined;
}

/** A policy that selects pods of this node: its rules, and their peers in the index. */
export class ActivePolicy {
  readonly #record: PolicyRecord;
  readonly #peers: PeerIndex;
  readonly #registry: RuleRegistry;
  readonly #planned: readonly PlannedRule[];
  readonly #attachments = new Map<ModelRule, Attachment>();
  /** Called after an instance for a named port has come or gone. */
  readonly #onChange: () => void;

  constructor(
    record: PolicyRecord,
    peers: PeerIndex,
    registry: RuleRegistry,
    onChange: () => void,
  ) {
    this.#record = record;
    this.#peers = peers;
    this.#registry = registry;
    this.#onChange = onChange;
    this.#planned = (['egress', 'ingress'] as const).flatMap((direction) =>
      (record[direction] ?? []).map((rule, number) => this.#plan(rule, direction, number)),
    );
  }

  /** All rules, in the order of precedence within each direction. */
  get rules(): readonly ModelRule[] {
    return this.#planned.flatMap(({ base, named }) => [
      ...(base ? [base] : []),
      ...Array.from(named?.byPort.values() ?? [], ({ rule }) => rule),
    ]);
  }

  /** Returns true if the policy isolates pods in this direction. */
  isolates(direction: Direction): boolean {
    return this.#record.kind === 'networkPolicy' && this.#record[direction] !== undefined;
  }

  /** Returns the rules of a selected group. A named port of an ingress rule is that of the group. */
  *rulesFor(group: Group, direction: Direction): Generator<ModelRule> {
    for (const { direction: each, base, named } of this.#planned) {
      if (each !== direction) continue;
      if (base) yield base;
      if (direction === 'ingress') yield* named?.instances(group.ports) ?? [];
      else for (const { rule } of named?.byPort.values() ?? []) yield rule;
    }
  }

  /** Selects a group of pods of this node. */
  select(group: Group): void {
    for (const { direction, named } of this.#planned) {
      if (direction === 'ingress') named?.acquire(group.ports);
    }
  }

  unselect(group: Group): void {
    for (const { direction, named } of this.#planned) {
      if (direction === 'ingress') named?.release(group.ports);
    }
  }

  /** Drops the instances of named ports that nothing uses any more. */
  sweep(): void {
    for (const { named } of this.#planned) named?.sweep();
  }

  /** Removes all rules. */
  remove(): void {
    for (const { base, named, terms } of this.#planned) {
      if (named && terms) this.#peers.detachNamed(named, terms);
      for (const { rule } of named?.byPort.values() ?? []) this.#remove(rule);
      if (base) this.#remove(base);
    }
  }

  #plan(rule: RuleRecord, direction: Direction, number: number): PlannedRule {
    const { ports, peers } = rule;
    const names = ports?.filter(({ type }) => type === 'name') ?? [];
    const ranges = ports?.flatMap(rangeOf);
    const domains = peers?.flatMap((peer) => (peer.type === 'domain' ? [peer.name] : [])) ?? [];
    const { namespace, denyResponse, isAudited } = this.#record;
    const add = (range: readonly PortRange[] | undefined, domainNames: readonly string[]) => {
      const isByTerms = direction === 'egress' && range !== undefined && range !== ranges;
      const made = this.#registry.add({
        ...{ policy: policyKey(this.#record), tier: tierOf(this.#record), direction, number },
        name: rule.name,
        // In the tier Baseline there is no next tier to pass to.
        action:
          rule.action === 'pass' && tierOf(this.#record) === 'Baseline' ? 'allow' : rule.action,
        ...(rule.action === 'deny' && denyResponse ? { denyResponse } : {}),
        ...(rule.action === 'deny' && isAudited ? { isAudited } : {}),
        anyPeer: peers === undefined && !isByTerms,
        ports: range,
        domainNames,
      });
      if (peers && !isByTerms)
        this.#attachments.set(made, this.#peers.attach(made, peers, namespace));
      return made;
    };
    const base = names.length > 0 && ranges?.length === 0 ? undefined : add(ranges, domains);
    if (names.length === 0) return { direction, base, named: undefined, terms: undefined };
    const named = new Instances(
      names,
      (protocol, port) => add([{ protocol, first: port, last: port }], []),
      (made) => this.#remove(made),
      this.#onChange,
    );
    const terms =
      direction === 'egress' ? this.#peers.attachNamed(named, peers, namespace) : undefined;
    return { direction, base, named, terms };
  }

  #remove(rule: ModelRule): void {
    const attachment = this.#attachments.get(rule);
    if (attachment) this.#peers.detach(rule, attachment);
    this.#attachments.delete(rule);
    this.#registry.remove(rule);
  }
}

function rangeOf(port: PortRecord): PortRange[] {
  if (port.type === 'name') return [];
  return [{ protocol: port.protocol, first: port.first, last: port.last }];
}
