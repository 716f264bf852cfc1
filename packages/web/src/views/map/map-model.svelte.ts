import { untrack } from 'svelte';
import type { ChangesAnswer, Party } from '../../contract.ts';
import {
  type Arrangement,
  arrange,
  closeHoles,
  extend,
  parseArrangement,
} from '../../layout/arrangement.ts';
import { countColumns, type MapSizes, place } from '../../layout/place.ts';
import { routeLinks } from '../../layout/route.ts';
import {
  foldHubs,
  type MemberRates,
  noRates,
  pairKey,
  type Rates,
  ratesOf,
  readStructure,
  type Structure,
} from '../../layout/structure.ts';
import type { PageState } from '../../page/state.svelte.ts';
import type { Change } from './look.ts';
import {
  arrangedCards,
  arrangedLinks,
  beginsClosed,
  openCards,
  sceneLinks,
  sceneRates,
  strongKeys,
} from './scene.ts';

const emptyStructure: Structure = { groups: [], members: new Map(), pairs: [], hubs: [] };
const noMemberRates: MemberRates = { in: noRates, out: noRates };
const sideMargin = 32;
const leastWidth = 1180;

/**
 * The map of a page: what it consists of, where each part is, and the rates. Structure, places and ways change
 * only with the workloads and links themselves; a tick of the stream changes the rates alone.
 */
export class MapModel {
  readonly #page: PageState;
  /** The size of the part of the window that shows the map, in pixels. */
  viewWidth = $state(1280);
  viewHeight = $state(600);
  /** The links that changed between the two times of a comparison. */
  comparison: ChangesAnswer | undefined = $state.raw();
  /** The item that the keyboard is at: `card:NAME` or `row:ID`. */
  focused = $state('');
  #tidied = $state(0);
  readonly #arrangements = new Map<string, Arrangement>();

  readonly #workloads = $derived.by(() => this.#page.map?.workloads);
  readonly #ends = $derived.by(() => this.#page.map?.links.from);
  readonly #ports = $derived.by(() => this.#page.map?.links.port);
  readonly drawsHubs = $derived.by(() => this.#page.route.keys.hubs === '1');

  readonly structure: Structure = $derived.by(() => {
    void [this.#workloads, this.#ends, this.#ports];
    const map = untrack(() => this.#page.map);
    if (!map) return emptyStructure;
    return this.drawsHubs ? readStructure(map) : foldHubs(map);
  });
  readonly rates = $derived.by(() => {
    const { map } = this.#page;
    return map ? ratesOf(this.structure, map) : { pairs: new Map(), members: new Map() };
  });

  /** The number of callers, and of those that it calls, by the id of a member. */
  readonly degrees = $derived.by(() => {
    const degrees = new Map<string, { callers: number; called: number }>();
    const at = (id: string) => {
      const degree = degrees.get(id) ?? { callers: 0, called: 0 };
      degrees.set(id, degree);
      return degree;
    };
    for (const { from, to } of this.structure.pairs) {
      at(from.id).called++;
      at(to.id).callers++;
    }
    return degrees;
  });

  readonly #level = $derived.by(() => this.#page.route.keys.level);
  readonly #opened = $derived.by(() => this.#page.route.keys.open);
  readonly #closed = $derived.by(() => this.#page.route.keys.closed);
  readonly openKeys = $derived.by(() => ({
    ...{ level: this.#level, open: this.#opened, closed: this.#closed },
  }));
  readonly isDense = $derived.by(() => beginsClosed(this.structure, this.openKeys));
  readonly open = $derived.by(() => openCards(this.structure, this.openKeys));

  readonly sizes: MapSizes = $derived.by(() => {
    const width = Math.max(leastWidth, this.viewWidth - 2 * sideMargin);
    const height = Math.max(260, this.viewHeight - (this.isDense ? 150 : 160));
    return this.isDense
      ? { width, height, closedWidth: 150, openWidth: 190, spacing: 12 }
      : { width, height, closedWidth: 194, openWidth: 194, spacing: 18 };
  });
  readonly #columns = $derived.by(() =>
    this.isDense
      ? countColumns(this.sizes.width, 150, 50, 8)
      : countColumns(this.sizes.width, 194, 54, 7),
  );

  /** The key under which the browser keeps the order; undefined for a filtered map, whose order is not kept. */
  readonly storageKey = $derived.by(() => {
    const cluster = this.#page.hello?.cluster;
    if (cluster === undefined || this.#page.filter !== '') return undefined;
    return `heddle.map.${cluster}.${this.isDense ? 'closed' : 'open'}.${this.#columns}`;
  });
  readonly arrangement: Arrangement = $derived.by(() => {
    void this.#tidied;
    const { structure, storageKey } = this;
    const cards = arrangedCards(structure, this.openKeys);
    const links = arrangedLinks(
      structure,
      untrack(() => this.rates),
    );
    const key = storageKey ?? `${this.#page.filter} ${this.isDense} ${this.#columns}`;
    const old = this.#arrangements.get(key) ?? this.#recall(storageKey, cards);
    const next = old ? extend(old, cards, links) : arrange(cards, links, this.#columns);
    if (cards.length > 0) this.#arrangements.set(key, next);
    return next;
  });

  readonly placement = $derived.by(() => {
    const present = new Set(this.structure.groups.map(({ name }) => name));
    return place(this.arrangement, present, this.open, this.sizes);
  });
  readonly links = $derived.by(() => sceneLinks(this.structure, this.open));
  readonly routes = $derived.by(() => routeLinks(this.placement, this.links));
  readonly linkRates: ReadonlyMap<string, Rates> = $derived.by(() => {
    const rates = this.rates;
    return new Map(this.links.map((link) => [link.key, sceneRates(link, rates)]));
  });
  readonly strong = $derived.by(() => strongKeys(this.linkRates));

  readonly chosen = $derived.by(() => this.#page.route.keys.sel);
  /** The ids of the chosen workload and its neighbours, and the names of their cards. */
  readonly near: ReadonlySet<string> = $derived.by(() => {
    const { chosen, structure } = this;
    if (chosen === undefined) return new Set();
    const mine = structure.pairs.filter(({ from, to }) => from.id === chosen || to.id === chosen);
    const ends = mine.flatMap(({ from, to }) => [from, to]);
    const own = structure.members.get(chosen);
    return new Set([...ends, ...(own ? [own] : [])].flatMap(({ id, group }) => [id, group]));
  });
  /** The changes of a comparison by the key of the pair. */
  readonly changes: ReadonlyMap<string, Change> | undefined = $derived.by(() => {
    const { comparison } = this;
    if (!comparison) return undefined;
    return new Map(
      comparison.links.map(({ from, to, change }) => [
        pairKey(this.memberId(from), this.memberId(to)),
        change,
      ]),
    );
  });

  constructor(page: PageState) {
    this.#page = page;
  }

  /** Returns the id of the member that a party is. */
  memberId({ namespace, name }: Pick<Party, 'namespace' | 'name'>): string {
    if (namespace !== '') return `${namespace}/${name}`;
    const outside = this.structure.groups.filter(({ isOutside }) => isOutside);
    const group = outside.find(({ members }) => members.some((member) => member.name === name));
    return `${group?.name ?? ''}/${name}`;
  }

  ratesOf(id: string): MemberRates {
    return this.rates.members.get(id) ?? noMemberRates;
  }

  /** Arranges all cards and rows anew. */
  readonly tidy = (): void => {
    this.#arrangements.clear();
    if (this.storageKey !== undefined) localStorage.removeItem(this.storageKey);
    this.#tidied++;
  };

  /** Keeps the order of the cards for the next visit. */
  keepOrder(): void {
    const { storageKey, arrangement } = this;
    if (storageKey === undefined || this.structure.groups.length === 0) return;
    try {
      localStorage.setItem(storageKey, JSON.stringify(arrangement));
    } catch {
      // Without room in the browser's storage, the next visit arranges the map anew.
    }
  }

  #recall(key: string | undefined, cards: Parameters<typeof closeHoles>[1]) {
    if (key === undefined || cards.length === 0) return undefined;
    const kept = parseArrangement(localStorage.getItem(key), this.#columns);
    return kept && closeHoles(kept, cards);
  }
}
