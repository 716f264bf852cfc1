import type { ServerResponse } from 'node:http';
import type { MapAnswer, StreamEvents } from '@heddle/web/contract';
import { durationOf, type Filter } from '@heddle/web/filter';
import type { RelayFlow } from '../traffic/model.ts';
import type { Traffic } from '../traffic/traffic.ts';
import { flowRows } from './flow-rows.ts';
import { inOrderOf, type MapForm, mapDelta, mapOf } from './map.ts';
import { type CanSee, view } from './view.ts';

/** The intervals of a stream, in milliseconds. */
const [tickMs, mapMs, countsMs, hiddenMs] = [250, 2000, 1000, 10_000];
/** The rows of flows that a tick shows: 60 a second. */
const rowsOfTick = 15;
/** Rows that wait for the client: those of two seconds. */
const rowsMax = 120;
/** The client is asked for its rights again after this time, in milliseconds. */
const admitMs = 60_000;

/** A stream as its client asked for it. */
export interface StreamWish {
  readonly shows: 'map' | 'flows' | 'none';
  readonly filter: Filter;
  readonly windowMs: number;
  readonly form: MapForm;
}

/** Facts for a stream that change meanwhile. */
export interface StreamSource {
  readonly traffic: Traffic;
  hello(): StreamEvents['hello'];
  counts(canSee: CanSee): StreamEvents['counts'];
  /** Returns what the reader may see now, or the reason why it may not read any more. Never rejects. */
  renew(): Promise<CanSee | StreamEvents['bye']>;
}

/** Reads the parameters of a stream. */
export function streamWish(parameters: URLSearchParams, filter: Filter, form: MapForm): StreamWish {
  const shows = parameters.get('view');
  return {
    shows: shows === 'map' || shows === 'flows' ? shows : 'none',
    ...{ filter, form, windowMs: durationOf(parameters.get('w') ?? '') ?? 900_000 },
  };
}

/**
 * Server-sent events for one client. What a client has not taken is not queued: one map is due at most, rows beyond two
 * seconds are left out, and `shown` reports how many were sent.
 */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #wish: StreamWish;
  readonly #source: StreamSource;
  readonly #timer: NodeJS.Timeout;
  readonly #unlisten: () => void;
  #canSee: CanSee;
  #isBlocked = false;
  #isClosed = false;
  #seq = 0;
  #map: MapAnswer | undefined;
  #matched = 0;
  #drops: RelayFlow[] = [];
  #others: RelayFlow[] = [];
  #dropsMatched = 0;
  #due = { map: 0, counts: 0, admit: Date.now() + admitMs };
  #lastEvent: string | undefined;
  #matches: (flow: RelayFlow) => boolean;

  constructor(response: ServerResponse, wish: StreamWish, source: StreamSource, canSee: CanSee) {
    this.#response = response;
    this.#wish = wish;
    this.#source = source;
    this.#canSee = canSee;
    this.#matches = this.#view(Date.now()).matches;
    response.on('drain', () => {
      this.#isBlocked = false;
      this.#tick();
    });
    this.#unlisten =
      wish.shows === 'flows' ? source.traffic.listen((flow) => this.#collect(flow)) : () => {};
    this.#timer = setInterval(() => this.#tick(), tickMs);
    response.once('close', () => this.close());
    this.#lastEvent = source.traffic.events.all.at(-1)?.id;
    this.#send('hello', source.hello());
    this.#tick();
  }

  /** Ends the stream; `reason` is sent if it is given. */
  close(reason?: StreamEvents['bye']): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#unlisten();
    if (reason) this.#send('bye', reason);
    this.#response.end();
  }

  #view(now: number) {
    const { filter, windowMs } = this.#wish;
    return view(this.#source.traffic, filter, now - windowMs, now, this.#canSee, now);
  }

  #collect(flow: RelayFlow): void {
    if (!this.#matches(flow)) return;
    this.#matched++;
    const isDrop = flow.verdict !== 'forwarded';
    if (isDrop) this.#dropsMatched++;
    const [kept, count] = isDrop
      ? [this.#drops, this.#dropsMatched]
      : [this.#others, this.#matched - this.#dropsMatched];
    if (kept.length < rowsMax) {
      kept.push(flow);
      return;
    }
    // Each flow since the last message has the same chance to be shown.
    const at = Math.floor(Math.random() * count);
    if (at < kept.length) kept[at] = flow;
  }

  #tick(): void {
    const now = Date.now();
    if (now >= this.#due.admit) {
      this.#due.admit = now + admitMs;
      void this.#renew();
    }
    if (this.#isBlocked || this.#isClosed) return;
    const { shows } = this.#wish;
    if (now >= this.#due.counts) {
      this.#due.counts = now + (shows === 'none' ? hiddenMs : countsMs);
      this.#send('counts', this.#source.counts(this.#canSee));
      this.#sendEvents();
      this.#matches = this.#view(now).matches;
    }
    if (shows === 'map' && now >= this.#due.map) {
      this.#due.map = now + mapMs;
      this.#sendMap(now);
    }
    if (shows === 'flows' && this.#matched > 0) this.#sendRows(now);
  }

  #sendMap(now: number): void {
    const before = this.#map;
    const map = inOrderOf(before, mapOf(this.#view(now), this.#wish.form, this.#seq + 1));
    this.#map = map;
    this.#send('map', (before && mapDelta(before, map)) ?? map);
  }

  #sendRows(now: number): void {
    const drops = evenly(this.#drops, rowsOfTick);
    const rows = [...drops, ...evenly(this.#others, rowsOfTick - drops.length)];
    rows.sort((a, b) => b.time - a.time);
    const exact = drops.length === this.#dropsMatched;
    this.#send('flows', flowRows(rows, { at: now, matched: this.#matched, exact }));
    [this.#matched, this.#dropsMatched, this.#drops, this.#others] = [0, 0, [], []];
  }

  #sendEvents(): void {
    const { all } = this.#source.traffic.events;
    const last = all.at(-1)?.id;
    if (last === this.#lastEvent) return;
    const known = all.findIndex(({ id }) => id === this.#lastEvent);
    this.#lastEvent = last;
    const events = all
      .slice(known + 1)
      .filter(({ lane, subject }) => lane === 'node' || this.#canSee(subject.split('/')[0]!));
    if (events.length > 0) this.#send('events', events);
  }

  async #renew(): Promise<void> {
    const renewed = await this.#source.renew();
    if (typeof renewed !== 'function') {
      this.close(renewed);
      return;
    }
    this.#canSee = renewed;
    this.#matches = this.#view(Date.now()).matches;
  }

  #send<Name extends keyof StreamEvents>(name: Name, data: StreamEvents[Name]): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    const text = `id: ${++this.#seq}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    if (!this.#response.write(text)) this.#isBlocked = true;
  }
}

/** Returns at most `count` of the flows, evenly spread. */
function evenly(flows: readonly RelayFlow[], count: number): RelayFlow[] {
  if (flows.length <= count) return [...flows];
  return Array.from(
    { length: count },
    (_, index) => flows[Math.floor((index * flows.length) / count)]!,
  );
}
