/** The views of the page; `pod`, `service` and `outside` are forms of the page of a workload. */
export const views = [
  'map',
  'drops',
  'changes',
  'flows',
  'nodes',
  'workload',
  'pod',
  'service',
  'outside',
] as const;
export type View = (typeof views)[number];

/** The state of the page that its URL carries. */
export interface Route {
  readonly view: View;
  /** The parts of the path behind the view, e.g. the namespace and the name of a workload. */
  readonly path: readonly string[];
  /** The values after the question mark, also of keys that this version does not know. */
  readonly keys: Readonly<Record<string, string>>;
}

/** Keys that all views share; they stay when the view changes. */
export const sharedKeys = ['f', 'w', 'at', 'from', 'to'] as const;

/** Reads a URL's fragment; without a known view it is the map's. */
export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#?\/?/, '');
  const mark = text.indexOf('?');
  const [head = '', ...path] = (mark < 0 ? text : text.slice(0, mark)).split('/').map(decode);
  const pairs = mark < 0 ? [] : text.slice(mark + 1).split('&');
  const keys = Object.fromEntries(
    pairs
      .map((pair) => pair.split('='))
      .map(([name = '', ...value]) => [decode(name), decode(value.join('='))] as const)
      .filter(([name, value]) => name !== '' && value !== ''),
  );
  const view = views.find((known) => known === head) ?? 'map';
  return { view, path: path.filter((part) => part !== ''), keys };
}

/**
 * Returns the fragment of a route. Equal routes have equal fragments: shared keys come first, then the others
 * by name; keys without a value are left out.
 */
export function formatRoute({ view, path, keys }: Route): string {
  const shared: readonly string[] = sharedKeys;
  const own = Object.keys(keys).filter((name) => !shared.includes(name));
  const pairs = [...shared, ...own.sort()]
    .filter((name) => name !== '' && Object.hasOwn(keys, name) && keys[name] !== '')
    .map((name) => `${encode(name)}=${encode(keys[name]!)}`);
  const place = [view, ...path.filter((part) => part !== '')].map(encodePart).join('/');
  return `#/${place}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`;
}

/** A change of the route; a key with undefined is taken out. */
export interface RouteChange {
  readonly view?: View;
  readonly path?: readonly string[];
  readonly keys?: Readonly<Record<string, string | undefined>>;
}

/**
 * Returns the route after a change. Without a view or path in the change, all keys stay; with one, only the
 * shared keys stay.
 */
export function changeRoute(route: Route, change: RouteChange): Route {
  const isMove = change.view !== undefined || change.path !== undefined;
  const shared: readonly string[] = sharedKeys;
  const kept = Object.entries(route.keys).filter(([name]) => !isMove || shared.includes(name));
  const all = { ...Object.fromEntries(kept), ...change.keys };
  const keys = Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, string] => !!entry[1]),
  );
  return {
    view: change.view ?? route.view,
    path: change.path ?? (isMove ? [] : route.path),
    keys,
  };
}

/** The time that the page shows: the last minutes up to now or to an instant, or a range. Milliseconds. */
export type TimeWindow =
  | { readonly kind: 'live'; readonly minutes: number }
  | { readonly kind: 'paused'; readonly minutes: number; readonly at: number }
  | { readonly kind: 'range'; readonly from: number; readonly to: number };

/** The lengths of windows that the page offers, in minutes. */
export const windowMinutes = [1, 5, 15, 60, 360, 1440] as const;
export const defaultMinutes = 15;

/** Reads the window of a route; what is wrong counts as missing. */
export function windowOf({ keys }: Route): TimeWindow {
  const from = Date.parse(keys.from ?? '');
  const to = Date.parse(keys.to ?? '');
  if (from < to) return { kind: 'range', from, to };
  const minutes = minutesOf(keys.w);
  const at = Date.parse(keys.at ?? '');
  return Number.isNaN(at) ? { kind: 'live', minutes } : { kind: 'paused', minutes, at };
}

/** Returns the keys that make a route show a window. */
export function windowKeys(window: TimeWindow): Record<string, string | undefined> {
  const time = (at: number) => new Date(at).toISOString();
  if (window.kind === 'range') {
    return { w: undefined, at: undefined, from: time(window.from), to: time(window.to) };
  }
  const { minutes } = window;
  const hours = minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`;
  return {
    w: minutes === defaultMinutes ? undefined : hours,
    at: window.kind === 'paused' ? time(window.at) : undefined,
    from: undefined,
    to: undefined,
  };
}

function minutesOf(text: string | undefined): number {
  const [, digits, unit] = /^(\d{1,4})([mh])$/.exec(text ?? '') ?? [];
  const minutes = Number(digits) * (unit === 'h' ? 60 : 1);
  return minutes >= 1 && minutes <= 1440 ? minutes : defaultMinutes;
}

/** Encodes a value so that names, filters and times stay readable: a blank is `+`. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replaceAll('%20', '+')
    .replace(/%(3A|2F|2C)/g, decodeURIComponent);
}

function encodePart(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll('%3A', ':');
}

/** Decodes a part of a URL; one with broken escapes stays as it is. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
