import type { SiteName } from '../sites.ts';
import { type Case, type Row, type Verdict, verdict } from './case.ts';
import { type LatencyPlan, measureLatency } from './latency.ts';

type Kind = LatencyPlan['kind'];

/** A variant, and the largest ratio to another variant that is good enough. */
interface Target {
  readonly what: string;
  readonly variant: string;
  readonly to: string;
  readonly atMost: number;
}

interface PodsCase extends Pick<Case, 'name' | 'about'> {
  readonly site: SiteName;
  readonly kind: Kind;
  readonly sizes: readonly number[];
  readonly commands?: readonly string[];
  /** The congestion control that the client chooses. Default: the node's. */
  readonly congestionControl?: string;
  readonly targets: readonly Target[];
}

const direct = (atMost: number): Target => ({
  ...{ what: 'pod to pod / kernel routing', variant: 'heddle direct', to: 'direct', atMost },
});
const blocks = {
  connect: { blocks: 16, blockSize: 24 },
  exchange: { blocks: 16, blockSize: 44 },
  transfer: { blocks: 8, blockSize: 12 },
} as const;

/** Pods whose network is Heddle, beside the kernel's routing between veth pairs. */
export const podsCases: readonly Case[] = [
  podsCase({
    ...{ name: 'pods', site: 'pods', kind: 'connect', sizes: [10, 5_000] },
    about: 'connect + request + close between pods of a node whose network is Heddle',
    targets: [
      direct(0.92),
      { what: 'through a service', variant: 'heddle service', to: 'direct', atMost: 0.935 },
      {
        what: 'another service each time',
        variant: 'heddle any service',
        to: 'direct',
        atMost: 0.95,
      },
    ],
  }),
  podsCase({
    ...{ name: 'pods-exchange', site: 'pods', kind: 'exchange', sizes: [10] },
    about: 'request + response on an open connection between pods of a node',
    targets: [direct(0.92)],
  }),
  podsCase({
    ...{ name: 'pods-transfer', site: 'pods', kind: 'transfer', sizes: [10] },
    about: '1 MB on an open connection between pods of a node, with cubic',
    congestionControl: 'cubic',
    targets: [direct(0.7)],
  }),
  podsCase({
    ...{ name: 'pods-transfer-default', site: 'pods', kind: 'transfer', sizes: [10] },
    about: "the same with the node's congestion control",
    targets: [direct(0.4)],
  }),
  podsCase({
    ...{ name: 'pods-nodes', site: 'pods-nodes', kind: 'connect', sizes: [10] },
    about: 'connect + request + close between pods of two nodes on one link',
    targets: [direct(0.97)],
  }),
  podsCase({
    ...{ name: 'pods-world', site: 'pods-world', kind: 'connect', sizes: [10] },
    about: "connect + request + close from a pod to a host that sees the node's address",
    commands: ['nft'],
    targets: [
      {
        what: 'masqueraded / masqueraded by nftables',
        ...{ variant: 'heddle direct', to: 'nftables direct', atMost: 0.85 },
      },
    ],
  }),
];

function podsCase({ name, about, site, kind, commands = [], ...rest }: PodsCase): Case {
  return {
    ...{ name, about, site, commands },
    sizes: (quick) => (quick ? rest.sizes.slice(0, 1) : rest.sizes),
    async measure(world, size, quick) {
      const { variants } = await world.install(size);
      const wanted =
        kind === 'connect' ? variants : variants.filter(({ aim }) => aim.kind !== 'any service');
      const rows = await measureLatency(world, wanted, {
        ...{ kind, case: name, size, rounds: quick ? 10 : 40, ...blocks[kind] },
        ...(rest.congestionControl && { congestionControl: rest.congestionControl }),
      });
      return { rows, verdicts: verdictsOf(rows, rest.targets), notes: [] };
    },
  };
}

function verdictsOf(rows: readonly Row[], targets: readonly Target[]): Verdict[] {
  return targets.map(({ what, variant, to, atMost }) => {
    const ratio = (name: string) => rows.find((row) => row.variant === name)!.ratioToDirect!;
    const { case: name, size } = rows[0]!;
    return verdict({ case: name, size, what }, ratio(variant) / ratio(to), { atMost }, '', 3);
  });
}
