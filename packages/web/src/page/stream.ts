import type { StreamEvents } from '../contract.ts';
import { type Parameters, requestUrl } from './api.ts';

/** The state of the stream, for the button Live and the note Not live. Milliseconds since 1970. */
export type Connection =
  | { readonly kind: 'connecting'; readonly since: number }
  | { readonly kind: 'live' }
  | { readonly kind: 'silent'; readonly lastWord: number; readonly nextTry: number };

/** The receivers of the events of a stream. */
export interface StreamHandlers {
  readonly events: { readonly [Name in keyof StreamEvents]: (event: StreamEvents[Name]) => void };
  readonly connection: (connection: Connection) => void;
}

/** The relay counts as silent after this time without an event. */
export const silentMilliseconds = 5000;

/** Returns the milliseconds before the next try after a number of failed ones: 1, 2, 4, then 8 seconds. */
export function retryDelay(failures: number): number {
  return 1000 * 2 ** Math.min(failures, 3);
}

/**
 * The one stream of server-sent events of this tab. It reconnects by itself. EventSource's own reconnection
 * is not used, because the page shows when the next try is and offers one at once.
 */
export class Stream {
  readonly #handlers: StreamHandlers;
  #source: EventSource | undefined;
  #parameters: Parameters = {};
  #failures = 0;
  #lastWord = Date.now();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(handlers: StreamHandlers) {
    this.#handlers = handlers;
  }

  /** Ends the present stream and begins one with these parameters. */
  open(parameters: Parameters): void {
    this.#parameters = parameters;
    this.tryNow();
  }

  /** Connects at once. */
  tryNow(): void {
    this.close();
    const source = new EventSource(requestUrl(['stream'], this.#parameters));
    this.#source = source;
    const names = ['hello', 'counts', 'map', 'flows', 'events', 'bye'] as const;
    for (const name of names) this.#listen(source, name);
    source.addEventListener('error', () => this.#fail());
    this.#watch();
  }

  /** Ends the stream, as for a hidden tab. */
  close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = undefined;
  }

  #listen<Name extends keyof StreamEvents>(source: EventSource, name: Name): void {
    source.addEventListener(name, (event: MessageEvent<string>) => {
      if (source !== this.#source) return;
      this.#failures = 0;
      this.#lastWord = Date.now();
      this.#handlers.connection({ kind: 'live' });
      this.#watch();
      this.#handlers.events[name](JSON.parse(event.data));
    });
  }

  /** Counts a stream without an event for too long as failed: a proxy may hold a dead connection open. */
  #watch(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#fail(), silentMilliseconds);
  }

  #fail(): void {
    this.close();
    const delay = retryDelay(this.#failures++);
    this.#retry = setTimeout(() => this.tryNow(), delay);
    this.#handlers.connection({
      kind: 'silent',
      lastWord: this.#lastWord,
      nextTry: Date.now() + delay,
    });
  }
}
