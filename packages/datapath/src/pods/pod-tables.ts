import { formatIp, isIpv4, parseIp } from '@heddle/sys';
import { NoRoom } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import {
  decodePod,
  decodePodDevice,
  encodePod,
  encodePodDevice,
  podCodec,
  podDeviceCodec,
  podDeviceSize,
  podKind,
  podSize,
} from '../generated/abi.ts';
import { firstOfAddress, placeFor, placesOf } from './places.ts';

/** A pod and its interface, as the programs know them. */
export interface ProgrammedPod {
  /** Index of the pod interface. */
  readonly ifindex: number;
  readonly kind: 'veth' | 'netkit';
  /** Link-layer address of the pod's end; that of netkit has zeros. */
  readonly mac: string;
  /** At most one address of each family. */
  readonly addresses: readonly string[];
  /** Bytes. */
  readonly mtu: number;
}

/** Indexes in `policy_subjects`, for each direction; 0: no policy selects the pod. */
export interface PodPolicy {
  readonly egress: number;
  readonly ingress: number;
}

/** The number of places of each table of pods, a power of 2. */
export const podPlaces = 4096;

/** Link-layer address of the node's end of each pod interface. */
export const podGatewayMac = '02:68:65:64:64:01';

const setting = 'the size of the pod tables';
const podAt = podCodec.offsets;
const deviceAt = podDeviceCodec.offsets;

/** The place of an entry in `pods`, and its address. */
interface PodEntry {
  readonly place: number;
  readonly address: string;
}

/** The maps `pods` and `pod_devices`: pods by address, and pod interfaces by index. Programs read them at any time. */
export class PodTables {
  readonly #pods: ArrayMemory;
  readonly #devices: ArrayMemory;
  /** The numbers of the limits that were set, by address. */
  readonly #rates = new Map<string, number>();
  /** The subjects that were set, by address. */
  readonly #policies = new Map<string, PodPolicy>();
  /** The entries in `pods` of each interface. */
  readonly #entries = new Map<number, readonly PodEntry[]>();

  /**
   * The subjects of a new pod until `setPolicy` sets its own: 0, or 1 (closed) where no packet may pass before the pod's
   * policies are programmed.
   */
  defaultSubjects = 0;

  /** Takes over what an earlier agent left. */
  constructor(pods: ArrayMemory, devices: ArrayMemory) {
    this.#pods = pods;
    this.#devices = devices;
    this.#adopt();
  }

  /** The indexes of the interfaces that have entries. */
  get ifindexes(): Iterable<number> {
    return this.#entries.keys();
  }

  has(ifindex: number): boolean {
    return this.#entries.has(ifindex);
  }

  /** Returns the kind of an interface that has entries. */
  kindOf(ifindex: number): ProgrammedPod['kind'] {
    const place = this.#devicePlace(ifindex);
    if (place === undefined) return 'veth';
    // The check of each second asks for the kind of each pod.
    const bytes = this.#devices.first(this.#devices.length);
    return wordAt(bytes, place * podDeviceSize + deviceAt.kind) === podKind.netkit
      ? 'netkit'
      : 'veth';
  }

  /** Writes the entries of a pod in place of those of its interface and of its addresses. Throws NoRoom. */
  set(pod: ProgrammedPod): void {
    const { ifindex } = pod;
    const entries = this.#entriesOf(pod);
    const device = this.#devicePlace(ifindex);
    const places = entries.pods.map(({ address }) => this.#podPlace(address));
    if (device === undefined) throw new NoRoom('pod_devices', this.#devices.length, setting);
    if (places.some((place) => place === undefined)) {
      throw new NoRoom('pods', this.#pods.length, setting);
    }
    const kept = new Set(places as number[]);
    for (const { place } of this.#entriesAt(ifindex)) if (!kept.has(place)) this.#clear(place);
    entries.pods.forEach(({ bytes }, i) => {
      const place = places[i]!;
      const owner = this.#ifindexOf(place);
      if (owner !== 0 && owner !== ifindex) this.#forget(owner, place);
      this.#write(this.#pods, place, bytes, podAt.ifindex);
    });
    this.#write(this.#devices, device, entries.device, deviceAt.ifindex);
    this.#entries.set(
      ifindex,
      entries.pods.map(({ address }, i) => ({ place: places[i]!, address: formatIp(address) })),
    );
  }

  /** Returns sentences about what differs from the entries that `set` writes. */
  problems(pod: ProgrammedPod): string[] {
    const entries = this.#entriesOf(pod);
    const problems: string[] = [];
    const device = this.#devicePlace(pod.ifindex);
    if (device === undefined || !hasEntry(this.#devices, device, entries.device)) {
      problems.push(`map pod_devices does not have the entry of interface ${pod.ifindex}`);
    }
    for (const { address, bytes } of entries.pods) {
      const place = this.#podPlace(address);
      if (place === undefined || !hasEntry(this.#pods, place, bytes)) {
        problems.push(`map pods does not have the entry of ${formatIp(address)}`);
      }
    }
    return problems;
  }

  /** Returns the addresses of the pod at an interface. */
  addressesOf(ifindex: number): string[] {
    return this.#entriesAt(ifindex).map(({ address }) => address);
  }

  /**
   * Removes the entries of an interface, and the subjects of its addresses, because the next pod with such an address
   * is another one; a missing one is fine.
   */
  remove(ifindex: number): void {
    for (const { place, address } of this.#entriesAt(ifindex)) {
      this.#policies.delete(address);
      this.#clear(place);
    }
    this.#entries.delete(ifindex);
    const place = this.#devicePlace(ifindex);
    if (place !== undefined && this.#deviceAt(place).ifindex === ifindex) {
      this.#write(this.#devices, place, new Uint8Array(podDeviceSize), deviceAt.ifindex);
    }
  }

  /** Returns true if an address has an entry or finds room for one. */
  hasRoom(address: string): boolean {
    return this.#podPlace(parseIp(address)!) !== undefined;
  }

  /**
   * Sets the number of the limits of the pod with these addresses, 0 for none. It is kept for a pod whose
   * interface is not known yet.
   */
  setRates(addresses: readonly string[], rates: number): void {
    for (const address of addresses) {
      this.#rates.set(address, rates);
      const place = this.#liveEntry(address);
      if (place === undefined) continue;
      this.#writeWord(this.#pods, place * podSize + podAt.rates, rates);
      const device = this.#devicePlace(this.#ifindexOf(place));
      if (device === undefined) continue;
      this.#writeWord(this.#devices, device * podDeviceSize + deviceAt.rates, rates);
    }
  }

  /** Forgets the limits of addresses, whose pods are gone or have none any more. */
  removeRates(addresses: readonly string[]): void {
    this.setRates(addresses, 0);
    for (const address of addresses) this.#rates.delete(address);
  }

  /** Returns the number of the limits of a pod: those that were set, else those of an earlier agent; 0 for none. */
  ratesOf(address: string): number {
    const place = this.#liveEntry(address);
    return this.#rates.get(address) ?? (place === undefined ? 0 : this.#podAt(place).rates);
  }

  /** Returns the addresses that have limits, with their numbers. */
  limited(): Map<string, number> {
    const found = new Map<string, number>();
    for (const { place, address } of [...this.#entries.values()].flat()) {
      const { rates } = this.#podAt(place);
      if (rates !== 0) found.set(address, rates);
    }
    for (const [address, rates] of this.#rates) if (rates !== 0) found.set(address, rates);
    return found;
  }

  /**
   * Sets the subjects of the pod with these addresses. They are kept for a pod whose interface is not known yet, and
   * until the pod is removed.
   */
  setPolicy(addresses: readonly string[], { egress, ingress }: PodPolicy): void {
    for (const address of addresses) {
      this.#policies.set(address, { egress, ingress });
      const place = this.#liveEntry(address);
      if (place === undefined) continue;
      this.#writeWord(this.#pods, place * podSize + podAt.egressSubject, egress);
      this.#writeWord(this.#pods, place * podSize + podAt.ingressSubject, ingress);
      const ifindex = this.#ifindexOf(place);
      const device = this.#devicePlace(ifindex);
      if (device === undefined) continue;
      const hasPolicy = this.#hasPolicy(ifindex) ? 1 : 0;
      this.#writeWord(this.#devices, device * podDeviceSize + deviceAt.hasPolicy, hasPolicy);
    }
  }

  /** Forgets the subjects of addresses whose pods are gone. A pod that is still there gets the default subjects. */
  removePolicy(addresses: readonly string[]): void {
    const subject = this.defaultSubjects;
    this.setPolicy(addresses, { egress: subject, ingress: subject });
    for (const address of addresses) this.#policies.delete(address);
  }

  /** Returns the subjects of an address: those that were set, else those of an earlier agent, else the default ones. */
  policyOf(address: string): PodPolicy {
    const set = this.#policies.get(address);
    if (set) return set;
    const place = this.#liveEntry(address);
    if (place === undefined) {
      return { egress: this.defaultSubjects, ingress: this.defaultSubjects };
    }
    const { egressSubject: egress, ingressSubject: ingress } = this.#podAt(place);
    return { egress, ingress };
  }

  /** Returns the addresses of this node's pods that have a subject. */
  policed(): Map<string, PodPolicy> {
    const found = new Map<string, PodPolicy>();
    for (const { address } of [...this.#entries.values()].flat()) {
      const policy = this.policyOf(address);
      if (hasSubject(policy)) found.set(address, policy);
    }
    return found;
  }

  /**
   * Sets the id of the network namespace of the pod at an interface, in the node's namespace, by which the programs find
   * its sockets; an interface without entries is fine.
   */
  setNamespace(ifindex: number, id: number): void {
    for (const { place } of this.#entriesAt(ifindex)) {
      this.#writeWord(this.#pods, place * podSize + podAt.netns, id + 1);
    }
  }

  #entriesAt(ifindex: number): readonly PodEntry[] {
    return this.#entries.get(ifindex) ?? [];
  }

  #hasPolicy(ifindex: number): boolean {
    return this.#entriesAt(ifindex).some(({ address }) => hasSubject(this.policyOf(address)));
  }

  /** Returns the entries of a pod with its limits and subjects. An address that another pod had is a new pod's. */
  #entriesOf(pod: ProgrammedPod) {
    const subject = this.defaultSubjects;
    const policies = pod.addresses.map((address) => {
      const place = this.#liveEntry(address);
      const isOthers = place !== undefined && this.#ifindexOf(place) !== pod.ifindex;
      if (isOthers && !this.#policies.has(address)) return { egress: subject, ingress: subject };
      return this.policyOf(address);
    });
    const [entry] = this.#entriesAt(pod.ifindex);
    const netns = entry === undefined ? 0 : this.#podAt(entry.place).netns;
    return encodePodEntries(pod, { rates: this.#ratesFor(pod.addresses), netns, policies });
  }

  #ratesFor(addresses: readonly string[]): number {
    return addresses.map((address) => this.ratesOf(address)).find((rates) => rates !== 0) ?? 0;
  }

  /** Returns the place of the entry of an address; undefined without an entry. */
  #liveEntry(address: string): number | undefined {
    const place = this.#podPlace(parseIp(address)!);
    return place !== undefined && this.#ifindexOf(place) !== 0 ? place : undefined;
  }

  #writeWord(memory: ArrayMemory, at: number, value: number): void {
    const bytes = memory.first(memory.length);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    if (view.getUint32(at, true) === value) return;
    view.setUint32(at, value, true);
    memory.wrote(at, 4);
  }

  #adopt(): void {
    for (let place = 0; place < this.#devices.length; place++) {
      const { ifindex } = this.#deviceAt(place);
      if (ifindex === 0) continue;
      if (this.#devicePlace(ifindex) === place) this.#entries.set(ifindex, []);
      else this.#write(this.#devices, place, new Uint8Array(podDeviceSize), deviceAt.ifindex);
    }
    for (let place = 0; place < this.#pods.length; place++) {
      const { address, ifindex } = this.#podAt(place);
      if (ifindex === 0) continue;
      const entries = this.#entries.get(ifindex);
      // The table may have had another size, or lacks the interface.
      if (entries && this.#podPlace(address) === place) {
        this.#entries.set(ifindex, [...entries, { place, address: formatIp(address) }]);
      } else {
        this.#clear(place);
      }
    }
  }

  /** Returns the index of the interface of an entry of `pods`; 0: there is none. */
  #ifindexOf(place: number): number {
    return wordAt(this.#pods.first(this.#pods.length), place * podSize + podAt.ifindex);
  }

  #podAt(place: number) {
    return decodePod(this.#pods.first(this.#pods.length), place * podSize);
  }

  #deviceAt(place: number) {
    return decodePodDevice(this.#devices.first(this.#devices.length), place * podDeviceSize);
  }

  // A search compares bytes: decoding each entry that it passes took half of the time of a policy's change.
  #podPlace(address: Uint8Array): number | undefined {
    const bytes = this.#pods.first(this.#pods.length);
    return placeFor(
      placesOf(firstOfAddress(address, isIpv4(address)), { places: this.#pods.length, step: 2 }),
      (place) => address.every((byte, i) => bytes[place * podSize + i] === byte),
      (place) => wordAt(bytes, place * podSize + podAt.ifindex) === 0,
    );
  }

  #devicePlace(ifindex: number): number | undefined {
    const bytes = this.#devices.first(this.#devices.length);
    const ifindexOf = (place: number) => wordAt(bytes, place * podDeviceSize + deviceAt.ifindex);
    return placeFor(
      placesOf(ifindex, { places: this.#devices.length, step: 1 }),
      (place) => ifindexOf(place) === ifindex,
      (place) => ifindexOf(place) === 0,
    );
  }

  #forget(ifindex: number, place: number): void {
    const rest = this.#entries.get(ifindex)?.filter((each) => each.place !== place);
    if (rest) this.#entries.set(ifindex, rest);
  }

  /** Removes the entry at a place of `pods`. Its address stays, so that searches go on behind it. */
  #clear(place: number): void {
    const bytes = new Uint8Array(podSize);
    bytes.set(this.#podAt(place).address);
    this.#write(this.#pods, place, bytes, podAt.ifindex);
  }

  /**
   * Writes an entry so that a program that reads it meanwhile skips it: with an index of 0, which is written last. An
   * entry of the same interface stays valid, or else packets would pass without the policies of the pod.
   */
  #write(memory: ArrayMemory, place: number, entry: Uint8Array, ifindexAt: number): void {
    const bytes = memory.first(memory.length);
    const at = place * entry.length;
    if (hasEntry(memory, place, entry)) return;
    const isSame = entry.subarray(0, ifindexAt + 4).every((byte, i) => byte === bytes[at + i]);
    if (isSame) {
      bytes.set(entry, at);
      memory.wrote(at, entry.length);
      return;
    }
    const ifindex = entry.subarray(ifindexAt, ifindexAt + 4);
    bytes.fill(0, at + ifindexAt, at + ifindexAt + 4);
    bytes.set(entry.subarray(0, ifindexAt), at);
    bytes.set(entry.subarray(ifindexAt + 4), at + ifindexAt + 4);
    bytes.set(ifindex, at + ifindexAt);
    memory.wrote(at, entry.length);
  }
}

/** Returns the 32-bit word at an offset, in the order of the machine, which is little-endian. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  );
}

function hasSubject({ egress, ingress }: PodPolicy): boolean {
  return egress !== 0 || ingress !== 0;
}

/** Returns the bytes of the entries of a pod, with the subjects of each of its addresses. */
function encodePodEntries(
  { ifindex, kind, mac, addresses, mtu }: ProgrammedPod,
  {
    rates,
    netns,
    policies,
  }: { readonly rates: number; readonly netns: number; readonly policies: readonly PodPolicy[] },
) {
  const link = {
    ifindex,
    rates,
    mac: macBytes(mac),
    mtu: Math.min(mtu, 0xffff),
    kind: podKind[kind],
  };
  const parsed = addresses.map((address) => parseIp(address)!);
  const of = (wanted: boolean) =>
    parsed.find((address) => isIpv4(address) === wanted) ?? new Uint8Array(16);
  const device = new Uint8Array(podDeviceSize);
  encodePodDevice(
    {
      ...link,
      ipv4: of(true),
      ipv6: of(false),
      hasPolicy: policies.some(hasSubject) ? 1 : 0,
      reserved: [0, 0],
    },
    device,
  );
  const pods = parsed.map((address, i) => {
    const { egress: egressSubject, ingress: ingressSubject } = policies[i]!;
    const bytes = new Uint8Array(podSize);
    encodePod(
      { address, ...link, egressSubject, ingressSubject, netns, reserved: new Array(4).fill(0) },
      bytes,
    );
    return { address, bytes };
  });
  return { device, pods };
}

function hasEntry(memory: ArrayMemory, place: number, entry: Uint8Array): boolean {
  const bytes = memory.first(memory.length);
  return entry.every((byte, i) => bytes[place * entry.length + i] === byte);
}

/** Returns the 6 bytes of a link-layer address. */
export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}
