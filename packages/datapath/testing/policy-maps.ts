import type { Tier } from '@heddle/policy';
import { parseCidr, parseIp } from '@heddle/sys';
import type { KeyedMap } from '../src/core/keyed-map.ts';
import type { ArrayMemory } from '../src/core/mapped-array.ts';
import {
  decodePodDevice,
  decodePolicyState,
  dnsNameClassSize,
  dnsStateSize,
  encodeRangeKey,
  podDeviceSize,
  podSize,
  policyAction,
  policyRuleSize,
  policyStateSize,
  policySubjectSize,
  policyVectorSize,
  rangeKeySize,
} from '../src/generated/abi.ts';
import { PodTables } from '../src/pods/pod-tables.ts';
import { subjectFlags } from '../src/policy/constants.ts';
import { PolicyTables } from '../src/policy/policy-tables.ts';
import { policyPortWords } from '../src/policy/port-classes.ts';
import { tierRegions } from '../src/policy/rule-numbers.ts';
import { policyRules, Vectors } from '../src/policy/vectors.ts';

/** An array map in ordinary memory. */
export class MemoryArray implements ArrayMemory {
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly #onWrite: () => void;

  constructor(length: number, size: number, onWrite: () => void = () => {}) {
    this.length = length;
    this.bytes = new Uint8Array(length * size);
    this.#onWrite = onWrite;
  }

  first(): Uint8Array {
    return this.bytes;
  }

  wrote(): void {
    this.#onWrite();
  }
}

/** A hash map, or a trie of ranges, in ordinary memory. */
export class MemoryMap implements KeyedMap {
  readonly info: { readonly name: string; readonly maxEntries: number };
  readonly values = new Map<string, Uint8Array>();
  readonly #onWrite: () => void;

  constructor(name: string, maxEntries: number, onWrite: () => void) {
    this.info = { name, maxEntries };
    this.#onWrite = onWrite;
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.values.set(String.fromCharCode(...key), value.slice());
    if (this.values.size > this.info.maxEntries) throw new Error(`${this.info.name} is too full`);
    this.#onWrite();
  }

  delete(key: Uint8Array): boolean {
    const wasThere = this.values.delete(String.fromCharCode(...key));
    this.#onWrite();
    return wasThere;
  }

  *entries(): Generator<[Uint8Array, Uint8Array]> {
    for (const [key, value] of this.values) {
      yield [Uint8Array.from(key, (character) => character.charCodeAt(0)), value];
    }
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    const [keySize, valueSize] = [keys.length / count, values.length / count];
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * keySize, (i + 1) * keySize);
      this.update(key, values.subarray(i * valueSize, (i + 1) * valueSize));
    }
  }
}

/** The sizes of maps. */
export interface PolicySizes {
  readonly subjects?: number;
  readonly peers?: number;
  readonly ranges?: number;
  readonly peerClasses?: number;
  readonly portClasses?: number;
}

export interface Packet {
  /** The address of a pod of the node. */
  readonly pod: string;
  readonly direction: 'egress' | 'ingress';
  readonly peer: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  readonly port: number;
}

/** The maps of network policies, and a program that reads them as those of bpf/policy do. */
export class PolicyMaps {
  /** Called after each write that a program might see. */
  onWrite: () => void = () => {};
  readonly state: MemoryArray;
  readonly rules: MemoryArray;
  readonly subjects: MemoryArray;
  readonly peers: MemoryMap;
  readonly ranges: MemoryMap;
  readonly peerVectors: MemoryArray;
  readonly ports: MemoryArray;
  readonly portVectors: MemoryArray;
  readonly pods: PodTables;
  readonly names: Record<'names' | 'resolvers', MemoryMap> &
    Record<'classes' | 'state', MemoryArray>;
  readonly #places: readonly [MemoryArray, MemoryArray];
  /** Reads the entries of pods as the programs do. */
  #reader: PodTables | undefined;
  /** Nanoseconds. */
  now = 1_000_000_000n;
  readonly #timers = new Set<{ readonly dueNs: bigint; readonly fire: () => void }>();

  constructor(sizes: PolicySizes = {}) {
    const { subjects = 64, peers = 256, ranges = 64, peerClasses = 128, portClasses = 128 } = sizes;
    const array = (length: number, size: number) =>
      new MemoryArray(length, size, () => this.onWrite());
    this.state = array(1, policyStateSize);
    this.rules = array(policyRules, policyRuleSize);
    this.subjects = array(subjects, policySubjectSize);
    this.peers = new MemoryMap('policy_peers', peers, () => this.onWrite());
    this.ranges = new MemoryMap('policy_ranges', ranges, () => this.onWrite());
    this.peerVectors = array(peerClasses, policyVectorSize);
    this.ports = array(policyPortWords, 8);
    this.portVectors = array(portClasses, policyVectorSize);
    this.#places = [array(64, podSize), array(64, podDeviceSize)];
    this.pods = new PodTables(...this.#places);
    this.names = {
      names: new MemoryMap('policy_names', 32, () => this.onWrite()),
      classes: array(32, dnsNameClassSize),
      state: array(1, dnsStateSize),
      resolvers: new MemoryMap('dns_resolvers', 32, () => this.onWrite()),
    };
  }

  /** Starts the control plane on the maps, as the next agent does. */
  open(): PolicyTables {
    const { state, rules, subjects, peers, ranges, peerVectors, ports, portVectors } = this;
    this.#timers.clear();
    const setTimer = (milliseconds: number, fire: () => void) => {
      const timer = { dueNs: this.now + BigInt(milliseconds) * 1_000_000n, fire };
      this.#timers.add(timer);
      return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
    };
    const platform = { monotonicNs: () => this.now, setTimer, log: () => {} };
    const pods = new PodTables(...this.#places);
    return new PolicyTables({
      ...{ platform, state, rules, subjects, peers, ranges, peerVectors, ports, portVectors, pods },
      names: this.names,
    });
  }

  /** Lets time pass, and fires the timers that are due. */
  pass(milliseconds: number): void {
    const end = this.now + BigInt(milliseconds) * 1_000_000n;
    for (;;) {
      const due = [...this.#timers].filter(({ dueNs }) => dueNs <= end);
      const first = due.sort((a, b) => Number(a.dueNs - b.dueNs))[0];
      if (!first) break;
      this.#timers.delete(first);
      if (first.dueNs > this.now) this.now = first.dueNs;
      first.fire();
    }
    this.now = end;
  }

  /** Adds the interface of a pod. */
  addPod(ifindex: number, address: string, tables: PodTables = this.pods): void {
    const link = { mac: '02:00:00:00:00:01', mtu: 1500, kind: 'veth' } as const;
    this.#reader = undefined;
    tables.set({ ifindex, ...link, addresses: [address] });
  }

  get epoch(): number {
    return decodePolicyState(this.state.bytes).epoch;
  }

  /** Returns true if the pod's interface has a policy, as the programs see it. */
  hasPolicy(ifindex: number): boolean {
    const [, devices] = this.#places;
    for (let place = 0; place < devices.length; place++) {
      const device = decodePodDevice(devices.bytes, place * podDeviceSize);
      if (device.ifindex === ifindex) return device.hasPolicy === 1;
    }
    return false;
  }

  /** Judges a packet as the programs do. */
  judge(packet: Packet): 'allow' | 'deny' {
    return this.judgeAs(this.subjectOf(packet), packet);
  }

  /** Returns the subject of the packet's pod: the first thing that a program reads. */
  subjectOf({ pod, direction }: Packet): number {
    this.#reader ??= new PodTables(...this.#places);
    return this.#reader.policyOf(pod)[direction];
  }

  /** Judges a packet as a program does that has read the subject before. */
  judgeAs(subject: number, packet: Packet): 'allow' | 'deny' {
    if (subject === 0) return 'allow';
    const view = new DataView(this.subjects.bytes.buffer, subject * policySubjectSize);
    const flags = view.getUint32(policyVectorSize, true);
    if (flags & subjectFlags.closed) return 'deny';
    const [rules, peers, ports] = [
      new Vectors(this.subjects, policySubjectSize).rules(subject),
      new Vectors(this.peerVectors, policyVectorSize).rules(this.#peerClass(packet.peer)),
      new Vectors(this.portVectors, policyVectorSize).rules(this.#portClass(packet)),
    ];
    const common = [...rules].filter((number) => peers.has(number) && ports.has(number));
    for (const tier of ['Admin', 'NetworkPolicy', 'Baseline'] satisfies Tier[]) {
      const { first, end } = tierRegions[tier];
      for (const number of common) {
        if (number < first || number >= end) continue;
        const rule = new DataView(this.rules.bytes.buffer, number * policyRuleSize);
        const action = rule.getUint32(8, true);
        if (action === policyAction.pass) break;
        return action === policyAction.allow ? 'allow' : 'deny';
      }
      if (tier === 'NetworkPolicy' && flags & subjectFlags.isolated) return 'deny';
    }
    return 'allow';
  }

  #peerClass(address: string): number {
    const bytes = parseIp(address)!;
    const known = this.peers.values.get(String.fromCharCode(...bytes));
    if (known) return new DataView(known.buffer).getUint32(0, true);
    const lengths = new Set(Array.from(this.ranges.values.keys(), (key) => key.charCodeAt(0)));
    for (const length of [...lengths].sort((a, b) => b - a)) {
      const masked = parseCidr(address)!.address.slice();
      for (let bit = length; bit < 128; bit++) masked[bit >> 3]! &= ~(0x80 >> (bit & 7));
      const key = new Uint8Array(rangeKeySize);
      encodeRangeKey({ prefixLength: length, address: masked }, key);
      const found = this.ranges.values.get(String.fromCharCode(...key));
      if (found) return new DataView(found.buffer).getUint32(0, true);
    }
    return 0;
  }

  #portClass({ protocol, port }: Packet): number {
    if (protocol === 'ICMP') return 0;
    const index = ['TCP', 'UDP', 'SCTP'].indexOf(protocol);
    const all = new Uint16Array(this.ports.bytes.buffer);
    return all[index * 65536 + port]! || index + 1;
  }
}
