import type { PodSubjects, Subject } from '@heddle/policy';
import type { PodPolicy, PodTables } from '../pods/pod-tables.ts';
import { closedSubject, noSubject } from './constants.ts';
import type { Subjects } from './subjects.ts';

/** A pod as its interface records it. */
export interface AttachedPod {
  /** `namespace/name`. */
  readonly pod: string;
  /** The uid that the kubelet gave with the call; empty if it gave none. */
  readonly uid: string;
}

interface Attachment extends AttachedPod {
  readonly addresses: readonly string[];
}

interface Waiter {
  readonly address: string;
  readonly done: () => void;
}

const closed: PodPolicy = { egress: closedSubject, ingress: closedSubject };

/** The subjects of the pods that have an interface of this node. */
export class PodSwitch {
  readonly #tables: PodTables;
  readonly #subjects: Subjects;
  readonly #attachments = new Map<string, readonly Attachment[]>();
  /** The pods of the model. */
  readonly #pods = new Map<string, PodSubjects>();
  /** The subjects of each address. */
  readonly #current = new Map<string, PodPolicy>();
  /** The addresses whose subjects are those of their pod. */
  readonly #programmed = new Set<string>();
  readonly #waiters = new Set<Waiter>();

  /** Takes over what an earlier agent has programmed. */
  constructor(tables: PodTables, subjects: Subjects) {
    this.#tables = tables;
    this.#subjects = subjects;
    for (const [address, policy] of tables.policed()) {
      this.#current.set(address, policy);
      this.#use(policy);
    }
  }

  /** The names of the pods that have an interface. */
  get attached(): Iterable<string> {
    return this.#attachments.keys();
  }

  /** The pods of the model. */
  get pods(): Iterable<PodSubjects> {
    return this.#pods.values();
  }

  podOf(name: string): PodSubjects | undefined {
    return this.#pods.get(name);
  }

  /** Takes note of the interface of a pod, which has these addresses. */
  attach(attached: AttachedPod, addresses: readonly string[]): void {
    const { pod } = attached;
    const others = (this.#attachments.get(pod) ?? []).filter(
      (each) => !each.addresses.some((address) => addresses.includes(address)),
    );
    this.#attachments.set(pod, [...others, { ...attached, addresses }]);
  }

  /** Takes note that the interface with these addresses is gone. */
  detach(addresses: readonly string[]): void {
    for (const [pod, attachments] of this.#attachments) {
      const left = attachments.filter((each) => !each.addresses.some((a) => addresses.includes(a)));
      if (left.length === attachments.length) continue;
      if (left.length === 0) this.#attachments.delete(pod);
      else this.#attachments.set(pod, left);
    }
    this.#tables.removePolicy(addresses);
    for (const address of addresses) {
      this.#programmed.delete(address);
      this.#drop(this.#current.get(address));
      this.#current.delete(address);
    }
  }

  /** Forgets the addresses of pods that were removed while no agent ran. */
  forgetUnattached(): void {
    const attached = new Set(
      [...this.#attachments.values()].flat().flatMap(({ addresses }) => addresses),
    );
    this.detach([...this.#current.keys()].filter((address) => !attached.has(address)));
  }

  set(subjects: PodSubjects): void {
    this.#pods.set(subjects.pod, subjects);
  }

  remove(pod: string): void {
    this.#pods.delete(pod);
  }

  /**
   * Switches the interfaces of pods to the subjects of their pods; an interface whose pod is unknown is closed.
   * `indexOf` returns the index of a subject, or undefined if it is not known yet: then the present one stays. Returns true if
   * an interface has another subject now.
   */
  update(names: Iterable<string>, indexOf: (subject: Subject) => number | undefined): boolean {
    let isChanged = false;
    for (const name of names) {
      for (const { uid, addresses } of this.#attachments.get(name) ?? []) {
        const pod = this.#pods.get(name);
        const isKnown = pod !== undefined && isSame(uid, pod.uid);
        const wanted = isKnown ? policyOf(pod, indexOf) : closed;
        for (const address of addresses) {
          if (this.#switch(address, wanted)) isChanged = true;
          if (isKnown && wanted !== undefined) this.#programmed.add(address);
          else this.#programmed.delete(address);
        }
      }
    }
    this.#settle();
    return isChanged;
  }

  /** Returns true if an address has the subjects of its pod. */
  isProgrammed(address: string): boolean {
    return this.#programmed.has(address);
  }

  /** Calls `done` once an address has the subjects of its pod, unless the result is disposed before. */
  whenProgrammed(address: string, done: () => void): Disposable {
    const waiter = { address, done };
    this.#waiters.add(waiter);
    return { [Symbol.dispose]: () => this.#waiters.delete(waiter) };
  }

  #settle(): void {
    for (const waiter of this.#waiters) {
      if (!this.#programmed.has(waiter.address)) continue;
      this.#waiters.delete(waiter);
      waiter.done();
    }
  }

  #switch(address: string, wanted: PodPolicy | undefined): boolean {
    const before = this.#current.get(address) ?? this.#tables.policyOf(address);
    const after = wanted ?? before;
    this.#current.set(address, after);
    if (before.egress === after.egress && before.ingress === after.ingress) {
      this.#tables.setPolicy([address], after);
      return false;
    }
    this.#use(after);
    this.#tables.setPolicy([address], after);
    this.#drop(before);
    return true;
  }

  #use({ egress, ingress }: PodPolicy): void {
    this.#subjects.use(egress);
    this.#subjects.use(ingress);
  }

  #drop(policy: PodPolicy | undefined): void {
    if (!policy) return;
    this.#subjects.drop(policy.egress);
    this.#subjects.drop(policy.ingress);
  }
}

/** Returns true unless both uids are known and differ. */
function isSame(a: string, b: string): boolean {
  return a === '' || b === '' || a === b;
}

function policyOf(
  { egress, ingress }: PodSubjects,
  indexOf: (subject: Subject) => number | undefined,
): PodPolicy | undefined {
  const of = (subject: Subject | undefined) => (subject ? indexOf(subject) : noSubject);
  const [out, into] = [of(egress), of(ingress)];
  return out === undefined || into === undefined ? undefined : { egress: out, ingress: into };
}
