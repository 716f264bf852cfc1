import type {
  ChangedLink,
  ChangesAnswer,
  ClusterEvent,
  Counts,
  DropsAnswer,
  FindAnswer,
  Hello,
  NodesAnswer,
  Timeline,
  ValuesAnswer,
} from '@heddle/web/contract';
import { compileFilter, parseFilter } from '@heddle/web/filter';
import { type InventedCluster, type InventedLink, nameOf, partyOf } from './cluster.ts';
import { dropKind, type InventedKind, inventedKinds } from './drops.ts';
import type { FlowSource } from './flows.ts';
import { troubleMinutes } from './shop.ts';

const minute = 60_000;

/** Sentences about what no set-up observes. */
export const never = [
  'traffic of a pod with itself',
  'traffic between processes of one node outside of pods',
];

/** Faults that a test can switch on. */
export interface Faults {
  missingNodes: number;
  isWithoutFlows: boolean;
  /** The stream says nothing, though it is open. */
  isSilent: boolean;
  version: string;
}

/** A relay with an invented cluster, whose answers follow from the cluster and the time. */
export class ScriptedRelay {
  readonly cluster: InventedCluster;
  readonly kinds: readonly InventedKind[];
  readonly faults: Faults = {
    ...{ missingNodes: 0, isWithoutFlows: false, isSilent: false, version: '0.3.0' },
  };
  readonly #now: () => number;
  readonly #scale: number;

  /** With `flowsPerSecond`, the rates of all links are scaled to that sum. */
  constructor(cluster: InventedCluster, now: () => number, flowsPerSecond?: number) {
    this.cluster = cluster;
    this.kinds = inventedKinds(cluster);
    this.#now = now;
    const forwarded = cluster.links.reduce((sum, link) => sum + link.forwarded, 0);
    this.#scale = flowsPerSecond === undefined ? 1 : flowsPerSecond / forwarded;
  }

  get now(): number {
    return this.#now();
  }

  get keptSince(): number {
    return this.now - 24 * 60 * minute;
  }

  get flowsPerSecond(): number {
    const all = this.sources('').reduce((sum, { rate }) => sum + rate, 0);
    return Math.round(all);
  }

  hello(): Hello {
    const { cluster, now, keptSince } = this;
    return {
      ...{ version: this.faults.version, cluster: cluster.name, run: 'r1', now },
      keptSince: { links: keptSince, flows: now - 20 * minute },
      nodes: this.nodeCount(),
      features: ['dns', 'policy'],
      limits: { links: 20_000, historyBytes: 64 * 2 ** 20 },
    };
  }

  nodeCount() {
    const all = this.cluster.nodes.length;
    return { seen: all - this.faults.missingNodes, all };
  }

  counts(): Counts {
    const isNow = ({ link }: InventedKind) => link.last <= 1;
    return {
      ...{ now: this.now, flowsPerSecond: this.flowsPerSecond, lost: 0, nodes: this.nodeCount() },
      drops: this.kinds.filter(isNow).map(({ id }) => id),
    };
  }

  /** Returns the links that a filter lets through, with the drops of each. */
  links(filter: string): InventedLink[] {
    const { now, kinds } = this;
    const match = compileFilter(parseFilter(filter), now);
    return this.cluster.links.filter((link) => {
      const kind = kinds.find((each) => each.link === link);
      const direction = kind?.direction ?? 'ingress';
      return match({
        ...{ from: partyOf(link.from), to: partyOf(link.to) },
        service: link.to.namespace === '' ? '' : nameOf(link.to),
        ...{ protocol: link.protocol, port: link.port, reason: kind?.reason ?? 0 },
        verdict: link.dropped > 0 ? 'dropped' : link.refused > 0 ? 'refused' : 'forwarded',
        rules: kind?.rules ?? allowedBy(link),
        firstSeen: now - link.first * minute,
        flow: { direction, flags: 2, node: link.to.pods[0]?.node ?? link.from.pods[0]?.node ?? '' },
      });
    });
  }

  /** Returns the links of a filter with their rates, as the sources of single flows. */
  sources(filter: string): FlowSource[] {
    if (this.faults.isWithoutFlows) return [];
    return this.links(filter)
      .filter(({ last }) => last <= 1)
      .map((link) => {
        const kind = this.kinds.find((each) => each.link === link);
        const drops = link.dropped + link.refused;
        return kind ? { link, kind, rate: drops } : { link, rate: link.forwarded * this.#scale };
      });
  }

  drops(filter: string, from: number, to: number): DropsAnswer {
    const wanted = new Set(this.links(filter));
    const kinds = this.kinds
      .filter(({ link }) => wanted.has(link))
      .map((kind) => dropKind(kind, this.now, from))
      .filter(({ packets }) => packets > 0)
      .sort((one, other) => other.now - one.now || other.packets - one.packets);
    return { from, to, kinds, left: { kinds: 0, packets: 0 } };
  }

  timeline(filter: string, from: number, to: number, step: number): Timeline {
    const links = this.links(filter);
    const sum = (value: (link: InventedLink) => number) =>
      links.reduce((all, link) => all + value(link), 0);
    const forwarded = sum((link) => link.forwarded);
    const buckets = Array.from({ length: Math.ceil((to - from) / step / 1000) }, (_, index) => {
      const at = from + index * step * 1000;
      const day = 0.75 + 0.25 * Math.sin(at / 3.6e6) + 0.04 * Math.sin(at / 4.1e5);
      const isKept = at + step * 1000 > this.keptSince;
      const minutes = (this.now - at) / minute;
      const during = (value: (link: InventedLink) => number) =>
        sum((link) => (link.first >= minutes && link.last <= minutes ? value(link) : 0));
      return {
        forwarded: isKept ? forwarded * day : null,
        dropped: isKept ? during((link) => link.dropped) : null,
        refused: isKept ? during((link) => link.refused) : null,
      };
    });
    return {
      ...{ from, step },
      forwarded: buckets.map((bucket) => bucket.forwarded),
      dropped: buckets.map((bucket) => bucket.dropped),
      refused: buckets.map((bucket) => bucket.refused),
      lost: buckets.map(() => 0),
    };
  }

  events(): ClusterEvent[] {
    const { now } = this;
    const at = now - troubleMinutes * minute;
    const subject = this.cluster.workloads[3]!;
    return [
      {
        id: 'e1',
        at: at - 6000,
        lane: 'rollout',
        subject: 'shop/checkout',
        text: 'Rollout of shop/checkout, revision 41',
      },
      {
        id: 'e2',
        at: at - 40 * minute,
        lane: 'policy',
        subject: 'payments/ledger-ingress',
        text: 'NetworkPolicy payments/ledger-ingress changed',
      },
      {
        id: 'e3',
        at: now - 12.2 * minute,
        lane: 'service',
        subject: 'web/storefront-canary',
        text: 'Service web/storefront-canary lost its last endpoint',
      },
      {
        id: 'e4',
        at: now - 300 * minute,
        lane: 'rollout',
        subject: nameOf(subject),
        text: `Rollout of ${nameOf(subject)}`,
      },
      {
        id: 'e5',
        at: now - 190 * minute,
        lane: 'node',
        subject: this.cluster.nodes[0]!,
        text: `The agent on ${this.cluster.nodes[0]} restarted`,
      },
    ];
  }

  changes(filter: string, a: ChangesAnswer['a'], b: ChangesAnswer['b']): ChangesAnswer {
    const links = this.links(filter);
    const rollout = this.events()[0]!;
    const began = (link: InventedLink) => this.now - link.first * minute;
    const changed = links.flatMap((link): ChangedLink[] => {
      const isNew = began(link) > a.to && began(link) < b.to;
      const isGone = link.last > (this.now - b.from) / minute;
      if (!isNew && !isGone) return [];
      const rates = { forwarded: link.forwarded, dropped: link.dropped, refused: link.refused };
      const none = { forwarded: 0, dropped: 0, refused: 0 };
      const change = isGone ? 'gone' : link.dropped ? 'dropped' : link.refused ? 'refused' : 'new';
      const seconds = Math.round((began(link) - rollout.at) / 1000);
      return [
        {
          ...{ change, from: partyOf(link.from), to: partyOf(link.to) },
          ...{ protocol: link.protocol, port: link.port },
          ...{ a: isNew ? none : rates, b: isGone ? none : rates },
          began: isGone ? this.now - link.last * minute : began(link),
          ...(seconds >= 0 && seconds < 120 ? { event: { event: rollout, seconds } } : {}),
        },
      ];
    });
    return { a, b, links: changed, asBefore: links.length - changed.length, left: 0 };
  }

  find(text: string): FindAnswer {
    const results = this.cluster.workloads.flatMap((workload) => {
      const name = nameOf(workload);
      const where = workload.namespace === '' ? 'outside' : 'workload';
      const pods = workload.pods
        .filter((pod) => pod.name.includes(text) || pod.address === text)
        .slice(0, 2)
        .map((pod) => ({
          ...{ kind: 'pod' as const, name: `${workload.namespace}/${pod.name}` },
          detail: `pod on ${pod.node}, ${pod.address}`,
          ...{
            route: `#/pod/${workload.namespace}/${pod.name}`,
            word: `with:${workload.namespace}/${pod.name}`,
          },
        }));
      if (!name.includes(text)) return pods;
      const kind = workload.namespace === '' ? ('host' as const) : ('workload' as const);
      const detail = `${workload.kind}, ${workload.pods.length} pods`;
      return [{ kind, name, detail, route: `#/${where}/${name}`, word: `with:${name}` }, ...pods];
    });
    return { results: text === '' ? [] : results.slice(0, 12) };
  }

  values(key: string, prefix: string): ValuesAnswer {
    const counts = new Map<string, number>();
    for (const link of this.cluster.links) {
      for (const value of new Set(valuesOf(link, key))) {
        counts.set(value, (counts.get(value) ?? 0) + 1);
      }
    }
    const values = [...counts]
      .filter(([value]) => value.startsWith(prefix) && value !== '')
      .map(([value, count]) => ({ value, count }))
      .sort((one, other) => other.count - one.count);
    return { values: values.slice(0, 20) };
  }

  nodes(): NodesAnswer {
    const { cluster, faults, now, flowsPerSecond } = this;
    const nodes = cluster.nodes.map((name, index): NodesAnswer['nodes'][number] => {
      const isMissing = index < faults.missingNodes;
      return {
        ...{ name, state: isMissing ? 'unavailable' : 'connected', version: '0.3.0' },
        text: isMissing ? 'The connection was refused.' : '',
        since: now - (isMissing ? 6 : 1400) * minute,
        flowsPerSecond: isMissing ? 0 : Math.round(flowsPerSecond / cluster.nodes.length),
        ...{ lost24h: index === 2 ? 1240 : 0, clock: [0.4, -1.2, 0.1, 2.2][index % 4]! },
        ...(index === 2 ? { lastLost: now - 178 * minute } : {}),
        keptSince: now - 20 * minute,
        pods: cluster.workloads.flatMap(({ pods }) => pods).filter(({ node }) => node === name)
          .length,
        tables: [
          { name: 'flows', used: 9_000 + index * 811, size: 65_536 },
          { name: 'policy rules', used: 212, size: 4_096 },
        ],
      };
    });
    return { nodes, never };
  }
}

function allowedBy({ allowedBy: policy }: InventedLink) {
  return policy
    ? [{ policy, rule: 1, direction: 'ingress' as const, relation: 'allowed' as const }]
    : [];
}

function valuesOf(link: InventedLink, key: string): string[] {
  switch (key) {
    case 'ns':
      return [link.from.namespace, link.to.namespace];
    case 'from':
      return [nameOf(link.from)];
    case 'to':
      return [nameOf(link.to)];
    case 'with':
      return [nameOf(link.from), nameOf(link.to)];
    case 'port':
      return [String(link.port)];
    case 'verdict':
      return [link.dropped > 0 ? 'dropped' : link.refused > 0 ? 'refused' : 'forwarded'];
    default:
      return [];
  }
}
