import { type Fields, mergeFields } from './fields.ts';
import { ProtocolError } from './frames.ts';
import { readJson } from './json.ts';
import type { Resource } from './list-requests.ts';
import {
  deletionOf,
  type Identity,
  identify,
  identityFields,
  Listing,
  mapOf,
  type ResourceChange,
  versionNumber,
} from './listing.ts';
import { eventFields, readEvent } from './watch-event.ts';

/**
 * The known state of a resource, from the items of lists and the events of watches, and its changes. It keeps
 * only names and versions of objects. All methods that read bytes throw ProtocolError, JsonError or
 * StatusError; changes before the error stay valid.
 */
export class Replica<T> {
  readonly #resource: Resource<T>;
  readonly #itemFields: Fields;
  readonly #eventFields: Fields;
  readonly #eventIdentity = eventFields(identityFields);
  #known = new Map<string, number>();
  #version = '';
  #listing: Listing<T> | undefined;
  #continueToken = '';
  #hasBookmarks = false;
  #changes: ResourceChange<T>[] = [];
  /** True if the first list is complete and not reported yet. */
  #isNews = false;

  constructor(resource: Resource<T>) {
    this.#resource = resource;
    this.#itemFields = mergeFields(resource.fields, identityFields);
    this.#eventFields = eventFields(resource.fields);
    this.renew();
  }

  /** The version up to which changes were returned; empty before the first list. */
  get version(): string {
    return this.#version;
  }

  /** Returns the keys of the known objects. */
  keys(): Iterable<string> {
    return this.#known.keys();
  }

  /** Returns true if the object with the key is known. */
  has(key: string): boolean {
    return this.#known.has(key);
  }

  /** Returns true if a list is needed or being read. */
  get isListing(): boolean {
    return this.#listing !== undefined;
  }

  /** The token of the next page of the list. It is empty before the first page. */
  get continueToken(): string {
    return this.#continueToken;
  }

  /** Returns true if watches have had bookmarks. */
  get hasBookmarks(): boolean {
    return this.#hasBookmarks;
  }

  /** Requires a new list and drops a partial one. The known state stays until the new list is complete. */
  renew(): void {
    this.#listing = new Listing(this.#known);
    this.#continueToken = '';
  }

  /** Returns the changes since the last call (empty for an empty first list), or undefined if there are none. */
  take(): readonly ResourceChange<T>[] | undefined {
    if (this.#changes.length === 0 && !this.#isNews) return undefined;
    const changes = this.#changes;
    this.#changes = [];
    this.#isNews = false;
    return changes;
  }

  /** The server does not have the resource: all known objects are gone. A list is needed to know more. */
  setMissing(): void {
    this.#changes = Array.from(this.#known.keys(), deletionOf);
    this.#isNews = this.#version === '';
    this.#known.clear();
    this.renew();
  }

  /** Adds an item of a list. `head` is the part of the list before its items. */
  readItem(bytes: Uint8Array, head: unknown): void {
    const listing = this.#listing!;
    if (this.#known.size > 0 && listing.keep(identify(readJson(bytes, identityFields)))) return;
    const item = readJson(bytes, this.#itemFields);
    const identity = identify(item);
    listing.set(identity, this.#resource.read(typed(item, head)));
  }

  /** Ends a page. `head` is the list without its items. With the last page, the list becomes the known state. */
  endPage(head: unknown): void {
    const metadata = mapOf(mapOf(head)?.metadata);
    const { resourceVersion, continue: token = '' } = metadata ?? {};
    if (typeof resourceVersion !== 'string' || resourceVersion === '') {
      throw new ProtocolError('read list: it has no resourceVersion');
    }
    if (typeof token !== 'string') throw new ProtocolError('read list: continue is not text');
    this.#continueToken = token;
    if (token === '') this.#endList(resourceVersion);
  }

  /** Adds a line of a watch: a change, or a part of a streaming list. */
  readLine(line: Uint8Array): void {
    const listing = this.#listing;
    if (listing && this.#known.size > 0) {
      const event = readEvent(line, this.#eventIdentity);
      if (event.op === 'set' && listing.keep(event.identity)) return;
    }
    const event = readEvent(line, this.#eventFields);
    if (event.op === 'bookmark') {
      if (!listing) {
        this.#version = event.version;
        this.#hasBookmarks = true;
      } else if (event.endsInitialEvents) this.#endList(event.version);
      return;
    }
    const { identity } = event;
    if (listing) {
      if (event.op === 'set') listing.set(identity, this.#resource.read(event.object));
      else listing.delete(identity);
      return;
    }
    if (this.#isOld(event.op, identity)) return;
    if (!(identity.version < versionNumber(this.#version))) this.#version = identity.versionText;
    if (event.op === 'set') {
      this.#known.set(identity.key, identity.version);
      const value = this.#resource.read(event.object);
      this.#changes.push({ op: 'set', key: identity.key, value });
    } else if (this.#known.delete(identity.key)) {
      this.#changes.push(deletionOf(identity.key));
    }
  }

  /** Returns true if an event was reported before, or is older than a reported one. */
  #isOld(op: 'set' | 'delete', { key, version }: Identity): boolean {
    const known = this.#known.get(key);
    // Some servers send a deleted object in its last version.
    if (op === 'delete') return known !== undefined && version < known;
    // An unknown object may have been deleted since.
    return version <= (known ?? versionNumber(this.#version));
  }

  #endList(version: string): void {
    const { changes, known } = this.#listing!.finish();
    this.#isNews = this.#version === '';
    this.#listing = undefined;
    this.#known = known;
    this.#version = version;
    this.#changes = changes;
  }
}

/** Items of a typed list lack the kind and apiVersion, which the list has for all of them. */
function typed(item: unknown, head: unknown): unknown {
  const map = item as Record<string, unknown>;
  if (map.kind !== undefined) return map;
  const { kind, apiVersion } = mapOf(head) ?? {};
  if (typeof kind !== 'string' || !kind.endsWith('List')) {
    throw new ProtocolError('read list: it has no kind before its items');
  }
  map.kind = kind.slice(0, -'List'.length);
  map.apiVersion = apiVersion;
  return map;
}
