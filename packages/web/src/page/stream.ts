import type { StreamEvents } from '../contract.ts';
import { type Denied, isTokenWanted, openStream, type Parameters } from './api.ts';
import { readEvents, type ServerEvent } from './sse.ts';
import { readToken } from './token.ts';

/** The state of the stream, for the button Live and the note Not live. Milliseconds since 1970. */
export type Connection =
  | { readonly kind: 'connecting'; readonly since: number }
  | { readonly kind: 'live' }
  | { readonly kind: 'silent'; readonly lastWord: number; readonly nextTry: number };

/** The receivers of the events of a stream. */
export interface StreamHandlers {
  readonly events: { readonly [Name in keyof StreamEvents]: (event: StreamEvents[Name]) => void };
  readonly connection: (connection: Connection) => void;
  /** Is called when the relay asks for a token; the stream is not tried again then. */
  readonly denied: Denied;
}

/** The relay counts as silent after this time without an event. */
export const silentMilliseconds = 5000;

/** Returns the milliseconds before the next try after a number of failed ones: 1, 2, 4, then 8 seconds. */
export function retryDelay(failures: number): number {
  return 1000 * 2 ** Math.min(failures, 3);
}

/**
 * The one stream of server-sent events of this tab. It reconnects by itself, and shows when the next try is and
 * offers one at once. EventSource is not used, because it sends no token.
 */
export class Stream {
  readonly #handlers: StreamHandlers;
  #abort: AbortController | undefined;
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
    const abort = new AbortController();
    this.#abort = abort;
    this.#watch();
    void this.#follow(abort.signal);
  }

  /** Ends the stream, as for a hidden tab. */
  close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#abort?.abort();
    this.#abort = undefined;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const token = readToken();
    try {
      const { body } = await openStream(this.#parameters, token, signal);
      if (body) {
        await readEvents(body, (event) => {
          if (!signal.aborted) this.#receive(event, token);
        });
      }
    } catch (error) {
      if (!signal.aborted && isTokenWanted(error)) {
        this.#deny(error.message, token);
        return;
      }
      // The reader sees any other cause as a silent relay.
    }
    if (!signal.aborted) this.#fail();
  }

  #receive({ name, data }: ServerEvent, token: string | undefined): void {
    if (!Object.hasOwn(this.#handlers.events, name)) return;
    this.#failures = 0;
    this.#lastWord = Date.now();
    this.#handlers.connection({ kind: 'live' });
    this.#watch();
    try {
      const event = JSON.parse(data);
      this.#handlers.events[name as keyof StreamEvents](event);
      const bye: StreamEvents['bye'] | undefined = name === 'bye' ? event : undefined;
      if (bye?.error.code === 'forbidden') this.#deny(bye.error.text, token);
    } catch (error) {
      // A fault of the page in one event does not end the stream.
      reportError(error);
    }
  }

  #deny(text: string, token: string | undefined): void {
    this.close();
    this.#handlers.denied(text, token);
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
