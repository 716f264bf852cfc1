import type { Body, Fault } from './faults.ts';
import {
  atVersion,
  type Kind,
  type ObjectStore,
  type StoredObject,
  type StoreEvent,
  traitsOf,
} from './object-store.ts';
import type { Selection } from './selection.ts';
import { expired, invalid, StatusError, statusObject, tooLargeVersion } from './status.ts';

export interface WatchFeatures {
  readonly watchList: boolean;
  readonly bookmarkMs: number;
  readonly fault: Fault | undefined;
}

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

const batchBytes = 64 << 10;

/** One open watch. The constructor throws StatusError for options that the server refuses. */
export class Watch {
  readonly kind: Kind;
  readonly #store: ObjectStore;
  readonly #selection: Selection;
  readonly #bookmarkMs: number;
  readonly #fault: Fault;
  /** The version from which the client resumes; 0: it does not resume. */
  readonly #from: number;
  readonly #wantsBookmarks: boolean;
  readonly #queue: Buffer[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #listener = (event: StoreEvent) => this.#observe(event);
  #body: Body | undefined;
  #writing = false;
  #ended = false;

  constructor(store: ObjectStore, selection: Selection, features: WatchFeatures) {
    this.kind = selection.kind;
    this.#store = store;
    this.#selection = selection;
    this.#bookmarkMs = features.bookmarkMs;
    this.#fault = features.fault ?? {};
    const { query } = selection;
    this.#wantsBookmarks = isTrue(query.get('allowWatchBookmarks'));
    const match = query.get('resourceVersionMatch');
    if (query.has('sendInitialEvents')) {
      if (!features.watchList) {
        throw invalid(
          'sendInitialEvents',
          'sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled',
        );
      }
      if (match !== 'NotOlderThan') {
        throw invalid(
          'resourceVersionMatch',
          'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
        );
      }
    } else if (match) {
      throw invalid(
        'resourceVersionMatch',
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      );
    }
    const version = query.get('resourceVersion') ?? '';
    if (!/^\d*$/.test(version)) {
      throw new StatusError(400, 'BadRequest', `invalid resource version ${version}`);
    }
    this.#from = Number(version);
  }

  /** Sends the initial objects if requested, and each change from then on. */
  start(body: Body): void {
    this.#body = body;
    const { query } = this.#selection;
    const version = query.get('resourceVersion') ?? '';
    const streaming = isTrue(query.get('sendInitialEvents'));
    if (streaming && this.#from > this.#store.version) {
      // The server waits 3 s for its cache.
      this.#fail(tooLargeVersion(this.#from, this.#store.version));
      return;
    }
    const fromNow = query.has('sendInitialEvents') && !streaming && version === '';
    if (streaming || (!fromNow && (version === '' || version === '0'))) {
      const objects = this.#store.sorted(this.kind);
      if (this.#fault.reverse) objects.reverse();
      for (const object of objects) {
        if (this.#selection.matches(object)) this.#enqueue('ADDED', object);
      }
      const { errorEvent, isEndless } = this.#fault;
      if (errorEvent !== undefined) {
        this.#fail(new StatusError(errorEvent, 'Scripted', 'the script wants it so'));
        return;
      }
      if (this.#wantsBookmarks && !isEndless) this.#enqueueBookmark(true);
    } else if (!fromNow) {
      const events = this.#store.since(Number(version));
      if (!events) {
        const oldest = this.#store.compacted;
        this.#fail(expired(`too old resource version: ${version} (${oldest})`));
        return;
      }
      const seen = this.#store.since(this.#store.compacted)!.slice(0, -events.length || undefined);
      const { replay = 0 } = this.#fault;
      if (replay > 0) for (const event of seen.slice(-replay)) this.#translate(event);
      for (const event of events) this.#translate(event);
    }
    this.#flush(false);
    this.#store.listeners.add(this.#listener);
    if (this.#wantsBookmarks) {
      this.#timers.push(setInterval(() => this.sendBookmark(), this.#bookmarkMs));
    }
    const seconds = Number(query.get('timeoutSeconds') ?? 0) || 1800 * (1 + Math.random());
    this.#timers.push(setTimeout(() => this.end(), seconds * 1000));
  }

  sendBookmark(): void {
    if (!this.#wantsBookmarks || this.#ended || this.#store.version < this.#from) return;
    this.#enqueueBookmark(false);
    this.#flush(false);
  }

  /** Ends the response regularly. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#store.listeners.delete(this.#listener);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#flush(true);
  }

  /** A watch from a future version gets nothing before that version, not even an error. */
  #observe(event: StoreEvent): void {
    if (event.version > this.#from && this.#translate(event)) this.#flush(false);
  }

  /** Returns the event of a change for this watch: an object that stops matching is deleted. */
  #translate({ kind, before, after, version }: StoreEvent): boolean {
    if (kind !== this.kind) return false;
    const { matches } = this.#selection;
    const was = before !== undefined && matches(before);
    const is = after !== undefined && matches(after);
    if (is) this.#enqueue(was ? 'MODIFIED' : 'ADDED', after);
    else if (was) this.#enqueue('DELETED', atVersion(before, version));
    return is || was;
  }

  /** Sends an error as an event, because the head of the response has been sent. */
  #fail(error: StatusError): void {
    this.#queue.push(...eventLine('ERROR', Buffer.from(JSON.stringify(statusObject(error)))));
    this.#ended = true;
    this.#flush(true);
  }

  #enqueue(type: EventType, object: StoredObject): void {
    this.#queue.push(...eventLine(type, object.json));
  }

  #enqueueBookmark(endOfInitialEvents: boolean): void {
    const object = {
      kind: this.kind,
      apiVersion: traitsOf(this.kind).apiVersion,
      metadata: {
        resourceVersion: String(this.#store.version),
        ...(endOfInitialEvents && { annotations: { 'k8s.io/initial-events-end': 'true' } }),
      },
      // Go writes the empty structs of the kind.
      ...(this.kind === 'EndpointSlice'
        ? { addressType: '', endpoints: null, ports: null }
        : { spec: {}, status: this.kind === 'Service' ? { loadBalancer: {} } : {} }),
    };
    this.#queue.push(...eventLine('BOOKMARK', Buffer.from(JSON.stringify(object))));
  }

  /** Writes the queue. One writer at a time keeps the order. */
  #flush(last: boolean): void {
    const body = this.#body;
    if (!body || this.#writing) return;
    this.#writing = true;
    void this.#drain(body).then(() => {
      this.#writing = false;
      if (last || this.#ended) body.end();
    });
  }

  async #drain(body: Body): Promise<void> {
    while (this.#queue.length > 0) {
      let size = 0;
      let count = 0;
      while (count < this.#queue.length && size < batchBytes) size += this.#queue[count++]!.length;
      const batch = this.#queue.splice(0, count);
      await body.write(Buffer.concat(batch));
      if (body.over) this.#queue.length = 0;
    }
  }
}

/** A queue in pieces: an initial list is written in large batches and copied once. */
function eventLine(type: EventType | 'BOOKMARK' | 'ERROR', object: Buffer): Buffer[] {
  return [eventStart[type], object, lineEnd];
}

const eventStart = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
  BOOKMARK: Buffer.from('{"type":"BOOKMARK","object":'),
  ERROR: Buffer.from('{"type":"ERROR","object":'),
};
const lineEnd = Buffer.from('}\n');

function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1';
}
