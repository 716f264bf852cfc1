import { ownText } from '@heddle/sys';
import type { Fields } from './fields.ts';
import { ProtocolError } from './frames.ts';

/** What happened to one object. */
export type ResourceChange<T> =
  | { readonly op: 'set'; readonly key: string; readonly value: T }
  | {
      readonly op: 'delete';
      readonly key: string;
      /** Empty for objects that have none, such as Nodes. */
      readonly namespace: string;
      readonly name: string;
    };

/** Which object, in which version. */
export interface Identity {
  /** `namespace/name`, or the name alone. */
  readonly key: string;
  readonly versionText: string;
  /** As a number; NaN when it isn't one (such versions are equal to none). */
  readonly version: number;
}

export const identityFields: Fields = {
  metadata: { name: true, namespace: true, resourceVersion: true },
};

/** Reads which object this is. Throws ProtocolError when it doesn't say. */
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

/** Versions by key: all that is kept of what the server has. */
export type KnownVersions = ReadonlyMap<string, number>;

/**
 * A list on its way in. What it has in a version that is known already is only noted; `finish` tells
 * how the known state becomes the listed one.
 */
export class Listing<T> {
  readonly #known: KnownVersions;
  readonly #listed = new Map<string, number>();
  readonly #changes = new Map<string, ResourceChange<T>>();

  constructor(known: KnownVersions) {
    this.#known = known;
  }

  /** Notes an object if it is known in this version; else it has to be read and `set`. */
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

  /** The object went away while the list was on its way. */
  delete({ key, version }: Identity): void {
    if (this.#isOutdated(key, version)) return;
    this.#listed.delete(key);
    this.#changes.delete(key);
  }

  /** What differs from the known state, deletions first; and the new state. */
  finish(): { changes: ResourceChange<T>[]; known: Map<string, number> } {
    const changes: ResourceChange<T>[] = [];
    for (const key of this.#known.keys()) {
      if (!this.#listed.has(key)) changes.push(deletionOf(key));
    }
    for (const change of this.#changes.values()) changes.push(change);
    return { changes, known: this.#listed };
  }

  /** Whether the list has had the object in a newer version (as an inconsistent one may). */
  #isOutdated(key: string, version: number): boolean {
    const listed = this.#listed.get(key);
    return listed !== undefined && version < listed;
  }
}

/** The change that says an object is gone. */
export function deletionOf(key: string): ResourceChange<never> {
  const slash = key.indexOf('/');
  const namespace = ownText(key.slice(0, Math.max(slash, 0)));
  return { op: 'delete', key, namespace, name: ownText(key.slice(slash + 1)) };
}

/** The value if it is a JSON map. */
export function mapOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Versions are opaque texts to clients, but comparable as numbers (KEP-5504). */
export function versionNumber(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
