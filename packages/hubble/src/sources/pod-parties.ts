import type { PodName } from '@heddle/agent';
import { identityLabels, identityOf } from '../flows/identity.ts';
import { type Party, party } from '../flows/record.ts';
import { addressKeyOf } from './address-key.ts';

/** A pod whose party is made when it has its first flow: most pods of a cluster have none on this node. */
class Pod {
  readonly name: PodName;
  readonly #parties: PodParties;
  #party: Party | undefined;

  constructor(name: PodName, parties: PodParties) {
    this.name = name;
    this.#parties = parties;
  }

  get node(): string {
    return this.name.node;
  }

  get party(): Party {
    this.#party ??= this.#parties.partyOf(this.name);
    return this.#party;
  }
}

/** Labels and the number that stands for them. */
interface Identity {
  readonly labels: string[];
  readonly identity: number;
}

/** The most sets of labels that are kept computed. */
const identitiesMax = 10_000;

/** The pods of a cluster by their addresses. */
export class PodParties {
  readonly #cluster: string;
  #byName = new Map<string, Pod>();
  readonly #byAddress = new Map<string, Pod>();
  readonly #identities = new Map<string, Identity>();
  /** While a full list is taken: the pods before. */
  #before: ReadonlyMap<string, Pod> = new Map();

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  /** Returns the pod with an address. */
  at(address: string): { readonly party: Party; readonly node: string } | undefined {
    return this.#byAddress.get(address);
  }

  /** Begins a full list: what is not set until `end` does not exist. */
  begin(): void {
    this.#before = this.#byName;
    this.#byName = new Map();
    this.#byAddress.clear();
  }

  end(): void {
    this.#before = new Map();
  }

  /** Sets a pod; one that has not changed keeps its party. */
  set(key: string, name: PodName): void {
    const before = this.#byName.get(key) ?? this.#before.get(key);
    this.remove(key);
    const isSame = before && JSON.stringify(before.name) === JSON.stringify(name);
    const pod = isSame ? before : new Pod(name, this);
    this.#byName.set(key, pod);
    for (const address of name.addresses) this.#byAddress.set(addressKeyOf(address), pod);
  }

  remove(key: string): void {
    const pod = this.#byName.get(key);
    if (!pod) return;
    this.#byName.delete(key);
    for (const address of pod.name.addresses) {
      const place = addressKeyOf(address);
      // Another pod may have the address by now.
      if (this.#byAddress.get(place) === pod) this.#byAddress.delete(place);
    }
  }

  partyOf({ namespace, name, labels, workload }: PodName): Party {
    return party({
      ...{ namespace, podName: name, clusterName: this.#cluster },
      ...this.#identityOf(namespace, labels),
      workloads: workload ? [workload] : [],
    });
  }

  /** Replicas share their labels. */
  #identityOf(namespace: string, podLabels: readonly string[]): Identity {
    const labels = identityLabels(namespace, podLabels);
    const key = labels.join('\n');
    const known = this.#identities.get(key);
    if (known) return known;
    if (this.#identities.size >= identitiesMax) this.#identities.clear();
    const identity = { labels, identity: identityOf(labels) };
    this.#identities.set(key, identity);
    return identity;
  }
}
