import { kindLetters, type MapAnswer, type MapLinks, type WorkloadKind } from '../contract.ts';

/** A row of the map: a workload, or a namespace whose workloads the relay summed up. */
export interface Member {
  /** GROUP/NAME; it is the same in each answer of the relay. */
  readonly id: string;
  readonly group: string;
  /** Empty for a namespace that the relay summed up. */
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly pods: number;
  readonly workloads: number;
}

/** A card of the map: a namespace, or clients or servers outside of the cluster. */
export interface Group {
  readonly name: string;
  readonly isOutside: boolean;
  readonly members: readonly Member[];
  /** The number of workloads, hubs included. */
  readonly workloads: number;
}

/** The links from one member to another, of all protocols and ports. */
export interface Pair {
  readonly key: string;
  readonly from: Member;
  readonly to: Member;
  /** Indexes of the map's links. */
  readonly links: readonly number[];
}

/** A member that nearly all others call or that calls nearly all. */
export interface Hub {
  readonly member: Member;
  readonly direction: 'called' | 'calls';
  readonly port: number;
  readonly count: number;
  readonly of: number;
  /** Indexes of the map's links. */
  readonly links: readonly number[];
}

/** The parts of a map that stay when only rates change. */
export interface Structure {
  readonly groups: readonly Group[];
  readonly members: ReadonlyMap<string, Member>;
  readonly pairs: readonly Pair[];
  readonly hubs: readonly Hub[];
}

/** Returns the key of a pair of members or cards. */
export function pairKey(from: string, to: string): string {
  return `${from} > ${to}`;
}

/** Returns the two ends of a key of `pairKey`. */
export function endsOf(key: string): readonly [string, string] {
  const [from = '', to = ''] = key.split(' > ');
  return [from, to];
}

/** Reads the members and pairs of a map with all hubs as members like others. */
export function readStructure(map: MapAnswer): Structure {
  return structureOf(map, new Set());
}

/**
 * Reads the members and pairs of a map without its hubs and their links. Members without a link are left out,
 * and so are groups of which nothing but hubs is left.
 */
export function foldHubs(map: MapAnswer): Structure {
  return structureOf(map, new Set(map.hubs.map(({ workload }) => workload)));
}

function structureOf(map: MapAnswer, folded: ReadonlySet<number>): Structure {
  const { links } = map;
  const linked = new Set([...links.from, ...links.to]);
  const all = readMembers(map);
  const byPair = new Map<string, { from: Member; to: Member; links: number[] }>();
  for (const [link, fromIndex] of links.from.entries()) {
    const toIndex = links.to[link]!;
    if (folded.has(fromIndex) || folded.has(toIndex)) continue;
    const from = all[fromIndex];
    const to = all[toIndex];
    if (!from || !to) continue;
    const key = pairKey(from.id, to.id);
    const pair = byPair.get(key);
    if (pair) pair.links.push(link);
    else byPair.set(key, { from, to, links: [link] });
  }
  const pairs = [...byPair].map(([key, pair]) => ({ key, ...pair }));
  const drawn = new Set(pairs.flatMap(({ from, to }) => [from.group, to.group]));
  const members = all.filter(
    ({ group }, index) => linked.has(index) && !folded.has(index) && drawn.has(group),
  );
  const groups = map.namespaces.name.flatMap((name, namespace): Group[] => {
    const mine = members.filter(({ group }) => group === name);
    if (mine.length === 0) return [];
    const workloads = all.reduce(
      (sum, member) => sum + (member.group === name ? member.workloads : 0),
      0,
    );
    return [
      { name, isOutside: map.namespaces.outside[namespace] ?? false, members: mine, workloads },
    ];
  });
  return {
    groups,
    members: new Map(members.map((member) => [member.id, member])),
    pairs,
    hubs: [...folded].length > 0 ? readHubs(map, all) : [],
  };
}

function readMembers({ namespaces, workloads }: MapAnswer): Member[] {
  return workloads.name.map((name, index) => {
    const group = namespaces.name[workloads.namespace[index]!] ?? '';
    return {
      id: `${group}/${name}`,
      ...{ group, name, kind: kindLetters[workloads.kind[index] ?? ''] ?? 'Pod' },
      ...{ pods: workloads.pods[index] ?? 0, workloads: workloads.workloads[index] ?? 1 },
    };
  });
}

function readHubs({ hubs, links }: MapAnswer, members: readonly Member[]): Hub[] {
  return hubs.flatMap(({ workload, ...hub }) => {
    const member = members[workload];
    if (!member) return [];
    const mine = links.from.flatMap((from, link) =>
      from === workload || links.to[link] === workload ? [link] : [],
    );
    return [{ ...hub, member, links: mine }];
  });
}

/** Rates per second: new connections that were forwarded, and packets that were dropped or refused. */
export interface Rates {
  readonly forwarded: number;
  readonly dropped: number;
  readonly refused: number;
  readonly audit: number;
}

export const noRates: Rates = { forwarded: 0, dropped: 0, refused: 0, audit: 0 };

/** Returns the sum of the rates of some links. */
export function sumLinks(links: MapLinks, indexes: readonly number[]): Rates {
  let forwarded = 0;
  let dropped = 0;
  let refused = 0;
  let audit = 0;
  for (const link of indexes) {
    forwarded += links.forwarded[link] ?? 0;
    dropped += links.dropped[link] ?? 0;
    refused += links.refused[link] ?? 0;
    audit += links.audit[link] ?? 0;
  }
  return { forwarded, dropped, refused, audit };
}

/** Returns the sum of two rates. */
export function addRates(one: Rates, other: Rates): Rates {
  return {
    forwarded: one.forwarded + other.forwarded,
    dropped: one.dropped + other.dropped,
    refused: one.refused + other.refused,
    audit: one.audit + other.audit,
  };
}

/** The rates of one member: what it is asked for, and what it asks others for. */
export interface MemberRates {
  readonly in: Rates;
  readonly out: Rates;
}

/** The rates of a structure: by the key of a pair and by the id of a member. */
export interface StructureRates {
  readonly pairs: ReadonlyMap<string, Rates>;
  readonly members: ReadonlyMap<string, MemberRates>;
}

/** Returns the rates of all pairs and members, hub links included for the members. */
export function ratesOf({ pairs, hubs, members }: Structure, map: MapAnswer): StructureRates {
  const byPair = new Map<string, Rates>();
  const byMember = new Map<string, MemberRates>();
  const add = (id: string, side: 'in' | 'out', rates: Rates) => {
    const sums = byMember.get(id) ?? { in: noRates, out: noRates };
    byMember.set(id, { ...sums, [side]: addRates(sums[side], rates) });
  };
  for (const { key, from, to, links } of pairs) {
    const rates = sumLinks(map.links, links);
    byPair.set(key, rates);
    add(from.id, 'out', rates);
    add(to.id, 'in', rates);
  }
  addTroubleWithHubs();
  return { pairs: byPair, members: byMember };

  /** Counts what is dropped between a member and a hub: the hub is not drawn, but its trouble is. */
  function addTroubleWithHubs(): void {
    const all = readMembers(map);
    for (const link of new Set(hubs.flatMap((hub) => hub.links))) {
      const rates = { ...sumLinks(map.links, [link]), forwarded: 0 };
      if (rates.dropped + rates.refused + rates.audit === 0) continue;
      const from = all[map.links.from[link]!]?.id ?? '';
      const to = all[map.links.to[link]!]?.id ?? '';
      if (members.has(from)) add(from, 'out', rates);
      if (members.has(to)) add(to, 'in', rates);
    }
  }
}
