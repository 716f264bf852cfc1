import { backoffMs } from '@heddle/state';
import type { Platform } from '@heddle/sys';
import type { ApiClient } from './api-client.ts';
import type { ResponseHandlers } from './api-request.ts';
import { ConnectionError, KubeError, StatusError } from './errors.ts';
import { LineFrames, ListFrames, ProtocolError } from './frames.ts';
import { JsonError } from './json.ts';
import { listPath, type Resource, streamingListPath, watchPath } from './list-requests.ts';
import type { ResourceChange } from './listing.ts';
import { Replica } from './replica.ts';

/** The state of a ListWatch. */
export interface WatchState {
  /**
   * `watching`: the reported objects are those of the server. `listing`: a list is being read, the first one
   * or a new one, or is about to be, because the version of a watch has expired. `waiting`: a request
   * failed, and is retried later.
   */
  readonly phase: 'listing' | 'watching' | 'waiting';
  /** Wall-clock milliseconds since when it is watching, or since when it is not. */
  readonly since: number;
  /** Wall-clock milliseconds when the server last sent something; 0: never. */
  readonly lastEventMs: number;
  /** The message of the last error; absent when it is watching again. */
  readonly error?: string;
  /** Wall-clock milliseconds of the next attempt, if it waits for one. */
  readonly retryAtMs?: number;
  /** The version up to which changes are reported; empty before the first list. */
  readonly resourceVersion: string;
}

/** Options and callbacks of a ListWatch. */
export interface ListWatchOptions<T> {
  readonly platform: Pick<Platform, 'setTimer' | 'wallTimeMs' | 'monotonicNs' | 'randomBytes'>;
  readonly client: Pick<ApiClient, 'get' | 'server'>;
  readonly resource: Resource<T>;
  /** The server may lack the resource (404), which counts as an empty list; it is asked again later. */
  readonly mayBeMissing?: boolean;
  /**
   * Called with changes in order. The first call comes when the first list is complete, also when it is
   * empty. A later list is one call with its differences, and each piece of data with events is one call.
   */
  readonly onChanges: (changes: readonly ResourceChange<T>[]) => void;
  /** Called when phase or error have changed. */
  readonly onState: (state: WatchState) => void;
}

/** The silence after which (up to twice as long) a list is aborted. */
const listSilenceMs = 30_000;
/**
 * The time after which (up to half as long again) a streaming list without its end is aborted, although
 * events arrive: a server that does not know `sendInitialEvents` treats it as a watch.
 */
const streamingListMs = 60_000;
/** The number of failed streaming lists in a row, or the duration of one, after which lists are plain. */
const maxStreamingFailures = 3;
const longStreamingFailureMs = 30_000;
/** The time for which plain lists are used. Then the cause of failed streaming lists may have passed. */
const plainListsMs = 300_000;
/**
 * The silence after which (up to twice as long) a watch is resumed with a new request. Servers send a
 * bookmark every 45 to 75 s.
 */
const watchSilenceMs = 90_000;
/** The duration after which a watch counts as successful. */
const soundMs = 30_000;
/** The time (up to twice as long) after which a server is asked again for a resource that it lacks. */
const missingMs = 30_000;
/** The limit of Retry-After. */
const longestRetryMs = 300_000;

/** A request in progress. */
interface Exchange {
  readonly kind: 'streaming list' | 'list' | 'watch';
  /** The known version at its start. */
  readonly from: string;
  /** CLOCK_MONOTONIC at the request. */
  readonly startNs: bigint;
  /** CLOCK_MONOTONIC at the start of the response; undefined before. */
  headNs: bigint | undefined;
  /** True if data arrived since the silence timer was last set. */
  isHeard: boolean;
  /** True if bytes of the body arrived. */
  hasBody: boolean;
  request: Disposable | undefined;
}

/**
 * Reports all objects of a resource and their changes until it is disposed: lists, watches, resumes, and
 * lists again when necessary. It starts by itself after the constructor has returned.
 */
export class ListWatch<T> implements Disposable {
  readonly #options: ListWatchOptions<T>;
  readonly #replica: Replica<T>;
  /** A server whose streaming lists failed. It gets plain list requests until `untilNs` (CLOCK_MONOTONIC). */
  #plain: { readonly server: string; readonly untilNs: bigint } | undefined;
  /** The number of failed streaming lists in a row. */
  #streamingFailures = 0;
  /** False after the pages of a list expired before its end. The next list is then read in one response. */
  #isPaged = true;
  /** True if the server does not know the version of another server. */
  #wantsNewest = false;
  #exchange: Exchange | undefined;
  #silence: Disposable | undefined;
  #retry: Disposable | undefined;
  /** The number of attempts without result in a row. */
  #failures = 0;
  /** The number of lists since the last successful watch. */
  #renewals = 0;
  #lastEventMs = 0;
  #state: Pick<WatchState, 'phase' | 'since' | 'error' | 'retryAtMs'>;
  #isDisposed = false;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#replica = new Replica(options.resource);
    this.#state = { phase: 'listing', since: options.platform.wallTimeMs() };
    this.#tryIn(0);
  }

  get state(): WatchState {
    return {
      ...this.#state,
      lastEventMs: this.#lastEventMs,
      resourceVersion: this.#replica.version,
    };
  }

  /** Returns the keys of the known objects; they stay known after dispose. */
  keys(): Iterable<string> {
    return this.#replica.keys();
  }

  /** Returns true if the object with the key is known. */
  has(key: string): boolean {
    return this.#replica.has(key);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#retry?.[Symbol.dispose]();
    this.#leave();
  }

  #tryIn(milliseconds: number): void {
    this.#retry = this.#options.platform.setTimer(milliseconds, () => this.#try());
  }

  #try(): void {
    const replica = this.#replica;
    const { resource } = this.#options;
    if (replica.isListing) {
      this.#setState({ phase: 'listing', error: this.#state.error });
      if (this.#isDisposed) return;
    }
    // Watches end at random times, so that agents that started together do not reconnect together.
    const timeoutSeconds = 300 + Math.floor(this.#random() * 300);
    if (!replica.isListing) {
      this.#begin('watch', watchPath(resource, replica.version, timeoutSeconds));
    } else if (!this.#isPlain()) {
      replica.renew();
      this.#begin('streaming list', streamingListPath(resource, timeoutSeconds));
    } else {
      const { continueToken } = replica;
      // The state of a partial list, streaming or plain, may contain objects that are deleted now.
      if (continueToken === '') replica.renew();
      const version = this.#wantsNewest ? '' : replica.version || '0';
      const isPaged = this.#isPaged;
      this.#begin('list', listPath(resource, { version, continueToken, isPaged }));
    }
  }

  /** Returns true if the next list is a plain list request, not a streaming one. A list in pages is read to its end. */
  #isPlain(): boolean {
    const { platform, client } = this.#options;
    const plain = this.#plain;
    if (!plain || plain.server !== client.server) return false;
    return this.#replica.continueToken !== '' || platform.monotonicNs() < plain.untilNs;
  }

  #begin(kind: Exchange['kind'], path: string): void {
    const exchange: Exchange = {
      kind,
      from: this.#replica.version,
      startNs: this.#options.platform.monotonicNs(),
      headNs: undefined,
      isHeard: false,
      hasBody: false,
      request: undefined,
    };
    this.#exchange = exchange;
    const request = this.#options.client.get(path, this.#handlers(exchange));
    if (this.#exchange === exchange) exchange.request = request;
    else request[Symbol.dispose]();
  }

  #handlers(exchange: Exchange): ResponseHandlers {
    const replica = this.#replica;
    const frames = exchange.kind === 'list' ? listFrames(replica) : eventFrames(replica);
    return {
      onHead: () => {
        exchange.headNs = this.#options.platform.monotonicNs();
        this.#listen(exchange);
        if (!replica.isListing) this.#setState({ phase: 'watching' });
      },
      onBody: (bytes) => {
        exchange.isHeard = true;
        exchange.hasBody = true;
        this.#lastEventMs = this.#options.platform.wallTimeMs();
        this.#advance(exchange, () => frames.push(bytes));
      },
      onEnd: (error) => {
        if (error) {
          this.#fail(exchange, error);
          return;
        }
        if (!this.#advance(exchange, () => frames.end())) return;
        if (exchange.kind === 'list') this.#goOn();
        else this.#fail(exchange, new ConnectionError(`${exchange.kind}: the server ended it`));
      },
    };
  }

  /** Reads bytes and reports the changes. Returns false if that ended the exchange. */
  #advance(exchange: Exchange, read: () => void): boolean {
    const replica = this.#replica;
    const error = caught(read);
    // The changes before an error are valid.
    const changes = replica.take();
    if (changes) this.#options.onChanges(changes);
    if (this.#exchange !== exchange) return false;
    if (error) this.#fail(exchange, error);
    else if (!replica.isListing && exchange.kind !== 'list') this.#setState({ phase: 'watching' });
    return this.#exchange === exchange;
  }

  /** Called after a list or a page of it. */
  #goOn(): void {
    this.#leave();
    this.#failures = 0;
    if (!this.#replica.isListing) {
      this.#isPaged = true;
      this.#wantsNewest = false;
    }
    this.#try();
  }

  /** Ends an exchange: determines the next one and its time. */
  #fail(exchange: Exchange, error: KubeError): void {
    if (this.#exchange !== exchange) return;
    this.#leave();
    const { platform } = this.#options;
    const replica = this.#replica;
    const status = error instanceof StatusError ? error.status : 0;
    if (exchange.kind === 'streaming list') {
      // The API server refuses unknown parameters with these.
      const isUnknown = replica.isListing && (status === 400 || status === 422);
      this.#judgeStreaming(exchange, isUnknown);
      if (isUnknown) {
        this.#try();
        return;
      }
    }
    if (status === 404 && this.#options.mayBeMissing) {
      this.#setMissing(error.message);
      return;
    }
    const hasProgress = replica.version !== exchange.from;
    const stoodNs = exchange.headNs === undefined ? 0n : platform.monotonicNs() - exchange.headNs;
    const wasWatching = !replica.isListing;
    const wasSound = wasWatching && stoodNs >= toNs(soundMs);
    if (hasProgress || wasSound) this.#failures = 0;
    if (wasSound) this.#renewals = 0;

    const retryMs = Math.min(retryAfterMs(error), longestRetryMs) * (1 + this.#random() / 5);
    let failures: number;
    // The version has expired, as after a restart of the server. Once, that is no error.
    let phase: WatchState['phase'] = 'waiting';
    if (needsNewList(error)) {
      if (exchange.kind === 'list' && replica.continueToken !== '') this.#isPaged = status !== 410;
      if (isVersionTooLarge(error)) this.#wantsNewest = true;
      replica.renew();
      failures = ++this.#renewals;
      if (wasWatching && status === 410 && failures === 1) phase = 'listing';
    } else {
      if (retryMs === 0 && (hasProgress || wasSound)) {
        this.#try();
        return;
      }
      failures = ++this.#failures;
    }
    const waitMs = Math.max(backoffMs(failures, this.#random()), Math.round(retryMs));
    const retryAtMs = platform.wallTimeMs() + waitMs;
    this.#setState({ phase, error: error.message, retryAtMs });
    if (!this.#isDisposed) this.#tryIn(waitMs);
  }

  #setMissing(error: string): void {
    this.#failures = 0;
    this.#replica.setMissing();
    const changes = this.#replica.take();
    if (changes) this.#options.onChanges(changes);
    if (this.#isDisposed) return;
    this.#setState({ phase: 'watching', error });
    if (!this.#isDisposed) this.#tryIn(missingMs * (1 + this.#random()));
  }

  /**
   * Called at the end of a streaming list. If it was never complete, for any reason, plain lists are tried
   * sooner or later: only streaming lists may fail at the server, or at a proxy before it.
   */
  #judgeStreaming(exchange: Exchange, isUnknown: boolean): void {
    const { platform, client } = this.#options;
    const now = platform.monotonicNs();
    if (!this.#replica.isListing) {
      this.#streamingFailures = 0;
      return;
    }
    const tookLong = now - exchange.startNs >= toNs(longStreamingFailureMs);
    if (!isUnknown && !tookLong && ++this.#streamingFailures < maxStreamingFailures) return;
    this.#streamingFailures = 0;
    this.#plain = { server: client.server, untilNs: now + toNs(plainListsMs) };
  }

  /**
   * Detects silence after the start of a response (the client detects it before). One timer that is rarely
   * set is enough.
   */
  #listen(exchange: Exchange): void {
    const { isListing } = this.#replica;
    const silenceMs = isListing ? listSilenceMs : watchSilenceMs;
    this.#silence = this.#options.platform.setTimer(silenceMs, () => {
      const isEndless =
        exchange.kind === 'streaming list' &&
        this.#replica.isListing &&
        this.#options.platform.monotonicNs() - exchange.headNs! >= toNs(streamingListMs);
      if (exchange.isHeard && isEndless) {
        const what = `${exchange.kind}: its end did not come within ${streamingListMs / 1000} s`;
        this.#fail(exchange, new ConnectionError(what));
        return;
      }
      if (exchange.isHeard) {
        exchange.isHeard = false;
        this.#listen(exchange);
        return;
      }
      // A server that was restored from a backup sends nothing to a watch from a future version, not even
      // bookmarks (kube-apiserver 1.36). For a server without bookmarks, silence is normal.
      if (!isListing && !exchange.hasBody && this.#replica.hasBookmarks) this.#replica.renew();
      const what = `${exchange.kind}: nothing came for ${silenceMs / 1000} s`;
      this.#fail(exchange, new ConnectionError(`${what} (the connection may be dead)`));
    });
  }

  #leave(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#silence?.[Symbol.dispose]();
    exchange?.request?.[Symbol.dispose]();
  }

  #setState(to: Pick<WatchState, 'phase' | 'error' | 'retryAtMs'>): void {
    const { phase, since, error, retryAtMs } = this.#state;
    if (to.phase === phase && to.error === error && to.retryAtMs === retryAtMs) return;
    const stays = (to.phase === 'watching') === (phase === 'watching');
    this.#state = { ...to, since: stays ? since : this.#options.platform.wallTimeMs() };
    this.#options.onState(this.state);
  }

  /** Returns a random number from 0 (inclusive) to 1. */
  #random(): number {
    const [a = 0, b = 0] = this.#options.platform.randomBytes(2);
    return (a * 256 + b) / 65536;
  }
}

interface Frames {
  push(bytes: Uint8Array): void;
  end(): void;
}

function eventFrames(replica: Replica<unknown>): Frames {
  return new LineFrames((line) => replica.readLine(line));
}

function listFrames(replica: Replica<unknown>): Frames {
  const frames = new ListFrames((item, head) => replica.readItem(item, head));
  return {
    push: (bytes) => frames.push(bytes),
    end: () => replica.endPage(frames.end()),
  };
}

function toNs(milliseconds: number): bigint {
  return BigInt(milliseconds) * 1_000_000n;
}

function caught(act: () => void): KubeError | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof KubeError) return error;
    throw error;
  }
}

/** Returns true if a watch can't resume from the known version. */
function needsNewList(error: KubeError): boolean {
  if (error instanceof ProtocolError || error instanceof JsonError) return true;
  if (!(error instanceof StatusError)) return false;
  const { status } = error;
  const mayPass = [401, 403, 408, 429].includes(status) || status >= 500;
  return !mayPass || isVersionTooLarge(error);
}

/** Returns true if the server was restored from a backup, or is behind another one. */
function isVersionTooLarge(error: KubeError): boolean {
  return error instanceof StatusError && /too large resource version/i.test(error.message);
}

function retryAfterMs(error: KubeError): number {
  return (error instanceof StatusError && error.retryAfterMs) || 0;
}
