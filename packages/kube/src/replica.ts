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
 * What is known of a resource, out of the items of lists and the events of watches; the changes come out.
 * Of the objects it keeps names and versions only. Everything that reads bytes throws
 * ProtocolError, JsonError or StatusError; what came before stays good.
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
  /** The first list is whole, and nobody was told yet. */
  #isNews = false;

  constructor(resource: Resource<T>) {
    this.#resource = resource;
    this.#itemFields = mergeFields(resource.fields, identityFields);
    this.#eventFields = eventFields(resource.fields);
    this.renew();
  }

  /** The version up to which changes came out; empty before the first list. */
  get version(): string {
    return this.#version;
  }

  /** A list is wanted, or is coming in. */
  get isListing(): boolean {
    return this.#listing !== undefined;
  }

  /** For the next page of the list that is coming in; empty: it has not begun. */
  get continueToken(): string {
    return this.#continueToken;
  }

  /** Whether watches have been seen to have bookmarks from time to time. */
  get hasBookmarks(): boolean {
    return this.#hasBookmarks;
  }

  /** Wants a new list; what came of one before is dropped. The known state stays until it is whole. */
  renew(): void {
    this.#listing = new Listing(this.#known);
    this.#continueToken = '';
  }

  /** The changes since the last call; undefined: none. Empty if the first list is empty. */
  take(): readonly ResourceChange<T>[] | undefined {
    if (this.#changes.length === 0 && !this.#isNews) return undefined;
    const changes = this.#changes;
    this.#changes = [];
    this.#isNews = false;
    return changes;
  }

  /** Takes an item of a list. `head` is what is known of the list so far. */
  readItem(bytes: Uint8Array, head: unknown): void {
    const listing = this.#listing!;
    if (this.#known.size > 0 && listing.keep(identify(readJson(bytes, identityFields)))) return;
    const item = readJson(bytes, this.#itemFields);
    const identity = identify(item);
    listing.set(identity, this.#resource.read(typed(item, head)));
  }

  /** A page is over; `head` is the list without its items. If it was the last, the list takes effect. */
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

  /** Takes a line of a watch: a change, or a part of a streaming list. */
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

  /** Whether an event was told before, or is overtaken by what was. */
  #isOld(op: 'set' | 'delete', { key, version }: Identity): boolean {
    const known = this.#known.get(key);
    // Some servers show a deleted object in the last version that it had.
    if (op === 'delete') return known !== undefined && version < known;
    // What is not known may have been deleted since.
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

/** Items of a typed list leave out what the list says for all of them. */
function typed(item: unknown, head: unknown): unknown {
  const map = item as Record<string, unknown>;
  if (map.kind !== undefined) return map;
  const { kind, apiVersion } = mapOf(head) ?? {};
  if (typeof kind !== 'string' || !kind.endsWith('List')) {
    throw new ProtocolError('read list: it does not say of what before its items');
  }
  map.kind = kind.slice(0, -'List'.length);
  map.apiVersion = apiVersion;
  return map;
}
