import { BpfMap, RingBuffer } from '@heddle/ebpf';
import { isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { currentPins } from '../src/core/pinned-maps.ts';
import {
  decodePolicyRule,
  decodePolicySubject,
  decodePolicyVerdict,
  encodePolicyRule,
  encodePolicyState,
  encodePolicySubject,
  encodePolicyVector,
  encodeRangeKey,
  type PolicyVector,
  policyDirection,
  policyOutcome,
  policyRuleSize,
  policyStateSize,
  policySubjectSize,
  policyVectorSize,
  rangeKeySize,
} from '../src/generated/abi.ts';
import type { PodWorld } from './pod-world.ts';

// These classes write the maps of network policies as a test wants them, without the model and without care for
// packets that pass meanwhile.

const tiers = { Admin: 0, NetworkPolicy: 16, Baseline: 56 } as const;
const actions = { allow: 1, deny: 2, pass: 3 } as const;
const responses = { none: 0, icmp: 1, reset: 2 } as const;
const protocols = { TCP: 0, UDP: 1, SCTP: 2 } as const;
const words = 64;

/** A rule. Without peers it matches all addresses, without ports all protocols. */
export interface TestRule {
  readonly tier?: keyof typeof tiers;
  readonly action?: keyof typeof actions;
  /** Addresses and CIDRs. */
  readonly peers?: readonly string[];
  /** Without a number, all ports of the protocol. */
  readonly ports?: readonly { readonly protocol: keyof typeof protocols; readonly port?: number }[];
  /** The response to what it denies; without one, that of `respond`. */
  readonly response?: keyof typeof responses;
}

/** The rules of one direction of a pod. */
export interface TestSubject {
  readonly rules?: readonly TestRule[];
  /** False: the pod has no NetworkPolicy in that direction. */
  readonly isIsolated?: boolean;
  readonly isClosed?: boolean;
  /** The response to what no rule allows; without one, that of `respond`. */
  readonly response?: keyof typeof responses;
  /** The subject with the policies in audit mode, too. */
  readonly audit?: TestSubject;
}

export interface TestPolicy {
  readonly egress?: TestSubject;
  readonly ingress?: TestSubject;
}

/** A verdict that the programs have reported. Rules are their numbers plus 1, or 0. */
export interface ReportedVerdict {
  readonly outcome: string;
  readonly direction: string;
  readonly egressRule: number;
  readonly ingressRule: number;
  readonly subject: number;
  /** Host order. */
  readonly destinationPort: number;
}

/** The policies of a node: subjects by the number of its pod. */
export class TestPolicies implements Disposable {
  readonly #world: PodWorld;
  readonly #maps = new Map<string, BpfMap>();
  #epoch = 0;
  #keepsOpen = false;
  #watched = false;
  #response: keyof typeof responses = 'none';
  #rules: TestRule[] = [];
  readonly #numbers = new Map<TestRule, number>();
  readonly #subjects = new Map<TestSubject, number>();
  #keys: { name: string; key: Uint8Array }[] = [];

  constructor(world: PodWorld) {
    this.#world = world;
  }

  /** Replaces all policies by these, of pods by their numbers, and begins a new epoch. */
  set(policies: Readonly<Record<number, TestPolicy>>): void {
    this.#subjects.clear();
    this.#numbers.clear();
    for (const { egress, ingress } of Object.values(policies)) {
      for (const subject of [egress, ingress]) if (subject) this.#number(subject);
    }
    this.#rules = [...this.#subjects.keys()].flatMap(({ rules = [] }) => rules);
    for (const rule of this.#rules) this.#numberOf(rule);
    this.#writePeers();
    this.#writePorts();
    for (const [rule, number] of this.#numbers) {
      const value = new Uint8Array(policyRuleSize);
      const action = actions[rule.action ?? 'allow'];
      const response = ownResponse(rule.response);
      encodePolicyRule({ connections: 0n, action, response, policy: 0 }, value);
      this.#write('policy_rules', number, value);
    }
    for (const [subject, number] of this.#subjects) this.#writeSubject(subject, number);
    for (const [number, pod] of this.#world.node.pods.entries()) {
      const { egress, ingress } = policies[number] ?? {};
      this.#world.datapath.podTables.setPolicy([pod.addresses.v4, pod.addresses.v6], {
        egress: egress ? this.#subjects.get(egress)! : 0,
        ingress: ingress ? this.#subjects.get(ingress)! : 0,
      });
    }
    this.#epoch++;
    this.#writeState();
  }

  /** Removes all policies. */
  clear(): void {
    this.set({});
  }

  respond(response: keyof typeof responses): void {
    this.#response = response;
    this.#writeState();
  }

  keepOpen(keepsOpen: boolean): void {
    this.#keepsOpen = keepsOpen;
    this.#writeState();
  }

  /** The number of a rule, as events have it: plus 1. */
  ruleOf(rule: TestRule): number {
    return this.#numbers.get(rule)! + 1;
  }

  subjectOf(subject: TestSubject): number {
    return this.#subjects.get(subject)!;
  }

  /** The number of connections that a rule has decided. */
  decided(rule: TestRule): number {
    const number = this.#numbers.get(rule)!;
    return Number(decodePolicyRule(this.map('policy_rules').lookup(word(number))!).connections);
  }

  /** The number of connections that no rule of a subject has allowed. */
  defaultDenied(subject: TestSubject): number {
    const number = this.#subjects.get(subject)!;
    const value = this.map('policy_subjects').lookup(word(number))!;
    return Number(decodePolicySubject(value).defaultDenied);
  }

  /** Returns the verdicts that are reported while `work` runs. */
  verdicts(work: () => void): ReportedVerdict[] {
    const found: ReportedVerdict[] = [];
    const named = (names: Readonly<Record<string, number>>, number: number) =>
      Object.keys(names).find((name) => names[name] === number) ?? `${number}`;
    using ring = new RingBuffer(this.#world.bpf, this.map('policy_verdicts'), (record) => {
      const { tuple, outcome, direction, ...rest } = decodePolicyVerdict(record);
      found.push({
        ...rest,
        outcome: named(policyOutcome, outcome),
        direction: named(policyDirection, direction),
        destinationPort: tuple.destinationPort,
      });
    });
    this.#watched = true;
    this.#writeState();
    try {
      work();
      ring.drain();
    } finally {
      this.#watched = false;
      this.#writeState();
    }
    return found;
  }

  /** Opens a map by its pin. */
  map(name: string): BpfMap {
    const { bpf, node } = this.#world;
    const map =
      this.#maps.get(name) ?? BpfMap.openPinned(bpf, `${currentPins(node.bpffs).maps}/${name}`);
    this.#maps.set(name, map);
    return map;
  }

  [Symbol.dispose](): void {
    for (const map of this.#maps.values()) map[Symbol.dispose]();
    this.#maps.clear();
  }

  #number(subject: TestSubject): number {
    const known = this.#subjects.get(subject);
    if (known !== undefined) return known;
    if (subject.audit) this.#number(subject.audit);
    // The first one is the closed subject.
    const number = this.#subjects.size + 2;
    this.#subjects.set(subject, number);
    return number;
  }

  #numberOf(rule: TestRule): number {
    const known = this.#numbers.get(rule);
    if (known !== undefined) return known;
    const first = 64 * tiers[rule.tier ?? 'NetworkPolicy'];
    let number = first;
    const used = new Set(this.#numbers.values());
    while (used.has(number)) number++;
    this.#numbers.set(rule, number);
    return number;
  }

  #writePeers(): void {
    for (const { name, key } of this.#keys.splice(0)) this.map(name).delete(key);
    const ranges = [...new Set(this.#rules.flatMap(({ peers = [] }) => peers))];
    this.#write('peer_vectors', 0, this.#vector(this.#rules.filter(({ peers }) => !peers)));
    for (const [i, range] of ranges.entries()) {
      const matching = this.#rules.filter(
        ({ peers }) => !peers || peers.some((peer) => contains(peer, range)),
      );
      this.#write('peer_vectors', i + 1, this.#vector(matching));
      const isAddress = !range.includes('/');
      const name = isAddress ? 'policy_peers' : 'policy_ranges';
      const key = isAddress ? parseIp(range)! : rangeKey(range);
      this.map(name).update(key, word(i + 1));
      this.#keys.push({ name, key });
    }
  }

  #writePorts(): void {
    const ports = this.map('policy_ports');
    for (const [key, value] of ports.entries()) {
      if (value.some((byte) => byte !== 0)) ports.update(key.slice(), new Uint8Array(8));
    }
    const vector = (matches: (rule: TestRule) => boolean) =>
      this.#vector(this.#rules.filter((rule) => !rule.ports || matches(rule)));
    this.#write(
      'port_vectors',
      0,
      vector(() => false),
    );
    let next = 4;
    for (const [protocol, index] of Object.entries(protocols)) {
      const named = this.#rules.flatMap(({ ports: of = [] }) =>
        of.filter((each) => each.protocol === protocol),
      );
      const matching = (port?: number) =>
        vector(({ ports: of }) =>
          of!.some(
            (each) => each.protocol === protocol && (each.port === undefined || each.port === port),
          ),
        );
      this.#write('port_vectors', 1 + index, matching());
      for (const port of new Set(named.flatMap((each) => each.port ?? []))) {
        const at = word((index * 65536 + port) >> 2);
        const value = ports.lookup(at)!;
        new DataView(value.buffer).setUint16((port % 4) * 2, next, true);
        ports.update(at, value);
        this.#write('port_vectors', next++, matching(port));
      }
    }
  }

  #writeSubject(subject: TestSubject, number: number): void {
    const { rules = [], isIsolated = true, isClosed = false, response, audit } = subject;
    const value = new Uint8Array(policySubjectSize);
    encodePolicySubject(
      {
        rules: this.#bits(rules),
        flags: (isIsolated ? 1 : 0) | (isClosed ? 2 : 0) | (ownResponse(response) << 2),
        audit: audit ? this.#subjects.get(audit)! : 0,
        defaultDenied: 0n,
        reserved: 0n,
      },
      value,
    );
    this.#write('policy_subjects', number, value);
  }

  #writeState(): void {
    const value = new Uint8Array(policyStateSize);
    encodePolicyState(
      {
        epoch: this.#epoch,
        networkWord: tiers.NetworkPolicy,
        baselineWord: tiers.Baseline,
        keepsOpen: this.#keepsOpen ? 1 : 0,
        denyResponse: responses[this.#response],
        watched: this.#watched ? 1 : 0,
        reserved: [0, 0, 0],
      },
      value,
    );
    this.#write('policy_state', 0, value);
  }

  #bits(rules: readonly TestRule[]): PolicyVector {
    const bits = Array.from({ length: words }, () => 0n);
    for (const rule of rules) {
      const number = this.#numbers.get(rule)!;
      bits[number >> 6]! |= 1n << BigInt(number & 63);
    }
    const summary = bits.reduce((sum, each, i) => (each ? sum | (1n << BigInt(i)) : sum), 0n);
    return { summary, words: bits };
  }

  #vector(rules: readonly TestRule[]): Uint8Array {
    const value = new Uint8Array(policyVectorSize);
    encodePolicyVector(this.#bits(rules), value);
    return value;
  }

  #write(name: string, index: number, value: Uint8Array): void {
    this.map(name).update(word(index), value);
  }
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** Returns the first address and the length of a range within 128 bits. */
function bitsOf(range: string): { address: Uint8Array; length: number } {
  const [text, bits] = range.split('/') as [string, string?];
  const address = parseIp(text)!;
  if (bits === undefined) return { address, length: 128 };
  return { address, length: Number(bits) + (isIpv4(address) ? 96 : 0) };
}

function rangeKey(range: string): Uint8Array {
  if (!parseCidr(range)) throw new Error(`${range} is no range`);
  const { address, length } = bitsOf(range);
  const key = new Uint8Array(rangeKeySize);
  encodeRangeKey({ prefixLength: length, address }, key);
  return key;
}

/** Returns true if a range contains another one, or an address. */
function contains(wide: string, narrow: string): boolean {
  const [outer, inner] = [bitsOf(wide), bitsOf(narrow)];
  if (outer.length > inner.length) return false;
  for (let bit = 0; bit < outer.length; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((outer.address[bit >> 3]! & mask) !== (inner.address[bit >> 3]! & mask)) return false;
  }
  return true;
}

function ownResponse(response: keyof typeof responses | undefined): number {
  return response === undefined ? 0 : responses[response] + 1;
}
