import { setTimeout as sleep } from 'node:timers/promises';
import type { Platform } from '@heddle/sys';
import { median, spread } from '../statistics.ts';
import { type FloodKind, floodKinds } from '../traffic/flood-frames.ts';
import type { Share, Visits } from '../traffic/legitimate-client.ts';
import type { Flooded } from '../variants/flooded.ts';
import { type Case, type Findings, type Row, type Verdict, verdict } from './case.ts';
import { Flooder, FloodStage, floodTargets, openOneArmed } from './floods-stage.ts';

const name = 'floods';
const size = 4;
const rates = [1_000, 10_000, 100_000] as const;
const kinds = Object.keys(floodKinds) as FloodKind[];
/** The kinds of flood that get no answer on a wire with one end, and so cost there what they cost a node. */
const unanswered: readonly FloodKind[] = kinds.filter((kind) => kind !== 'udp');
/** A flood is measured in its second minute: the packets of the first one come before, this fast. */
const before = { seconds: 60, perSecond: 60_000 } as const;
/** The number of new connections to each of two services, and of datagrams, in a second. */
const visitsPerSecond = 100;
const visiting = { during: 3, after: 2 } as const;
/** New connections are begun in a part of the time, so that those that wait longest do so in the flood. */
const floodSeconds = visiting.during + 2;
const lasting = 20;
/** The pause after a flood of resets. A table that accepted a forged reset has deleted the flow by then. */
const resetRestMs = 12_000;
/** A MAC address of no interface: the node's interface drops frames to it. */
const foreignMac = '02:00:c0:00:02:63';
/** Packets of each kind and round whose cost is measured. */
const costly = 10_000;
const leastShare = 99.9;

/** Legitimate clients during a flood of spoofed packets. */
export const floods: Case = {
  name,
  about:
    'new connections (to the flooded service and another), UDP requests and lasting connections that succeed, in % of those tried',
  commands: ['nft'],
  sizes: () => [size],
  async measure({ platform }, _size, quick) {
    const shares = await measureShares(platform, quick);
    const costs = await measureCosts(platform, quick);
    return {
      rows: [...shares.rows, ...costs.rows],
      verdicts: [...shares.verdicts, ...costs.verdicts],
      notes: [...shares.notes, ...costs.notes],
    };
  },
};

interface Outcome {
  readonly contender: Flooded;
  readonly during: Visits;
  readonly after: Visits;
  readonly sent: number;
}

async function measureShares(platform: Platform, quick: boolean): Promise<Findings> {
  using stage = await FloodStage.open(platform, quick);
  const rows: Row[] = [];
  const verdicts: Verdict[] = [];
  let turn = 0;
  for (const kind of quick ? (['syn'] as const) : kinds) {
    for (const rate of quick ? [10_000] : rates) {
      const order = turn++ % 2 === 0 ? stage.contenders : [...stage.contenders].reverse();
      const outcomes: Outcome[] = [];
      for (const contender of order) outcomes.push(await flooded(stage, contender, kind, rate));
      const what = `${floodKinds[kind]}, ${rate.toLocaleString('en')}/s`;
      console.error(`measured ${name}: ${what}`);
      rows.push(...outcomes.map((outcome) => shareRow(what, outcome)));
      verdicts.push(...shareVerdicts(what, outcomes));
    }
  }
  const rooms = stage.contenders.map((each) => `${each.name} ${each.room.toLocaleString('en')}`);
  return {
    rows,
    verdicts,
    notes: [
      `${name}: sent/s is less than the rate where the packets of a flood take all of a processor; then the clients' share is that of the smaller flood`,
      `${name}: connections that the tables have room for: ${rooms.join('; ')} (conntrack's room is nf_conntrack_max of this machine, which a network namespace cannot change)`,
    ],
  };
}

/** One flood at one contender, from its second minute on. */
async function flooded(
  stage: FloodStage,
  contender: Flooded,
  kind: FloodKind,
  rate: number,
): Promise<Outcome> {
  const { lab, room } = contender;
  const ports = await stage.openLasting(contender, lasting);
  const targets = floodTargets({ address: lab.outside[0]!.addresses.v4, ports });
  const first = Math.min(rate * before.seconds, Math.round(room * 1.2));
  const flood = { lab: lab.name, kind, targets };
  await stage.flooder.send({ ...flood, first: 0, count: first, rate: before.perSecond });
  const [result, during] = await Promise.all([
    stage.flooder.send({ ...flood, first, count: rate * floodSeconds, rate }),
    stage.visit(contender, { rate: visitsPerSecond, seconds: visiting.during, isOver: false }),
  ]);
  if (kind === 'rst') await sleep(resetRestMs);
  const after = await stage.visit(contender, {
    ...{ rate: visitsPerSecond, seconds: visiting.after, isOver: true },
  });
  await contender.clear();
  return { contender, during, after, sent: result.packetsPerSecond };
}

function percent(...shares: readonly Share[]): number {
  const [tried, succeeded] = (['tried', 'succeeded'] as const).map((field) =>
    shares.reduce((sum, share) => sum + share[field], 0),
  ) as [number, number];
  return (100 * succeeded) / tried;
}

function shareRow(what: string, { contender, during, after, sent }: Outcome): Row {
  return {
    ...{ case: name, size, variant: `${what}: ${contender.name}` },
    ...{ p50Us: null, ratioToDirect: null, spread: null },
    newDuringPercent: percent(during.connections),
    newAfterPercent: percent(after.connections),
    udpDuringPercent: percent(during.datagrams),
    udpAfterPercent: percent(after.datagrams),
    lastingPercent: percent(after.lasting),
    ...(during.p99Us > 0 ? { p99Us: during.p99Us } : {}),
    packetsPerSecond: sent,
    tried: during.connections.tried + after.connections.tried,
  };
}

/** Returns the verdicts on the clients' success: it reaches the target, and that of nftables with conntrack. */
function shareVerdicts(what: string, outcomes: readonly Outcome[]): Verdict[] {
  const of = (wanted: string) => outcomes.find(({ contender }) => contender.name === wanted)!;
  const own = of('heddle');
  const theirs = of('nftables');
  const measures: readonly [string, (outcome: Outcome) => number][] = [
    ['new connections', ({ during, after }) => percent(during.connections, after.connections)],
    ['UDP requests', ({ during, after }) => percent(during.datagrams, after.datagrams)],
    ['lasting connections', ({ after }) => percent(after.lasting)],
  ];
  return measures.map(([measure, share]) => {
    const [mine, peer] = [share(own), share(theirs)];
    return {
      ...{ case: name, size, what: `${what}: ${measure}` },
      target: `>= ${leastShare} %, nftables ${peer.toFixed(2)} %`,
      measured: `${mine.toFixed(2)} %`,
      met: mine >= leastShare && mine >= peer,
    };
  });
}

/**
 * Measures what a spoofed packet of a long flood costs node 1: all work is done within the call that sends it.
 * The time of a frame for another Ethernet address is subtracted. Timers are not included.
 */
async function measureCosts(platform: Platform, quick: boolean): Promise<Findings> {
  using stage = await openOneArmed(platform);
  using flooder = await Flooder.start(stage.sink.pods[0]!);
  const targets = floodTargets({ address: '203.0.113.1', ports: [] });
  const rate = 1e9;
  const rows: Row[] = [];
  const verdicts: Verdict[] = [];
  for (const kind of quick ? (['syn'] as const) : unanswered) {
    const next = new Map<string, number>();
    const send = async (lab: string, count: number, to?: string) => {
      const first = next.get(lab) ?? 0;
      next.set(lab, first + count);
      const flood = { lab, kind, targets, first, count, rate };
      return (await flooder.send(to === undefined ? flood : { ...flood, to })).nsPerPacket;
    };
    for (const { lab, room } of stage.contenders) await send(lab.name, Math.round(room * 1.2));
    const times = stage.contenders.map((): number[] => []);
    for (let round = -1; round < (quick ? 5 : 25); round++) {
      const baseline = await send(stage.sink.name, costly, foreignMac);
      for (const [i, { lab }] of stage.contenders.entries()) {
        const ns = (await send(lab.name, costly)) - baseline;
        if (round >= 0) times[i]!.push(ns);
      }
    }
    for (const contender of stage.contenders) await contender.clear();
    const what = `cost of a packet, ${kind}`;
    const own = times[stage.contenders.findIndex((each) => each.name === 'heddle')]!;
    const theirs = times[stage.contenders.findIndex((each) => each.name === 'nftables')]!;
    for (const [i, { name: variant }] of stage.contenders.entries()) {
      rows.push({
        ...{ case: name, size, variant: `${what}: ${variant}` },
        p50Us: median(times[i]!) / 1000,
        ...{ ratioToDirect: null, spread: spread(times[i]!) / 1000, rounds: times[i]!.length },
      });
    }
    const ratio = median(own.map((ns, round) => ns / theirs[round]!));
    verdicts.push(
      verdict({ case: name, size, what: `${what}: heddle / nftables` }, ratio, { atMost: 0.5 }),
    );
  }
  return {
    rows,
    verdicts,
    notes: [
      `${name}: costs are of a node with one device, whose tables are full of the flood, and whose backends do not answer; p50 is the processor's time of a packet, less that of a frame that the node drops at its network interface`,
    ],
  };
}
