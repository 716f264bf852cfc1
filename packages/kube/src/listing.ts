import { ownText } from '@heddle/sys/internal';
import type { Fields } from './fields.ts';
import { ProtocolError } from './frames.ts';

/** The change of one object. */
export type ResourceChange<T> =
  | { readonly op: 'set'; readonly key: string; readonly value: T }
  | {
      readonly op: 'delete';
      readonly key: string;
      /** Empty for objects without a namespace, such as Nodes. */
      readonly namespace: string;
      readonly name: string;
    };

/** The identity of an object and its version. */
export interface Identity {
  /** `namespace/name`, or the name alone. */
  readonly key: string;
  readonly versionText: string;
  /** The version as a number; NaN when it is none (NaN equals no version). */
  readonly version: number;
}

export const identityFields: Fields = {
  metadata: { name: true, namespace: true, resourceVersion: true },
};

/** Reads the identity of an object. Throws ProtocolError when it has none. */
export function identify(object: unknown): Identity {
  const metadata = mapOf(mapOf(object)?.metadata);
  const { name, namespace = '', resourceVersion: versionText } = metadata ?? {};
  if (typeof name !== 'string' || name === '' || typeof namespace !== 'string') {
    throw new ProtocolError('read object: it has no name');
  }
  if (typeof versionText !== 'string' || versionText === '') {
    throw new ProtocolError(`read object ${name}: it has no resourceVersion`);
  }
  const key = ownText(namespace === '' ? name : `${namespace}/${name}`);
  return { key, versionText, version: versionNumber(versionText) };
}

/** Versions by key, which are the whole known state. */
export type KnownVersions = ReadonlyMap<string, number>;

/**
 * A list that is being read. Objects in a known version are not read. `finish` returns the changes from the
 * known state to the listed one.
 */
export class Listing<T> {
  readonly #known: KnownVersions;
  readonly #listed = new Map<string, number>();
  readonly #changes = new Map<string, ResourceChange<T>>();

  constructor(known: KnownVersions) {
    this.#known = known;
  }

  /** Adds an object if its version is known, and returns whether it is; else read it and `set` it. */
  keep({ key, version }: Identity): boolean {
    if (this.#known.get(key) !== version) return false;
    if (!this.#isOutdated(key, version)) {
      this.#listed.set(key, version);
      this.#changes.delete(key);
    }
    return true;
  }

  set({ key, version }: Identity, value: T): void {
    if (this.#isOutdated(key, version)) return;
    this.#listed.set(key, version);
    this.#changes.set(key, { op: 'set', key, value });
  }

  /** Removes an object that was deleted while the list was read. */
  delete({ key, version }: Identity): void {
    if (this.#isOutdated(key, version)) return;
    this.#listed.delete(key);
    this.#changes.delete(key);
  }

  /** Returns the differences from the known state, deletions first, and the new state. */
  finish(): { changes: ResourceChange<T>[]; known: Map<string, number> } {
    const changes: ResourceChange<T>[] = [];
    for (const key of this.#known.keys()) {
      if (!this.#listed.has(key)) changes.push(deletionOf(key));
    }
    for (const change of this.#changes.values()) changes.push(change);
    return { changes, known: this.#listed };
  }

  /** Returns true if the list has the object in a newer version (an inconsistent one may). */
  #isOutdated(key: string, version: number): boolean {
    const listed = this.#listed.get(key);
    return listed !== undefined && version < listed;
  }
}

/** Returns the change for a deleted object. */
export function deletionOf(key: string): ResourceChange<never> {
  const slash = key.indexOf('/');
  const namespace = ownText(key.slice(0, Math.max(slash, 0)));
  return { op: 'delete', key, namespace, name: ownText(key.slice(slash + 1)) };
}

/** Returns the value if it is a JSON map. */
export function mapOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Returns a version as a number. Versions are opaque to clients, but comparable as numbers (KEP-5504). */
export function versionNumber(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
