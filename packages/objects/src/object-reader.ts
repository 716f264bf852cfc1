import { FieldError } from './field-values.ts';
import type { Fields } from './fields.ts';
import { ownText, sharedText } from './memory.ts';
import type { InvalidRef, ObjectRef } from './records.ts';

/** A valid object that Heddle doesn't use. */
export interface IgnoredObject {
  readonly kind: 'ignored';
  /** A sentence with the object and the reason why it is not used. */
  readonly note: string;
}

/** The result of reading an object of a known kind. */
export type ReadResult<Record extends ObjectRef = ObjectRef> =
  | {
      readonly kind: 'record';
      readonly record: Record;
      /** The time of the change that led to this version, in milliseconds since 1970; see ObjectChange. */
      readonly triggeredMs?: number;
    }
  | IgnoredObject;

/** The result of reading an object. */
export type ReadObject<Record extends ObjectRef = ObjectRef> =
  | ReadResult<Record>
  | {
      readonly kind: 'invalid';
      /** `Service default/web`, as far as the object has kind and name. */
      readonly object: string;
      /** A sentence with the object, the field and the value. */
      readonly reason: string;
      /** Absent when the object has no name. */
      readonly ref: InvalidRef | undefined;
    };

/** A kind of Kubernetes objects, with its names and the function that reads an object. */
export interface Kind<Record extends ObjectRef = ObjectRef> {
  /** The name in records, log lines and metrics, e.g. `slice`. */
  readonly name: Record['kind'];
  /** E.g. `discovery.k8s.io/v1`. */
  readonly apiVersion: string;
  /** E.g. `EndpointSlice`. */
  readonly kind: string;
  /** False for kinds whose objects belong to the cluster, e.g. Node. */
  readonly isNamespaced: boolean;
  /** The path of the list of all objects in the API, e.g. `/api/v1/services`. */
  readonly path: string;
  /** The fields that `read` uses. A JSON reader can skip all others. */
  readonly fields: Fields;
  /** Returns the record that Heddle keeps of an object. Throws FieldError. */
  readonly read: (value: unknown) => ReadResult<Record>;
  /** Returns more about an object that `read` refuses, from whatever its metadata has. */
  readonly refine?: (ref: ObjectRef, metadata: { readonly [name: string]: unknown }) => InvalidRef;
  /**
   * True if most updates don't change the record, e.g. those of a Node's conditions. Sources skip
   * these.
   */
  readonly skipUnchanged?: true;
}

/** Reads API objects (parsed JSON or YAML) of the given kinds. */
export class ObjectReader<Record extends ObjectRef = ObjectRef> {
  readonly kinds: readonly Kind<Record>[];
  readonly #byName: ReadonlyMap<string, Kind<Record>>;
  readonly #byType: ReadonlyMap<string, Kind<Record>>;

  /** Throws Error when two kinds have the same name or the same API type: features share one Kind then. */
  constructor(kinds: readonly Kind<Record>[]) {
    this.kinds = kinds;
    this.#byName = new Map(kinds.map((kind) => [kind.name, kind]));
    this.#byType = new Map(kinds.map((kind) => [`${kind.apiVersion}/${kind.kind}`, kind]));
    if (this.#byName.size < kinds.length || this.#byType.size < kinds.length) {
      const names = kinds.map(({ name, apiVersion, kind }) => `${name} (${apiVersion} ${kind})`);
      throw new Error(`read objects: two kinds have one name or type: ${names.join(', ')}`);
    }
  }

  /** Returns the name of an object in messages: `Service default/web`, `Node worker-1`. */
  label({ kind, namespace, name }: ObjectRef): string {
    const shown = this.#byName.get(kind)?.kind ?? kind;
    return ownText(namespace === '' ? `${shown} ${name}` : `${shown} ${namespace}/${name}`);
  }

  /**
   * Reads one object. Never throws: an object of another kind is `ignored` with a note, one that cannot be
   * used is `invalid` with a sentence. `readAll` splits lists.
   */
  read(value: unknown): ReadObject<Record> {
    if (!isMap(value)) {
      return {
        kind: 'invalid',
        object: 'document',
        reason: `document is ${show(value)}: must be a Kubernetes object`,
        ref: undefined,
      };
    }
    const { apiVersion, kind } = value;
    if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
      const field = typeof kind !== 'string' ? 'kind' : 'apiVersion';
      return {
        kind: 'invalid',
        object: 'document',
        reason: `document: ${field} is ${show(value[field])}: must be text`,
        ref: undefined,
      };
    }
    const known = this.#byType.get(`${apiVersion}/${kind}`);
    if (!known) return { kind: 'ignored', note: this.#ignoredNote(value, apiVersion, kind) };
    const ref = refOf(value, known);
    const object = ref ? this.label(ref) : `${kind} without a name`;
    try {
      return known.read(value);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      const what = error.value === undefined ? 'missing' : show(error.value);
      const reason = `${object}: ${error.field} is ${what}: ${error.message}`;
      return { kind: 'invalid', object, reason, ref };
    }
  }

  /** Reads one object or each item of a list (`List`, `ServiceList`, ...). */
  readAll(value: unknown): readonly ReadObject<Record>[] {
    if (!isMap(value) || typeof value.kind !== 'string' || !value.kind.endsWith('List')) {
      return [this.read(value)];
    }
    const { apiVersion, kind, items } = value;
    if (items === null || items === undefined) return [];
    if (!Array.isArray(items)) {
      const reason = `${kind}: items is ${show(items)}: must be a list`;
      return [{ kind: 'invalid', object: kind, reason, ref: undefined }];
    }
    const itemKind = kind.slice(0, -'List'.length);
    return items.flatMap((item: unknown) => {
      // The API server omits kind and apiVersion in the items of a typed list.
      const typed =
        isMap(item) && itemKind !== '' && item.kind === undefined
          ? { apiVersion, kind: itemKind, ...item }
          : item;
      return this.readAll(typed);
    });
  }

  #ignoredNote(
    value: { readonly [name: string]: unknown },
    apiVersion: string,
    kind: string,
  ): string {
    const metadata = isMap(value.metadata) ? value.metadata : {};
    const name = [metadata.namespace, metadata.name].filter((part) => typeof part === 'string');
    const what = `${kind} ${name.join('/')}`.trimEnd();
    if (apiVersion === 'v1' && kind === 'Endpoints') {
      return `${what} is not used: Heddle reads EndpointSlice (discovery.k8s.io/v1)`;
    }
    const [group] = apiVersion.split('/');
    const other = this.kinds.find(
      (each) => each.kind === kind && each.apiVersion.split('/')[0] === group,
    );
    if (other) return `${what} (${apiVersion}) is not used: Heddle reads ${other.apiVersion}`;
    const names = this.kinds.map((each) => each.kind);
    const list = [names.slice(0, -1).join(', '), names.at(-1)].filter(Boolean).join(' and ');
    return `${what} (${apiVersion}) is not used: Heddle reads ${list}`;
  }
}

function refOf(
  value: { readonly [name: string]: unknown },
  { name: kind, isNamespaced, refine }: Kind,
): InvalidRef | undefined {
  const metadata = isMap(value.metadata) ? value.metadata : {};
  const { name, namespace } = metadata;
  if (typeof name !== 'string' || name === '') return undefined;
  let ref: ObjectRef;
  if (!isNamespaced) ref = { kind, namespace: '', name: ownText(name) };
  else if (namespace === undefined || namespace === null) {
    ref = { kind, namespace: 'default', name: ownText(name) };
  } else if (typeof namespace === 'string') {
    ref = { kind, namespace: sharedText(namespace), name: ownText(name) };
  } else return undefined;
  return refine ? refine(ref, metadata) : ref;
}

function isMap(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
