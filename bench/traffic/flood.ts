// The process that sends the floods of all variants, `node flood.ts CPU`: all that a spoofed packet has the
// kernel do is worked off on that processor, within the call that sends it.
import { openLab } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { wireEnd } from '../sites.ts';
import { median } from '../statistics.ts';
import { FloodFrames, type FloodKind, type FloodTargets } from './flood-frames.ts';
import { FrameSender } from './frame-sender.ts';
import { Sockets } from './sockets.ts';

export interface Flood {
  readonly lab: string;
  readonly kind: FloodKind;
  readonly targets: FloodTargets;
  /** So many packets of the flood were sent before. */
  readonly first: number;
  /** Packets to send, and how many in a second. */
  readonly count: number;
  readonly rate: number;
  /** Link-layer address that frames are sent to; default: that of node 1. */
  readonly to?: string;
}

export interface FloodResult {
  readonly packetsPerSecond: number;
  /** Median over system calls of what the kernel took for a packet. */
  readonly nsPerPacket: number;
}

const batch = 256;
const pauseMs = 2;
/** The longest delay of the flood's end. */
const timeoutMs = 5000;

const platform = nodePlatform();
new Sockets(platform).pinTo(Number(process.argv[2]));
const senders = new Map<string, FrameSender>();
const sleeping = new Int32Array(new SharedArrayBuffer(4));

process.on('message', (flood: Flood) => process.send!(run(flood)));
process.on('disconnect', () => process.exit(0));
process.send!('ready');

function run({ lab: name, kind, targets, first, count, rate, to }: Flood): FloodResult {
  const lab = openLab(platform, name)!;
  const sender = senders.get(name) ?? new FrameSender(lab.underlay, wireEnd, batch);
  senders.set(name, sender);
  const hop = {
    src: lab.underlay.link(wireEnd).address,
    dst: to ?? lab.nodes[0]!.link('eth0').address,
  };
  return paced(sender, new FloodFrames(hop, targets, kind, first), rate, count);
}

/** Sends `count` packets at a rate; where the kernel can't keep up, for as long as that would take. */
function paced(sender: FrameSender, frames: FloodFrames, rate: number, count: number): FloodResult {
  const start = performance.now();
  const end = start + (1000 * count) / rate;
  const times: number[] = [];
  let sent = 0;
  /** The number of packets that were not sent, because it was too late. */
  let missed = 0;
  const write = (into: Uint8Array, view: DataView) => frames.next(into, view);
  while (sent + missed < count) {
    const now = performance.now();
    if (now > end + timeoutMs) break;
    const due = Math.min(count, Math.ceil(((now - start) * rate) / 1000)) - sent - missed;
    if (due <= 0) {
      Atomics.wait(sleeping, 0, 0, pauseMs);
      continue;
    }
    if (due > rate / 10 + batch) missed += due - batch;
    const some = Math.min(due, batch);
    times.push(sender.send(some, write) / some);
    sent += some;
  }
  return {
    packetsPerSecond: (1000 * sent) / Math.max(1, performance.now() - start),
    nsPerPacket: times.length === 0 ? 0 : median(times),
  };
}
