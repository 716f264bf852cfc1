import type { Endpoint } from '../generated/flow/flow_pb.js';

/** A namespace of a cluster. */
export interface NamespaceName {
  readonly cluster: string;
  readonly namespace: string;
}

/** A namespace without flows is forgotten after this time, in milliseconds. */
const keptMs = 3_600_000;
/** The most namespaces that are kept. */
const countMax = 10_000;

/** The namespaces that flows of the last hour have. */
export class NamespacesSeen {
  readonly #lastSeen = new Map<string, NamespaceName & { last: number }>();

  /** Notes the namespace of an end at a time in milliseconds. */
  note({ clusterName: cluster, namespace }: Endpoint, time: number): void {
    if (namespace === '') return;
    const key = `${cluster}/${namespace}`;
    const known = this.#lastSeen.get(key);
    if (known) {
      known.last = Math.max(known.last, time);
      return;
    }
    if (this.#lastSeen.size >= countMax) this.#forgetOldest();
    this.#lastSeen.set(key, { cluster, namespace, last: time });
  }

  /** Returns the namespaces in order. `now` is in milliseconds. */
  list(now: number): NamespaceName[] {
    for (const [key, { last }] of this.#lastSeen) {
      if (last < now - keptMs) this.#lastSeen.delete(key);
    }
    const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
    return [...this.#lastSeen.values()]
      .map(({ cluster, namespace }) => ({ cluster, namespace }))
      .sort((a, b) => compare(a.cluster, b.cluster) || compare(a.namespace, b.namespace));
  }

  #forgetOldest(): void {
    let oldest: [string, number] | undefined;
    for (const [key, { last }] of this.#lastSeen) {
      if (oldest === undefined || last < oldest[1]) oldest = [key, last];
    }
    if (oldest) this.#lastSeen.delete(oldest[0]);
  }
}
