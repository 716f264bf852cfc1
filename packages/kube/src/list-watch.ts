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

export interface WatchState {
  /**
   * `watching`: what was told is what the server has. `listing`: everything is being fetched, for the
   * first time or anew, or will be at once because the version of a watch has expired. `waiting`:
   * something went wrong, and it is tried again later.
   */
  readonly phase: 'listing' | 'watching' | 'waiting';
  /** Wall-clock milliseconds: since when it is watching, or since when it is not. */
  readonly since: number;
  /** Wall-clock milliseconds: when the server last sent something; 0: never. */
  readonly lastEventMs: number;
  /** What went wrong last; absent once it is watching again. */
  readonly error?: string;
  /** Wall-clock milliseconds of the next try, if it is still to come. */
  readonly retryAtMs?: number;
  /** Up to where changes were told; empty before the first list. */
  readonly resourceVersion: string;
}

export interface ListWatchOptions<T> {
  readonly platform: Pick<Platform, 'setTimer' | 'wallTimeMs' | 'monotonicNs' | 'randomBytes'>;
  readonly client: Pick<ApiClient, 'get' | 'server'>;
  readonly resource: Resource<T>;
  /**
   * What has changed, in order. The first call comes when the first list is whole, also when it is
   * empty. A later list is one call with what differs, and so is each piece of data with events.
   */
  readonly onChanges: (changes: readonly ResourceChange<T>[]) => void;
  /** Phase or error have changed. */
  readonly onState: (state: WatchState) => void;
}

/** A list that brings nothing for so long (or up to twice as long) is given up. */
const listSilenceMs = 30_000;
/**
 * A streaming list whose end does not come for so long (or half as long again) is given up, though events
 * come: a server that does not know `sendInitialEvents` takes it for a watch.
 */
const streamingListMs = 60_000;
/** After so many streaming lists in a row that fail, or one that fails after so long, lists are plain. */
const mostStreamingFailures = 3;
const longStreamingFailureMs = 30_000;
/** The time for which plain lists are used, because the cause that makes streaming lists fail may pass. */
const plainListsMs = 300_000;
/**
 * A watch that brings nothing for so long (or up to twice as long) is resumed with a new request. Servers
 * send a bookmark each minute, give or take a quarter.
 */
const watchSilenceMs = 90_000;
/** A watch that stood for so long has shown that all is well. */
const soundMs = 30_000;
/** Servers may ask for more patience than is good. */
const longestRetryMs = 300_000;

/** A request under way. */
interface Exchange {
  readonly kind: 'streaming list' | 'list' | 'watch';
  /** The version that was known when it began. */
  readonly from: string;
  /** CLOCK_MONOTONIC when it was asked for. */
  readonly startNs: bigint;
  /** CLOCK_MONOTONIC when the answer began; undefined before. */
  headNs: bigint | undefined;
  /** Something came since the silence timer was last set. */
  isHeard: boolean;
  /** Some of the answer's body came. */
  hasBody: boolean;
  request: Disposable | undefined;
}

/**
 * Keeps somebody informed of all objects of a resource, for ever: lists, watches, resumes, and lists anew
 * when it must. It begins by itself once the constructor has returned.
 */
export class ListWatch<T> implements Disposable {
  readonly #options: ListWatchOptions<T>;
  readonly #replica: Replica<T>;
  /** URL of the server whose lists are plain, and until when by CLOCK_MONOTONIC. */
  #plain: { readonly server: string; readonly untilNs: bigint } | undefined;
  /** Streaming lists that failed, one after the other. */
  #streamingFailures = 0;
  /** A list in pages took longer than the server remembers. */
  #isPaged = true;
  /** The server doesn't know of the version that others gave. */
  #wantsNewest = false;
  #exchange: Exchange | undefined;
  #silence: Disposable | undefined;
  #retry: Disposable | undefined;
  /** Tries that brought nothing, one after the other. */
  #failures = 0;
  /** Lists that became necessary since a watch last stood for long. */
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
    // Watches end at different times, so that agents that started together don't come together.
    const timeoutSeconds = 300 + Math.floor(this.#random() * 300);
    if (!replica.isListing) {
      this.#begin('watch', watchPath(resource, replica.version, timeoutSeconds));
    } else if (!this.#isPlain()) {
      replica.renew();
      this.#begin('streaming list', streamingListPath(resource, timeoutSeconds));
    } else {
      const { continueToken } = replica;
      // A list that was begun, in either manner, may have had what is gone now.
      if (continueToken === '') replica.renew();
      const version = this.#wantsNewest ? '' : replica.version || '0';
      const isPaged = this.#isPaged;
      this.#begin('list', listPath(resource, { version, continueToken, isPaged }));
    }
  }

  /** True when the list that comes next is a plain one. Pages that have begun are read to their end. */
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

  /** Reads something and tells what came of it. False if that was the end of the exchange. */
  #advance(exchange: Exchange, read: () => void): boolean {
    const replica = this.#replica;
    const error = caught(read);
    // What came before an error is good.
    const changes = replica.take();
    if (changes) this.#options.onChanges(changes);
    if (this.#exchange !== exchange) return false;
    if (error) this.#fail(exchange, error);
    else if (!replica.isListing && exchange.kind !== 'list') this.#setState({ phase: 'watching' });
    return this.#exchange === exchange;
  }

  /** After a list or a page of it. */
  #goOn(): void {
    this.#leave();
    this.#failures = 0;
    if (!this.#replica.isListing) {
      this.#isPaged = true;
      this.#wantsNewest = false;
    }
    this.#try();
  }

  /** The exchange is over, for better or worse: decides what comes next, and when. */
  #fail(exchange: Exchange, error: KubeError): void {
    if (this.#exchange !== exchange) return;
    this.#leave();
    const { platform } = this.#options;
    const replica = this.#replica;
    const status = error instanceof StatusError ? error.status : 0;
    if (exchange.kind === 'streaming list') {
      // The API server of Kubernetes refuses what it does not know with these.
      const isUnknown = replica.isListing && (status === 400 || status === 422);
      this.#judgeStreaming(exchange, isUnknown);
      if (isUnknown) {
        this.#try();
        return;
      }
    }
    const hasProgress = replica.version !== exchange.from;
    const stoodNs = exchange.headNs === undefined ? 0n : platform.monotonicNs() - exchange.headNs;
    const wasWatching = !replica.isListing;
    const wasSound = wasWatching && stoodNs >= toNs(soundMs);
    if (hasProgress || wasSound) this.#failures = 0;
    if (wasSound) this.#renewals = 0;

    const retryMs = Math.min(retryAfterMs(error), longestRetryMs) * (1 + this.#random() / 5);
    let failures: number;
    // The server has forgotten the version, as it does after a restart: nothing is wrong with that once.
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

  /**
   * A streaming list is over. If its end never came, by whatever fault, plain lists are tried sooner or
   * later: the server, or what stands before it, may have trouble with streaming lists alone.
   */
  #judgeStreaming(exchange: Exchange, isUnknown: boolean): void {
    const { platform, client } = this.#options;
    const now = platform.monotonicNs();
    if (!this.#replica.isListing) {
      this.#streamingFailures = 0;
      return;
    }
    const tookLong = now - exchange.startNs >= toNs(longStreamingFailureMs);
    if (!isUnknown && !tookLong && ++this.#streamingFailures < mostStreamingFailures) return;
    this.#streamingFailures = 0;
    this.#plain = { server: client.server, untilNs: now + toNs(plainListsMs) };
  }

  /**
   * Sees to it that silence is noticed once an answer has begun (before, the client does). One timer that
   * is seldom set is enough for that.
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
      // A server that was set back, e.g. to a backup, says nothing to a watch from a version that is
      // yet to come, not even bookmarks (kube-apiserver 1.36). Without bookmarks, silence means nothing.
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

  /** From 0 (inclusive) to 1. */
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

/** Whether it is of no use to go on from what is known. */
function needsNewList(error: KubeError): boolean {
  if (error instanceof ProtocolError || error instanceof JsonError) return true;
  if (!(error instanceof StatusError)) return false;
  const { status } = error;
  const mayPass = [401, 403, 408, 429].includes(status) || status >= 500;
  return !mayPass || isVersionTooLarge(error);
}

/** The server was set back, e.g. to a backup, or is behind another one. */
function isVersionTooLarge(error: KubeError): boolean {
  return error instanceof StatusError && /too large resource version/i.test(error.message);
}

function retryAfterMs(error: KubeError): number {
  return (error instanceof StatusError && error.retryAfterMs) || 0;
}
