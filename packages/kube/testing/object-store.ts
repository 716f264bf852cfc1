import { randomUUID } from 'node:crypto';
import type { Labels, SelectableFields } from './selectors.ts';

// The store of the test API server, in place of etcd and the watch cache: objects, a global counter of
// versions, and a history of limited length.

/** The name of a kind, e.g. `Service`. */
export type Kind = string;

export interface KindTraits {
  readonly apiVersion: string;
  /** Path of all objects, without the leading `/`. */
  readonly group: string;
  /** Name in paths and messages. */
  readonly plural: string;
  readonly namespaced: boolean;
}

const kinds: Record<Kind, KindTraits> = {
  Service: { apiVersion: 'v1', group: 'api/v1', plural: 'services', namespaced: true },
  Node: { apiVersion: 'v1', group: 'api/v1', plural: 'nodes', namespaced: false },
  Pod: { apiVersion: 'v1', group: 'api/v1', plural: 'pods', namespaced: true },
  EndpointSlice: {
    apiVersion: 'discovery.k8s.io/v1',
    group: 'apis/discovery.k8s.io/v1',
    plural: 'endpointslices',
    namespaced: true,
  },
  Namespace: { apiVersion: 'v1', group: 'api/v1', plural: 'namespaces', namespaced: false },
  NetworkPolicy: {
    apiVersion: 'networking.k8s.io/v1',
    group: 'apis/networking.k8s.io/v1',
    plural: 'networkpolicies',
    namespaced: true,
  },
};

/** Adds a kind that the server has from now on. */
export function defineKind(kind: Kind, traits: KindTraits): void {
  kinds[kind] = traits;
}

/** Returns the names of all kinds. */
export function allKinds(): readonly Kind[] {
  return Object.keys(kinds);
}

/** Throws when there is no such kind. */
export function traitsOf(kind: Kind): KindTraits {
  const traits = kinds[kind];
  if (traits && Object.hasOwn(kinds, kind)) return traits;
  throw new Error(`store ${kind}: the scripted API server has ${allKinds().join(', ')}`);
}

/** An object from a test or a manifest. */
export interface WrittenObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels?: Readonly<Record<string, unknown>> | undefined;
    readonly [name: string]: unknown;
  };
  readonly [name: string]: unknown;
}

/** One version of one object. */
export interface StoredObject {
  readonly kind: Kind;
  /** `namespace/name`, or the name of a node; the order of lists. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  /** The fields for field selectors. */
  readonly fields: SelectableFields;
  readonly version: number;
  /** JSON with kind and apiVersion in front. */
  readonly json: Buffer;
  /** JSON as an item of a typed list, without them. */
  readonly item: Buffer;
}

export interface StoreEvent {
  readonly version: number;
  readonly kind: Kind;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
}

/** Objects with their versions. `listeners` are called for every change. */
export class ObjectStore {
  readonly #objects = new Map<Kind, Map<string, StoredObject>>();
  readonly #historyLength: number;
  #history: StoreEvent[] = [];
  #version = 1000;
  #compacted = 1000;
  readonly listeners = new Set<(event: StoreEvent) => void>();

  constructor(historyLength: number) {
    this.#historyLength = historyLength;
  }

  /** The version of the last change of any object. */
  get version(): number {
    return this.#version;
  }

  /** Watches can't start before this version. */
  get compacted(): number {
    return this.#compacted;
  }

  /** Creates or replaces an object; each call makes a new version. Returns that version. */
  set(object: WrittenObject): number {
    const { kind } = object;
    const traits = traitsOf(kind);
    const { name, namespace: given, resourceVersion: _v, ...metadata } = object.metadata;
    const namespace = traits.namespaced ? (given ?? 'default') : '';
    const key = traits.namespaced ? `${namespace}/${name}` : name;
    const before = this.#objectsOf(kind).get(key);
    const created = before ? identityOf(before) : newIdentity();
    const { kind: _k, apiVersion: _a, metadata: _m, ...rest } = object;
    const version = ++this.#version;
    const whole = {
      metadata: {
        name,
        ...(traits.namespaced && { namespace }),
        ...created,
        resourceVersion: String(version),
        ...withoutUndefined(metadata),
      },
      ...rest,
    };
    const head = `{"kind":"${kind}","apiVersion":"${traits.apiVersion}",`;
    const json = Buffer.from(head + goJson(whole).slice(1));
    // The first byte of the item is the place of the comma.
    const item = Buffer.from(json.subarray(head.length - 1));
    item[0] = 0x7b;
    const labels = (object.metadata.labels ?? {}) as Labels;
    const fields = fieldsOf(kind, { namespace, name }, object);
    const after = { kind, key, namespace, name, labels, fields, version, json, item };
    this.#objectsOf(kind).set(key, after);
    this.#record({ version, kind, before, after });
    return version;
  }

  /** Removes an object. Returns the version of the removal; throws when there is no such object. */
  remove(kind: Kind, namespace: string, name: string): number {
    const key = traitsOf(kind).namespaced ? `${namespace}/${name}` : name;
    const before = this.#objectsOf(kind).get(key);
    if (!before) throw new Error(`remove ${kind} ${key}: no such object`);
    this.#objectsOf(kind).delete(key);
    const version = ++this.#version;
    this.#record({ version, kind, before, after: undefined });
    return version;
  }

  get(kind: Kind, key: string): StoredObject | undefined {
    return this.#objectsOf(kind).get(key);
  }

  /** Returns all objects of a kind in the order of their keys. */
  sorted(kind: Kind): StoredObject[] {
    return [...this.#objectsOf(kind).values()].sort((a, b) =>
      a.key < b.key ? -1 : a.key > b.key ? 1 : 0,
    );
  }

  /** Returns the changes after `version`, or undefined when the history does not have them. */
  since(version: number): readonly StoreEvent[] | undefined {
    if (version < this.#compacted) return undefined;
    let from = this.#history.length;
    while (from > 0 && this.#history[from - 1]!.version > version) from--;
    return this.#history.slice(from);
  }

  /** Removes the history: watches from older versions get 410. */
  compact(): void {
    this.#history = [];
    this.#compacted = this.#version;
  }

  /** Skips versions, which objects of other kinds would have. */
  skipVersions(count: number): void {
    this.#version += count;
  }

  #objectsOf(kind: Kind): Map<string, StoredObject> {
    const objects = this.#objects.get(kind) ?? new Map<string, StoredObject>();
    this.#objects.set(kind, objects);
    return objects;
  }

  #record(event: StoreEvent): void {
    this.#history.push(event);
    if (this.#history.length > 2 * this.#historyLength) {
      this.#compacted = this.#history[this.#historyLength - 1]!.version;
      this.#history = this.#history.slice(this.#historyLength);
    }
    for (const listener of this.listeners) listener(event);
  }
}

function fieldsOf(
  kind: Kind,
  { namespace, name }: { namespace: string; name: string },
  object: WrittenObject,
): SelectableFields {
  const fields = { 'metadata.name': name, 'metadata.namespace': namespace };
  if (kind !== 'Pod') return fields;
  const text = (part: unknown, field: string) => {
    const value = (part as Readonly<Record<string, unknown>> | undefined)?.[field];
    return typeof value === 'string' ? value : '';
  };
  return {
    ...fields,
    'spec.nodeName': text(object.spec, 'nodeName'),
    'status.phase': text(object.status, 'phase'),
  };
}

/** Returns the object with the version of its removal, for a DELETED event. */
export function atVersion(object: StoredObject, version: number): StoredObject {
  const json = Buffer.from(
    object.json
      .toString()
      .replace(`"resourceVersion":"${object.version}"`, `"resourceVersion":"${version}"`),
  );
  return { ...object, version, json };
}

function newIdentity() {
  return { uid: randomUUID(), creationTimestamp: new Date().toISOString().replace(/\.\d+Z/, 'Z') };
}

function identityOf(object: StoredObject) {
  const { uid, creationTimestamp } = JSON.parse(object.json.toString()).metadata;
  return { uid, creationTimestamp };
}

function withoutUndefined(fields: Readonly<Record<string, unknown>>) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The characters that Go's encoder escapes for HTML. */
function goJson(value: unknown): string {
  const escapes: Record<string, string> = { '<': '\\u003c', '>': '\\u003e', '&': '\\u0026' };
  return JSON.stringify(value).replace(/[<>&]/g, (character) => escapes[character]!);
}
