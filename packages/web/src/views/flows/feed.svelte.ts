import type { FlowRows } from '../../contract.ts';
import type { Api, Parameters } from '../../page/api.ts';
import { type FlowRow, keptRows, rowsOf, withNewer, withOlder } from './rows.ts';

/** A message of the stream in numbers, for the head of the table. */
interface Beat {
  readonly at: number;
  readonly matched: number;
  readonly shown: number;
  readonly troubled: number;
}

/** The number of messages that the head's chart shows. */
export const beatsShown = 90;
const pageSize = 500;

/** The rows of the table: what arrives, what waits while the table is held, and older pages. */
export class FlowFeed {
  /** Newest first. */
  rows: readonly FlowRow[] = $state.raw([]);
  /** Rows that arrived while the table is held, newest first. */
  waiting: readonly FlowRow[] = $state.raw([]);
  beats: readonly Beat[] = $state.raw([]);
  /** True if the relay leaves out no drop. */
  isExact = $state(true);
  /** True once the first answer is there. */
  isLoaded = $state(false);
  isLoading = $state(false);
  error: Error | undefined = $state.raw();
  /** True if older flows are kept than those that are loaded. */
  hasOlder = $state(false);
  isHeld = $state(false);
  #next: string | undefined;
  #abort = new AbortController();

  /** Flows that match in a second, of the last messages. */
  readonly matchedRate: number = $derived(this.#rate((beat) => beat.matched));
  readonly shownRate: number = $derived(this.#rate((beat) => beat.shown));

  #rate(value: (beat: Beat) => number): number {
    const last = this.beats.slice(-9);
    const seconds = ((last.at(-1)?.at ?? 0) - (last[0]?.at ?? 0)) / 1000;
    const sum = last.slice(1).reduce((total, beat) => total + value(beat), 0);
    return seconds > 0 ? sum / seconds : 0;
  }

  /** Takes a message of the stream. */
  receive(message: FlowRows): void {
    const newer = rowsOf(message);
    const troubled = newer.filter(({ verdict }) => verdict !== 'forwarded').length;
    const { at, matched, shown } = message;
    this.beats = [...this.beats, { at, matched, shown, troubled }].slice(-beatsShown);
    this.isExact = message.exact;
    if (newer.length === 0) return;
    if (this.isHeld) this.waiting = withNewer(this.waiting, newer);
    else this.rows = withNewer(this.rows, newer);
  }

  /** Holds the rows where they are, or lets the waiting ones in. */
  hold(isHeld: boolean): void {
    if (this.isHeld === isHeld) return;
    this.isHeld = isHeld;
    if (!isHeld) this.showWaiting();
  }

  /** Lets the waiting rows in. */
  showWaiting(): void {
    if (this.waiting.length > 0) this.rows = withNewer(this.rows, this.waiting);
    this.waiting = [];
  }

  /** Begins anew for a filter and a window. The old rows stay until the answer is there. */
  async begin(api: Api, parameters: Parameters, isLive: boolean): Promise<void> {
    this.stop();
    const { signal } = this.#abort;
    this.isLoading = true;
    this.beats = [];
    this.waiting = [];
    try {
      const limit = isLive ? 100 : pageSize;
      const answer = await api.get('flows', { ...parameters, limit }, signal);
      if (signal.aborted) return;
      const older = rowsOf(answer);
      this.rows = isLive ? withNewer(older, this.#arrived(older)) : older;
      this.#next = answer.next;
      this.hasOlder = answer.next !== undefined;
      this.error = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as Error;
    }
    this.isLoaded = true;
    this.isLoading = false;
  }

  /** Loads the next older page. */
  async loadOlder(api: Api, parameters: Parameters): Promise<void> {
    if (this.isLoading || this.#next === undefined || this.rows.length >= 4 * keptRows) return;
    const { signal } = this.#abort;
    this.isLoading = true;
    try {
      const wish = { ...parameters, before: this.#next, limit: pageSize };
      const answer = await api.get('flows', wish, signal);
      if (signal.aborted) return;
      this.rows = withOlder(this.rows, rowsOf(answer));
      this.#next = answer.next;
      this.hasOlder = answer.next !== undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as Error;
    }
    this.isLoading = false;
  }

  /** Ends requests that are under way. */
  stop(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  /** Returns the rows that arrived since the request for the first page began. */
  #arrived(older: readonly FlowRow[]): readonly FlowRow[] {
    const newest = older[0]?.time ?? 0;
    return this.beats.length > 0 ? this.rows.filter(({ time }) => time > newest) : [];
  }
}
