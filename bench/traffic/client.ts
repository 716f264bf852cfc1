// The one process that makes the measured connections of all variants, so that what the process has
// become by then (compiled code, memory, luck) is the same for each. It opens its sockets in the
// pod of the variant, and then goes from variant to variant in small blocks.

import { type Lab, openLab } from '@heddle/lab';
import { encodeUtf8 } from '@heddle/sys';
import { encodeSockaddr } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { type Aim, targets } from '../catalog.ts';
import type { SiteName } from '../sites.ts';
import { lastingRequest, request, transferBytes, transferMark } from './messages.ts';
import { Sockets } from './sockets.ts';

/** One round: every variant makes this number of connections, or of exchanges or transfers on one open connection. */
export interface Round {
  readonly kind: 'connect' | 'exchange' | 'transfer';
  readonly variants: readonly RoundVariant[];
  readonly blocks: number;
  readonly blockSize: number;
  /** So many at the start of a block don't count: they find what the variant before has left. */
  readonly unmeasured: number;
  /** The congestion control that the client's sockets choose. Default: the pod's. */
  readonly congestionControl?: string;
}

export interface RoundVariant {
  readonly lab: string;
  /** Name of the place that connects. */
  readonly place: string;
  readonly site: SiteName;
  readonly aim: Aim;
}

/** Microseconds of each measured operation, by variant. */
export type RoundResult = readonly (readonly number[])[];

const platform = nodePlatform();
const sockets = new Sockets(platform);
const labs = new Map<string, Lab>();
const aims = new Map<string, readonly Uint8Array[]>();
const input = new Uint8Array(4096);
const closing = encodeUtf8(request);
const lasting = encodeUtf8(lastingRequest);
const transfer = new Uint8Array(transferBytes).fill(transferMark);

sockets.pinTo(Number(process.argv[2]));
process.on('message', (round: Round) => process.send!(measure(round)));
process.on('disconnect', () => process.exit(0));
process.send!('ready');

function measure(round: Round): RoundResult {
  if (round.kind === 'connect') return connectAll(round);
  return exchangeAll(round, round.kind === 'exchange' ? lasting : transfer);
}

function connectAll({ variants, blocks, blockSize, unmeasured }: Round): RoundResult {
  const open = variants.map((variant) => openSockets(variant, blocks * blockSize));
  const addresses = variants.map(encoded);
  const samples: number[][] = variants.map(() => []);
  for (let block = 0; block < blocks; block++) {
    for (const v of shuffled(variants.length)) {
      for (let i = 0; i < blockSize; i++) {
        const fd = open[v]!.pop()!;
        const address = pick(addresses[v]!);
        const start = platform.monotonicNs();
        sockets.connect(fd, address);
        sockets.send(fd, closing);
        // Until the server's end has come too, so that no work is left over for the next one.
        while (sockets.receive(fd, input) > 0);
        sockets.close(fd);
        const end = platform.monotonicNs();
        if (i >= unmeasured) samples[v]!.push(Number(end - start) / 1000);
      }
    }
  }
  return samples;
}

function exchangeAll(
  { variants, blocks, blockSize, unmeasured, congestionControl }: Round,
  bytes: Uint8Array,
): RoundResult {
  const open = variants.map((variant) => {
    const [fd] = openSockets(variant, 1);
    if (congestionControl !== undefined) sockets.setCongestionControl(fd!, congestionControl);
    sockets.connect(fd!, pick(encoded(variant)));
    return fd!;
  });
  const samples: number[][] = variants.map(() => []);
  for (let block = 0; block < blocks; block++) {
    for (const v of shuffled(variants.length)) {
      const fd = open[v]!;
      for (let i = 0; i < blockSize; i++) {
        const start = platform.monotonicNs();
        sockets.send(fd, bytes);
        if (sockets.receive(fd, input) === 0) throw new Error('the server closed the connection');
        const end = platform.monotonicNs();
        if (i >= unmeasured) samples[v]!.push(Number(end - start) / 1000);
      }
    }
  }
  for (const fd of open) sockets.close(fd);
  return samples;
}

function openSockets({ lab, place: name }: RoundVariant, count: number): number[] {
  if (!labs.has(lab)) labs.set(lab, openLab(platform, lab)!);
  const place = labs.get(lab)!.host(name);
  return place.enter(() =>
    Array.from({ length: count }, () => {
      const fd = sockets.open();
      sockets.setTimeout(fd, 10);
      return fd;
    }),
  );
}

function encoded({ aim, site }: RoundVariant): readonly Uint8Array[] {
  const key = JSON.stringify({ aim, site });
  const addresses = aims.get(key) ?? targets(aim, site).map(encodeSockaddr);
  aims.set(key, addresses);
  return addresses;
}

function pick<Item>(items: readonly Item[]): Item {
  return items[Math.floor(Math.random() * items.length)]!;
}

function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
