import type { ClusterEvent, Counts, FlowRows, Hello, MapAnswer } from '../contract.ts';
import { checkToken, type Denied, type Parameters } from './api.ts';
import { applyDelta, isWholeMap } from './map-delta.ts';
import { type Connection, Stream } from './stream.ts';
import { forgetToken, keepToken, readToken } from './token.ts';
import {
  changeRoute,
  formatRoute,
  parseRoute,
  type Route,
  type RouteChange,
  type TimeWindow,
  windowKeys,
  windowOf,
} from './url.ts';
import { words } from './words.ts';

/** The width in pixels up to which the page has its form for a phone. */
const narrow = matchMedia('(max-width: 720px)');
const dark = matchMedia('(prefers-color-scheme: dark)');

/** The state of the page, for the frame and the views. All properties are reactive. */
export class PageState {
  /** The content of the URL. */
  route: Route = $state.raw(parseRoute(location.hash));
  /** The relay's introduction; undefined until it arrives. */
  hello: Hello | undefined = $state.raw();
  counts: Counts | undefined = $state.raw();
  /** The map for the filter and the window; undefined until it arrives. */
  map: MapAnswer | undefined = $state.raw();
  /** Rollouts and other events that arrived since the page was opened, oldest first; 500 at most. */
  events: readonly ClusterEvent[] = $state.raw([]);
  connection: Connection = $state.raw({ kind: 'connecting', since: Date.now() });
  /** True once the relay was updated while the page is open. */
  isOutdated = $state(false);
  isNarrow = $state(narrow.matches);
  theme: 'light' | 'dark' = $state(storedTheme());
  /** Grows every five seconds while the window is live. Views that ask by themselves ask again then. */
  tick = $state(0);
  /** False if the reader switched single keys off. */
  hasShortcuts = $state(localStorage.getItem('heddle.keys') !== 'off');
  isKeysOpen = $state(false);
  /** The relay's sentence while it asks for a token; the page shows the login then. */
  denial: { readonly text: string; readonly isError: boolean } | undefined = $state.raw();
  /** True if this tab keeps a token. */
  hasToken = $state(readToken() !== undefined);
  /** The last sentence for readers of the live region. */
  announcement = $state('');

  /** The filter of the URL. */
  readonly filter: string = $derived(this.route.keys.f ?? '');
  readonly window: TimeWindow = $derived(windowOf(this.route));
  readonly isLive: boolean = $derived(this.window.kind === 'live');
  /** The kinds of drops that the reader muted, by id. */
  muted: Readonly<Record<string, true>> = $state.raw(readMuted());
  /** The number of kinds of drops in the last minute that are not muted. */
  readonly dropsNow: number = $derived(
    (this.counts?.drops ?? []).filter((id) => !Object.hasOwn(this.muted, id)).length,
  );

  /** The bounds of a window that stands still. A live window has none, because it ends at the present time. */
  readonly fixedRange: { readonly from?: number; readonly to?: number } = $derived(
    this.isLive ? {} : this.range,
  );

  readonly #flowReaders = new Set<(rows: FlowRows) => void>();
  readonly #stream: Stream = new Stream({
    events: {
      hello: (hello) => this.#receiveHello(hello),
      counts: (counts) => {
        this.counts = counts;
      },
      map: (event) => {
        this.map = isWholeMap(event) ? event : (applyDelta(this.map, event) ?? this.map);
      },
      flows: (rows) => {
        for (const read of this.#flowReaders) read(rows);
      },
      events: (events) => {
        this.events = [...this.events, ...events].slice(-500);
      },
      bye: ({ error }) => {
        this.announcement = error.text;
      },
    },
    connection: (connection) => {
      if (connection.kind !== 'live' || this.connection.kind !== 'live') {
        this.connection = connection;
      }
    },
    denied: (text, token) => this.deny(text, token),
  });

  /** The relay's time in milliseconds, which may differ from the browser's. */
  get now(): number {
    return this.counts?.now ?? this.hello?.now ?? Date.now();
  }

  /** The parameters `f`, `from` and `to` of a request for the filter and the window as they are now. */
  get query(): { f: string; from: number; to: number } {
    return { f: this.filter, ...this.range };
  }

  /** The bounds of the window as they are now. */
  get range(): { from: number; to: number } {
    const { window } = this;
    if (window.kind === 'range') return { from: window.from, to: window.to };
    const to = window.kind === 'paused' ? window.at : this.now;
    return { from: to - window.minutes * 60_000, to };
  }

  /** Returns the link of a change, for `href`. */
  href(change: RouteChange): string {
    return formatRoute(changeRoute(this.route, change));
  }

  /** Changes the URL; `replace` makes no entry in the history, as for each letter of a filter. */
  readonly navigate = (change: RouteChange, mode: 'push' | 'replace' = 'push'): void => {
    const fragment = this.href(change);
    if (fragment === location.hash) return;
    history[mode === 'push' ? 'pushState' : 'replaceState'](null, '', fragment);
    this.route = parseRoute(fragment);
  };

  /** Holds the window still at the relay's present time, or lets it go on. */
  readonly togglePause = (): void => {
    const { window } = this;
    const next: TimeWindow =
      window.kind === 'live'
        ? { ...window, kind: 'paused', at: this.now }
        : { kind: 'live', minutes: window.kind === 'paused' ? window.minutes : 15 };
    this.navigate({ keys: windowKeys(next) });
  };

  readonly toggleTheme = (): void => {
    this.theme = this.theme === 'dark' ? 'light' : 'dark';
    localStorage.setItem('heddle.theme', this.theme);
  };

  /** Switches single keys on or off; the browser keeps that. */
  useShortcuts(hasShortcuts: boolean): void {
    this.hasShortcuts = hasShortcuts;
    localStorage.setItem('heddle.keys', hasShortcuts ? 'on' : 'off');
  }

  /** Copies the link of the present picture. */
  readonly copyLink = async (): Promise<void> => {
    await navigator.clipboard.writeText(location.href);
    this.announcement = words.linkCopied;
  };

  /** Mutes a kind of drops or undoes it; the browser keeps that. */
  readonly toggleMuted = (id: string): void => {
    const { [id]: was, ...others } = this.muted;
    this.muted = was ? others : { ...others, [id]: true };
    localStorage.setItem('heddle.muted', JSON.stringify(Object.keys(this.muted)));
  };

  /** Calls a function for each message of rows until the returned function is called. */
  readFlows(read: (rows: FlowRows) => void): () => void {
    this.#flowReaders.add(read);
    return () => this.#flowReaders.delete(read);
  }

  /** Begins the stream for a view, a filter and a window. */
  openStream(parameters: Parameters): void {
    this.#stream.open(parameters);
  }

  readonly tryNow = (): void => this.#stream.tryNow();

  /** Ends the stream, as for a hidden tab. */
  closeStream(): void {
    this.#stream.close();
  }

  /** Leads to the login. The answer to a request with another token than the present one is of no account. */
  readonly deny: Denied = (text, token) => {
    if (token === readToken()) this.#leave({ text, isError: token !== undefined });
  };

  /** Keeps a token if the relay accepts it, and shows the views. Throws as the requests of Api do. */
  async login(token: string): Promise<void> {
    await checkToken(token);
    keepToken(token);
    this.hasToken = true;
    this.denial = undefined;
  }

  /** Forgets the token and what was read with it, and shows the login. */
  readonly forget = (): void => this.#leave({ text: words.tokenForgotten, isError: false });

  #leave(denial: { readonly text: string; readonly isError: boolean }): void {
    forgetToken();
    this.closeStream();
    this.hasToken = false;
    this.isKeysOpen = false;
    // The next reader may see less.
    [this.hello, this.counts, this.map, this.events] = [undefined, undefined, undefined, []];
    this.announcement = '';
    this.connection = { kind: 'connecting', since: Date.now() };
    this.denial = denial;
  }

  /** Follows the browser: the URL, the width, the clock. Returns the function that ends it. */
  follow(): () => void {
    const readUrl = () => {
      this.route = parseRoute(location.hash);
    };
    const measure = () => {
      this.isNarrow = narrow.matches;
    };
    addEventListener('hashchange', readUrl);
    addEventListener('popstate', readUrl);
    narrow.addEventListener('change', measure);
    const timer = setInterval(() => {
      if (this.isLive && !document.hidden) this.tick++;
    }, 5000);
    return () => {
      removeEventListener('hashchange', readUrl);
      removeEventListener('popstate', readUrl);
      narrow.removeEventListener('change', measure);
      clearInterval(timer);
      this.#stream.close();
    };
  }

  #receiveHello(hello: Hello): void {
    if (this.hello && this.hello.version !== hello.version) this.isOutdated = true;
    this.hello = hello;
  }
}

function storedTheme(): 'light' | 'dark' {
  const stored = localStorage.getItem('heddle.theme');
  return stored === 'dark' || (stored !== 'light' && dark.matches) ? 'dark' : 'light';
}

function readMuted(): Record<string, true> {
  try {
    const ids: unknown = JSON.parse(localStorage.getItem('heddle.muted') ?? '[]');
    return Array.isArray(ids) ? Object.fromEntries(ids.map((id) => [String(id), true])) : {};
  } catch {
    // Another page of the same origin may have left something else there.
    return {};
  }
}
