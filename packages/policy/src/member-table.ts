import { type NodeRecord, type ObjectRef, ownText, type PodRecord } from '@heddle/objects';
import type { AddressIndex } from './address-index.ts';
import { AddressOwners } from './address-owners.ts';
import { addressPrefix, addressValue } from './address-values.ts';
import { NodeEntry, PodEntry } from './groups.ts';
import type { PeerIndex } from './peer-index.ts';

/** A pod before and after a change, if it differs. */
export interface PodChange {
  readonly before: PodEntry | undefined;
  readonly after: PodEntry | undefined;
}

/** The pods and Nodes that the model knows, with their groups and addresses. */
export class MemberTable {
  readonly #nodeName: string;
  readonly #peers: PeerIndex;
  readonly #owners: AddressOwners;
  readonly #pods = new Map<string, PodEntry>();
  readonly #nodes = new Map<string, NodeEntry>();

  constructor(nodeName: string, peers: PeerIndex, addresses: AddressIndex) {
    this.#nodeName = nodeName;
    this.#peers = peers;
    this.#owners = new AddressOwners(addresses);
  }

  /** Returns the number of pods. */
  get size(): number {
    return this.#pods.size;
  }

  pod(key: string): PodEntry | undefined {
    return this.#pods.get(key);
  }

  /** Sets or removes a pod. Returns undefined if nothing changes that policies depend on. */
  setPod({ namespace, name }: ObjectRef, record: PodRecord | undefined): PodChange | undefined {
    const key = `${namespace}/${name}`;
    const before = this.#pods.get(key);
    const oldValues = before ? this.#owners.valuesOf(before) : [];
    const newValues = (record?.addresses ?? []).map(addressValue);
    let after: PodEntry | undefined;
    if (record) {
      const place = this.#peers.place(namespace);
      const group = this.#peers.group(place, record.labels, record.namedPorts);
      const isLocal = record.nodeName === this.#nodeName;
      const isSame =
        before?.group === group &&
        before.nodeName === record.nodeName &&
        before.createdMs === record.createdMs &&
        before.record?.uid === (isLocal ? record.uid : undefined) &&
        oldValues.length === newValues.length &&
        newValues.every((value) => oldValues.includes(value));
      if (isSame) {
        if (isLocal) before.record = record;
        return undefined;
      }
      after = new PodEntry(group, before?.key ?? ownText(key), record, isLocal);
      this.#peers.enter(after);
      this.#pods.set(after.key, after);
    } else this.#pods.delete(key);
    this.#owners.replace(
      before && { member: before, values: oldValues },
      after && { member: after, values: newValues },
    );
    if (before) this.#peers.leave(before);
    return { before, after };
  }

  setNode(name: string, record: NodeRecord | undefined): void {
    const before = this.#nodes.get(name);
    let after: NodeEntry | undefined;
    if (record) {
      const group = this.#peers.group(this.#peers.nodes, record.labels, []);
      after = new NodeEntry(group, record);
      this.#peers.enter(after);
      this.#nodes.set(name, after);
    } else this.#nodes.delete(name);
    this.#owners.replace(
      before && { member: before, values: before.record.addresses.map(addressValue) },
      after && { member: after, values: after.record.addresses.map(addressValue) },
    );
    if (before) this.#peers.leave(before);
  }

  *nodes(): Generator<NodeRecord> {
    for (const { record } of this.#nodes.values()) yield record;
  }

  /** Returns the records of pods. Those of other nodes have only the fields that policies depend on. */
  *pods(): Generator<PodRecord> {
    for (const entry of this.#pods.values()) {
      const { key, group, nodeName, createdMs, record } = entry;
      const [namespace = '', name = ''] = key.split('/');
      yield record ?? {
        ...{ kind: 'pod', namespace, name, createdMs, nodeName, uid: '' },
        addresses: this.#owners.valuesOf(entry).map((value) => addressPrefix(value).split('/')[0]!),
        ...{ labels: group.labels, namedPorts: group.ports, hostPorts: [], bandwidth: undefined },
        ...{ workload: undefined, terminating: false, problems: [] },
      };
    }
  }
}
