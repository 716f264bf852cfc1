import { kindLetters, type MapAnswer, type MapDelta } from '@heddle/web/contract';
import type { InventedCluster, InventedLink, InventedWorkload } from './cluster.ts';
import { seededRandom } from './random.ts';

/** The parameters of a map. */
export interface MapWish {
  readonly links: readonly InventedLink[];
  readonly level: 'ns' | 'workload';
  readonly open: readonly string[];
  readonly from: number;
  readonly to: number;
}

const letterOf = Object.fromEntries(
  Object.entries(kindLetters).map(([letter, kind]) => [kind, letter]),
);

/** Returns the map of a cluster's links; rates vary a little from one sequence number to the next. */
export function mapOf(cluster: InventedCluster, wish: MapWish, seq: number): MapAnswer {
  const spaces = [...new Set(cluster.workloads.map((each) => spaceOf(cluster, each)))];
  const isOpen = (space: string) => wish.level === 'workload' || wish.open.includes(space);
  const shown = new Map<InventedWorkload, number>();
  const rows: { namespace: number; name: string; kind: string; pods: number; workloads: number }[] =
    [];
  for (const [namespace, space] of spaces.entries()) {
    const members = cluster.workloads.filter((each) => spaceOf(cluster, each) === space);
    if (!isOpen(space)) {
      for (const member of members) shown.set(member, rows.length);
      const pods = members.reduce((sum, each) => sum + each.pods.length, 0);
      rows.push({
        namespace,
        name: '',
        kind: letterOf[members[0]!.kind]!,
        pods,
        workloads: members.length,
      });
      continue;
    }
    for (const member of members) {
      shown.set(member, rows.length);
      const { name, kind, pods } = member;
      rows.push({ namespace, name, kind: letterOf[kind]!, pods: pods.length, workloads: 1 });
    }
  }
  return {
    ...{ seq, from: wish.from, to: wish.to },
    namespaces: { name: spaces, outside: spaces.map((space) => space.startsWith('outside: ')) },
    workloads: {
      namespace: rows.map((row) => row.namespace),
      name: rows.map((row) => row.name),
      kind: rows.map((row) => row.kind).join(''),
      pods: rows.map((row) => row.pods),
      workloads: rows.map((row) => row.workloads),
    },
    links: linksOf(wish, shown, seq),
    hubs: hubsOf(cluster, wish, shown),
    left: { links: 0, connections: 0 },
  };
}

function spaceOf({ links }: InventedCluster, workload: InventedWorkload): string {
  if (workload.namespace !== '') return workload.namespace;
  return links.some(({ from }) => from === workload) ? 'outside: clients' : 'outside: servers';
}

function linksOf(wish: MapWish, shown: ReadonlyMap<InventedWorkload, number>, seq: number) {
  const random = seededRandom(seq);
  const sums = new Map<string, { ends: readonly [number, number]; links: InventedLink[] }>();
  for (const link of wish.links) {
    const ends = [shown.get(link.from)!, shown.get(link.to)!] as const;
    const port = wish.level === 'workload' ? link.port : '';
    const key = `${ends.join('>')}:${port}`;
    const sum = sums.get(key) ?? { ends, links: [] };
    sum.links.push(link);
    sums.set(key, sum);
  }
  const all = [...sums.values()].filter(
    ({ ends, links }) => ends[0] !== ends[1] || links.length > 0,
  );
  const total = (links: readonly InventedLink[], value: (link: InventedLink) => number) =>
    Number(links.reduce((sum, link) => sum + value(link), 0).toPrecision(3));
  const column = (value: (link: InventedLink) => number) =>
    all.map(({ links }) => total(links, value));
  const isNow = ({ last }: InventedLink) => (last > 1 ? 0 : 1);
  const wave = 0.9 + random() * 0.2;
  return {
    from: all.map(({ ends }) => ends[0]),
    to: all.map(({ ends }) => ends[1]),
    protocol: all.map(({ links }) => links[0]!.protocol),
    port: all.map(({ links }) =>
      new Set(links.map(({ port }) => port)).size > 1 ? 0 : links[0]!.port,
    ),
    forwarded: column((link) => link.forwarded * wave * isNow(link)),
    dropped: column((link) => link.dropped * isNow(link)),
    refused: column((link) => link.refused * isNow(link)),
    audit: all.map(() => 0),
    bytesOut: column((link) => link.forwarded * link.bytesOut),
    bytesIn: column((link) => link.forwarded * link.bytesIn),
    last: all.map(({ links }) => Math.min(...links.map(({ last }) => last * 60))),
  };
}

function hubsOf(
  { workloads }: InventedCluster,
  { links, level }: MapWish,
  shown: ReadonlyMap<InventedWorkload, number>,
): MapAnswer['hubs'] {
  if (level === 'ns') return [];
  const of = workloads.filter(({ pods }) => pods.length > 0).length;
  return (['called', 'calls'] as const).flatMap((direction) =>
    workloads.flatMap((workload) => {
      const mine = links.filter(
        (link) => (direction === 'called' ? link.to : link.from) === workload,
      );
      const others = new Set(mine.map((link) => (direction === 'called' ? link.from : link.to)));
      if (others.size <= of * 0.6) return [];
      const port = mine[0]!.port;
      return [{ workload: shown.get(workload)!, direction, port, count: others.size, of }];
    }),
  );
}

/** Returns what changed from one map to the next of the same links. */
export function deltaOf(before: MapAnswer, after: MapAnswer): MapDelta {
  const link = after.links.forwarded.flatMap((rate, index) =>
    rate === before.links.forwarded[index] ? [] : [index],
  );
  return {
    ...{ seq: after.seq, base: before.seq, from: after.from, to: after.to, link },
    forwarded: link.map((index) => after.links.forwarded[index]!),
  };
}
