import { createLab, eth, type Lab, openLab, pattern, Tap } from '@heddle/lab';
import type { SocketAddress } from '@heddle/sys/net';
import { targets } from '../catalog.ts';
import { sites, wireEnd } from '../sites.ts';
import { median, spread } from '../statistics.ts';
import { Sockets } from '../traffic/sockets.ts';
import { Heddle } from '../variants/heddle.ts';
import { redirectBack } from '../variants/redirect.ts';
import { runXdp, takeFromXdp } from '../variants/xdp.ts';
import { quietCpu, type World } from '../world.ts';
import { type Case, type Row, verdict } from './case.ts';

const name = 'packets';
/** The number of source ports, and so of flows. */
const flows = 256;
/** The number of packets of each kind that a round sends. */
const blocks = 32;
/** With its headers and checksum, the frame has 64 bytes. */
const payloadSize = 18;
/** The MAC address of no interface: the node drops frames to it. */
const foreignMac = '02:00:c0:00:02:63';
/** Lanes of XDP. Their baseline is the cost of a packet up to the driver, and not up to the stack. */
const xdpBaseline = 'baseline of XDP';
const bareXdp = 'bare XDP_TX';
const heddleXdp = 'heddle service, XDP';

interface Lane extends Disposable {
  readonly variant: string;
  readonly tap: Tap;
  readonly frames: readonly Uint8Array[];
}

/**
 * The processing of a packet is complete when the call that sends it returns: all of it runs on one
 * processor. The time of a packet that the node's interface drops is subtracted.
 */
export const packets: Case = {
  name,
  about:
    'one 64-byte UDP packet through the node, in and out of its network interface, ratio to forwarding',
  commands: ['iptables-legacy-restore', 'nft'],
  site: 'one-armed',
  sizes: () => [10],
  async measure(world, size, quick) {
    const { variants } = await world.install(size);
    const site = sites['one-armed'];
    await using lanes = new AsyncDisposableStack();
    const lab = (name: string) => {
      const made = lanes.use(
        createLab(world.platform, { ...site.lab, name: `bench-${name}-${process.pid}` }),
      );
      site.prepare(made);
      return made;
    };
    const redirecting = lab('redirect');
    lanes.use(redirectBack(world.platform, redirecting.nodes[0]!));
    const all: Lane[] = [];
    const add = (variant: string, lab: Lab, to: SocketAddress, foreignMac?: string) => {
      all.push(lanes.use(open(variant, lab, to, foreignMac)));
    };
    const [direct] = targets({ kind: 'direct' }, 'one-armed') as [SocketAddress];
    add('baseline', world.plain, direct, foreignMac);
    for (const { name: variant, lab, aim } of variants) {
      if (aim.kind !== 'direct' && aim.kind !== 'service') continue;
      add(variant, openLab(world.platform, lab)!, targets(aim, 'one-armed')[0]!);
    }
    add('bare redirect', redirecting, direct);
    for (const [variant, action] of [
      [xdpBaseline, 'drop'],
      [bareXdp, 'send'],
    ] as const) {
      const made = lab(action);
      lanes.use(runXdp(made.nodes[0]!, 'eth0', action));
      lanes.use(takeFromXdp(made));
      add(variant, made, direct);
    }
    const early = lab('xdp');
    lanes.use(takeFromXdp(early));
    const agent = new Heddle(early, world.folder('xdp'), 'one-armed', {
      flags: { xdp: 'native' },
    });
    lanes.defer(() => agent.stop());
    await agent.install(size);
    add(heddleXdp, early, targets({ kind: 'service', count: size }, 'one-armed')[0]!);
    const times = measure(world, all, quick ? 20 : 80);
    return findings(size, all, times);
  },
};

/** Opens a lane with frames of an external client to the MAC address of the node, or to `foreignMac`. */
function open(variant: string, lab: Lab, to: SocketAddress, foreignMac?: string): Lane {
  const node = lab.nodes[0]!.link('eth0').address;
  const frame = eth({ src: lab.underlay.link(wireEnd).address, dst: foreignMac ?? node });
  const ip = frame.ipv4({ src: '203.0.113.1', dst: to.address });
  const frames = Array.from(
    { length: flows },
    (_, i) => ip.udp({ sport: 20_000 + i, dport: to.port }).payload(pattern(payloadSize)).bytes,
  );
  const tap = Tap.open(lab.underlay, wireEnd, 'nothing');
  return { variant, tap, frames, [Symbol.dispose]: () => tap[Symbol.dispose]() };
}

/** Nanoseconds of a packet, by lane and round. */
function measure(world: World, lanes: readonly Lane[], rounds: number): number[][] {
  const sockets = new Sockets(world.platform);
  const allowed = sockets.processors();
  const times: number[][] = lanes.map(() => []);
  sockets.pinTo(quietCpu(world.platform));
  try {
    for (let round = -3; round < rounds; round++) {
      const order = lanes.map((_, i) => i).sort(() => Math.random() - 0.5);
      const samples: number[][] = lanes.map(() => []);
      for (let block = 0; block < blocks; block++) {
        for (const lane of order) samples[lane]!.push(sendAll(world, lanes[lane]!));
      }
      if (round < 0) continue;
      for (const [lane, values] of samples.entries()) times[lane]!.push(median(values));
    }
  } finally {
    sockets.allowProcessors(allowed);
  }
  return times;
}

function sendAll({ platform }: World, { tap, frames }: Lane): number {
  const start = platform.monotonicNs();
  for (const frame of frames) tap.send(frame);
  return Number(platform.monotonicNs() - start) / frames.length;
}

function findings(size: number, lanes: readonly Lane[], times: readonly number[][]) {
  const lane = (variant: string) => times[lanes.findIndex((each) => each.variant === variant)]!;
  const own = (variant: string) => {
    const baseline = lane([bareXdp, heddleXdp].includes(variant) ? xdpBaseline : 'baseline');
    return lane(variant).map((ns, round) => ns - baseline[round]!);
  };
  const direct = own('direct');
  const redirect = own('bare redirect');
  const xdpTx = own(bareXdp);
  const ratios = (variant: string, to: readonly number[]) =>
    own(variant).map((ns, round) => ns / to[round]!);
  const rows: Row[] = lanes
    .filter(({ variant }) => !['baseline', xdpBaseline].includes(variant))
    .map(({ variant }) => ({
      ...{ case: name, size, variant },
      p50Us: median(own(variant)) / 1000,
      ratioToDirect: median(ratios(variant, direct)),
      spread: spread(ratios(variant, direct)),
      ratioToRedirect: median(ratios(variant, redirect)),
      ...(variant === heddleXdp ? { ratioToXdpTx: median(ratios(variant, xdpTx)) } : {}),
      rounds: direct.length,
    }));
  const lead = median(ratios('nftables service', own('heddle service')));
  const what = { case: name, size, what: 'time of nftables / time of Heddle' };
  const early = { case: name, size, what: 'XDP / bare XDP_TX' };
  return {
    rows,
    verdicts: [
      verdict(what, lead, { atLeast: 2 }),
      verdict(early, median(ratios(heddleXdp, xdpTx)), { atMost: 2.5 }),
    ],
    notes: [],
  };
}
