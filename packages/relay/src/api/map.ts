import { kindLetters, type MapAnswer, type MapDelta, type MapLinks } from '@heddle/web/contract';
import { noSums } from '../traffic/links.ts';
import type { LinkRow, Workload } from '../traffic/model.ts';
import { rate, rowsOf, secondsOf, type View } from './view.ts';

/** The form of a map. */
export interface MapForm {
  readonly level: 'ns' | 'workload';
  readonly open: readonly string[];
}

/** The links of a map; weaker ones are summed up in `left`. */
export const linksMax = 20_000;
/** A workload that more than this share of all workloads calls, or that calls it, is a hub. */
const hubShare = 0.6;
/** With fewer workloads than this there are no hubs. */
const hubLeast = 5;

const letterOf = Object.fromEntries(
  Object.entries(kindLetters).map(([letter, kind]) => [kind, letter]),
);

/** Reads the form of a map from the parameters of a request. */
export function mapForm(parameters: URLSearchParams): MapForm {
  return {
    level: parameters.get('level') === 'ns' ? 'ns' : 'workload',
    open: (parameters.get('open') ?? '').split(',').filter((name) => name !== ''),
  };
}

interface Sum {
  readonly from: number;
  readonly to: number;
  readonly protocol: number;
  port: number;
  forwarded: number;
  dropped: number;
  refused: number;
  audit: number;
  bytesOut: number;
  bytesIn: number;
  last: number;
}

/** Returns the map of a view. */
export function mapOf(view: View, form: MapForm, seq: number): MapAnswer {
  const rows = rowsOf(view).filter(({ last }) => last >= view.from);
  const table = new NodeTable(form, new Set(rows.map(({ from }) => from)));
  const sums = new Map<string, Sum>();
  for (const row of rows) {
    const values = noSums();
    row.buckets.sum(view.tier, view.from, view.to, values);
    if (values.count === 0 && values.bytesIn === 0 && values.bytesOut === 0) continue;
    const [from, to] = [table.index(row.from), table.index(row.to)];
    const isShort = form.level === 'ns';
    const key = isShort
      ? `${from} ${to} ${row.protocol}`
      : `${from} ${to} ${row.protocol} ${row.port}`;
    const sum = sums.get(key) ?? newSum(from, to, row);
    sums.set(key, sum);
    if (sum.port !== row.port) sum.port = 0;
    sum[row.verdict] += values.count;
    sum.bytesOut += values.bytesOut;
    sum.bytesIn += values.bytesIn;
    sum.last = Math.max(sum.last, row.last);
  }
  const all = [...sums.values()].sort((a, b) => weight(b) - weight(a));
  const kept = all.slice(0, linksMax);
  const left = all.slice(linksMax);
  const { traffic } = view;
  return {
    ...{
      seq,
      from: Math.max(view.from, Math.min(traffic.keptSince, view.to)),
      to: Math.min(view.to, view.now),
    },
    ...table.columns(),
    links: columnsOf(kept, view),
    hubs: form.level === 'ns' ? [] : hubsOf(rows, table),
    left: {
      links: left.length + traffic.links.left.links,
      connections:
        left.reduce((sum, each) => sum + each.forwarded, 0) + traffic.links.left.connections,
    },
  };
}

function newSum(from: number, to: number, { protocol, port }: LinkRow): Sum {
  const counts = { forwarded: 0, dropped: 0, refused: 0, audit: 0, bytesOut: 0, bytesIn: 0 };
  return { from, to, protocol, port, ...counts, last: 0 };
}

/** Links with drops are kept before those without. */
function weight({ forwarded, dropped, refused, audit }: Sum): number {
  return forwarded + (dropped + refused + audit > 0 ? 1e12 : 0);
}

function columnsOf(sums: readonly Sum[], view: View): MapLinks {
  const seconds = secondsOf(view);
  const rates = (field: 'forwarded' | 'dropped' | 'refused' | 'audit' | 'bytesOut' | 'bytesIn') =>
    sums.map((sum) => rate(sum[field], seconds));
  const end = Math.min(view.to, view.now);
  return {
    from: sums.map(({ from }) => from),
    to: sums.map(({ to }) => to),
    protocol: sums.map(({ protocol }) => protocol),
    port: sums.map(({ port }) => port),
    ...{ forwarded: rates('forwarded'), dropped: rates('dropped'), refused: rates('refused') },
    ...{ audit: rates('audit'), bytesOut: rates('bytesOut'), bytesIn: rates('bytesIn') },
    last: sums.map(({ last }) => Math.max(0, Math.round((end - last) / 1000))),
  };
}

/** The namespaces and workloads of a map in the order in which links name them. */
class NodeTable {
  readonly #form: MapForm;
  /** Workloads that call others: outside of the cluster they are clients. */
  readonly #callers: ReadonlySet<Workload>;
  readonly #namespaces = new Map<string, number>();
  readonly #indexes = new Map<string, number>();
  readonly #nodes: { namespace: number; name: string; kind: string; members: Set<Workload> }[] = [];

  constructor(form: MapForm, callers: ReadonlySet<Workload>) {
    this.#form = form;
    this.#callers = callers;
  }

  index(workload: Workload): number {
    const space = this.#spaceOf(workload);
    const isOpen = this.#form.level === 'workload' || this.#form.open.includes(space);
    const key = isOpen ? `w${workload.id}` : `n${space}`;
    const known = this.#indexes.get(key);
    if (known !== undefined) {
      this.#nodes[known]!.members.add(workload);
      return known;
    }
    const namespace = this.#namespaces.get(space) ?? this.#namespaces.size;
    this.#namespaces.set(space, namespace);
    const index = this.#nodes.length;
    const name = isOpen ? workload.name : '';
    const members = new Set([workload]);
    this.#nodes.push({ namespace, name, kind: letterOf[workload.kind]!, members });
    this.#indexes.set(key, index);
    return index;
  }

  columns(): Pick<MapAnswer, 'namespaces' | 'workloads'> {
    const names = [...this.#namespaces.keys()];
    const pods = (members: ReadonlySet<Workload>) =>
      [...members].reduce((sum, { pods: own }) => sum + own.size, 0);
    return {
      namespaces: { name: names, outside: names.map((name) => name.startsWith('outside: ')) },
      workloads: {
        namespace: this.#nodes.map(({ namespace }) => namespace),
        name: this.#nodes.map(({ name }) => name),
        kind: this.#nodes.map(({ kind }) => kind).join(''),
        pods: this.#nodes.map(({ members }) => pods(members)),
        workloads: this.#nodes.map(({ members }) => members.size),
      },
    };
  }

  /** The number of workloads in the cluster that links name. */
  get inCluster(): number {
    return this.#nodes.filter(({ kind }) => 'DSAJP'.includes(kind)).length;
  }

  #spaceOf(workload: Workload): string {
    if (workload.namespace !== '') return workload.namespace;
    if (workload.kind !== 'Outside') return 'nodes';
    return this.#callers.has(workload) ? 'outside: clients' : 'outside: servers';
  }
}

function hubsOf(rows: readonly LinkRow[], table: NodeTable): MapAnswer['hubs'] {
  const of = table.inCluster;
  if (of < hubLeast) return [];
  const hubs = (direction: 'called' | 'calls') => {
    const others = new Map<Workload, { peers: Set<Workload>; ports: Map<number, number> }>();
    for (const { from, to, port, verdict } of rows) {
      const [own, other] = direction === 'called' ? [to, from] : [from, to];
      if (other.namespace === '' || own.kind === 'Outside' || verdict !== 'forwarded') continue;
      const entry = others.get(own) ?? { peers: new Set(), ports: new Map() };
      entry.peers.add(other);
      entry.ports.set(port, (entry.ports.get(port) ?? 0) + 1);
      others.set(own, entry);
    }
    return [...others].flatMap(([workload, { peers, ports }]) => {
      if (peers.size <= of * hubShare) return [];
      const [[port]] = [...ports].sort((a, b) => b[1] - a[1]) as [[number, number]];
      return [{ workload: table.index(workload), direction, port, count: peers.size, of }];
    });
  };
  return [...hubs('called'), ...hubs('calls')];
}

const valueColumns = [
  ...(['forwarded', 'dropped', 'refused', 'audit', 'bytesOut', 'bytesIn', 'last'] as const),
];

/** Returns the changes from one map to the next, or undefined if their links are not the same. */
export function mapDelta(before: MapAnswer, after: MapAnswer): MapDelta | undefined {
  const isSame = (one: readonly unknown[], other: readonly unknown[]) =>
    one.length === other.length && one.every((each, index) => each === other[index]);
  const isSameShape =
    (['from', 'to', 'protocol', 'port'] as const).every((name) =>
      isSame(before.links[name], after.links[name]),
    ) &&
    isSame(before.workloads.name, after.workloads.name) &&
    isSame(before.workloads.pods, after.workloads.pods) &&
    isSame(before.namespaces.name, after.namespaces.name);
  if (!isSameShape) return undefined;
  const link = after.links.from.flatMap((_, index) =>
    valueColumns.some((name) => before.links[name][index] !== after.links[name][index])
      ? [index]
      : [],
  );
  const columns = valueColumns.filter((name) =>
    link.some((index) => before.links[name][index] !== after.links[name][index]),
  );
  return {
    ...{ seq: after.seq, base: before.seq, from: after.from, to: after.to, link },
    ...Object.fromEntries(
      columns.map((name) => [name, link.map((index) => after.links[name][index]!)]),
    ),
  };
}

/** Returns the map with its links in the order of an earlier one, so that its changes are few. */
export function inOrderOf(before: MapAnswer | undefined, after: MapAnswer): MapAnswer {
  if (!before || before.links.from.length !== after.links.from.length) return after;
  const key = ({ links, workloads, namespaces }: MapAnswer, index: number) => {
    const end = (workload: number) =>
      `${namespaces.name[workloads.namespace[workload]!]}/${workloads.name[workload]}/${workloads.kind[workload]}`;
    return `${end(links.from[index]!)} ${end(links.to[index]!)} ${links.protocol[index]} ${links.port[index]}`;
  };
  const places = new Map(after.links.from.map((_, index) => [key(after, index), index]));
  const order = before.links.from.map((_, index) => places.get(key(before, index)));
  if (order.some((index) => index === undefined)) return after;
  const nodes = (map: MapAnswer) =>
    map.workloads.name.map(
      (name, index) =>
        `${map.namespaces.name[map.workloads.namespace[index]!]}/${name}/${map.workloads.kind[index]}`,
    );
  const [own, earlier] = [nodes(after), nodes(before)];
  if (own.length !== earlier.length) return after;
  const positions = new Map(earlier.map((name, index) => [name, index]));
  const moved = own.map((name) => positions.get(name));
  if (moved.some((index) => index === undefined)) return after;
  const inverse = earlier.map((name) => own.indexOf(name));
  const links = Object.fromEntries(
    Object.entries(after.links).map(([name, values]) => [
      name,
      order.map((index) => {
        const value = values[index!]!;
        return name === 'from' || name === 'to' ? moved[value]! : value;
      }),
    ]),
  ) as unknown as MapLinks;
  return {
    ...after,
    namespaces: before.namespaces,
    workloads: {
      namespace: before.workloads.namespace,
      name: before.workloads.name,
      kind: before.workloads.kind,
      pods: inverse.map((index) => after.workloads.pods[index]!),
      workloads: inverse.map((index) => after.workloads.workloads[index]!),
    },
    links,
    hubs: after.hubs.map((hub) => ({ ...hub, workload: moved[hub.workload]! })),
  };
}
