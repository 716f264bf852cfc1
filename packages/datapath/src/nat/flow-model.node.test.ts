import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import { eth, type Packet } from '@heddle/lab';
import { externalIfindex, VirtualClock } from '@heddle/vm';
import fc from 'fast-check';
import { histories } from '../../testing/flows/flow-events.ts';
import { FlowModel } from '../../testing/flows/flow-model.ts';
import {
  type Direction,
  type Engine,
  everything,
  FlowStage,
  modelClients,
  modelServices,
  timeoutOf,
} from '../../testing/flows/flow-stage.ts';
import { VmWorld } from '../../testing/vm-world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import type { Datapath } from '../datapath.ts';
import { defaultNat } from './flow-options.ts';

const runs = Number(process.env.HEDDLE_MODEL_RUNS ?? 60);
const seed = Number(process.env.HEDDLE_MODEL_SEED ?? 1);

/** The index of the simulated external interface. */
const deviceAddress = '02:00:00:00:00:02';
const sweepMs = 50;
const verdicts: Readonly<Record<number, string>> = { 2: 'drop', 7: 'send', 4294967295: 'pass' };

const timeouts = {
  tcpHandshake: 5,
  tcpEstablished: 30,
  tcpHalfClosed: 20,
  tcpClosed: 8,
  tcpReset: 3,
  udpUnanswered: 6,
  udp: 12,
  sctpHandshake: 5,
  sctp: 15,
  icmp: 4,
};
const ports = { first: 5000, last: 5002 };
const flows = 16;

describe('the flow table compared with a model', () => {
  for (const end of ['v4', 'v6'] as const) {
    test(`${runs} random histories of packets, changes and time match the model, ${end}`, () => {
      const clock = new VirtualClock();
      using world = new VmWorld(`model-${end}`, 2, {
        base: clock,
        nat: { ...defaultNat, ports, timeouts },
        sizes: { services: 50, backends: 200, slots: 4000, affinity: 50, flows },
      });
      const node = world.node.addresses[end];
      const engine = new VmEngine(world, clock, node);
      const limits = {
        flows: flows - 1,
        unanswered: flows / 2,
        full: flows - 1 - flows / 8,
        confirmedUdp: flows / 2,
        ports,
        node,
        timeout: timeoutOf(timeouts),
      };
      const [one, two] = [0, 1].map((n) => world.pod(n).addresses[end]) as [string, string];
      const seen = new Set<string>();
      fc.assert(
        fc.property(histories(80, true), (events) => {
          const model = new FlowModel(limits, modelServices(end, node, [one, two]));
          const stage = new FlowStage(engine, model, modelClients(end));
          try {
            for (const event of events) stage.happen(event);
            // Nothing is forgotten: after the longest timeout nothing is left.
            stage.happen({ kind: 'wait', milliseconds: 40_000 });
            assert.deepEqual([model.used, model.keys.size], [0, 0]);
          } finally {
            // Also when it failed, as smaller histories are tried then.
            stage.end();
            for (const each of stage.seen) seen.add(each);
            clock.advance(60_000);
          }
        }),
        { numRuns: runs, seed, endOnFailure: process.env.HEDDLE_MODEL_SHRINK === undefined },
      );
      assert.deepEqual([...seen].sort(), [...everything].sort());
    });
  }
});

/** The node's programs in the userspace machine, whose clock the test advances. */
class VmEngine implements Engine {
  readonly datapath: Datapath;
  readonly #world: VmWorld;
  readonly #clock: VirtualClock;
  readonly #start: bigint;

  constructor(world: VmWorld, clock: VirtualClock, node: string) {
    this.#world = world;
    this.#clock = clock;
    // From when on it is swept.
    this.#start = clock.monotonicNs();
    this.datapath = world.datapath;
    world.datapath.setNode(
      [{ name: 'eth0', index: externalIfindex, address: '02:00:00:00:00:02' }],
      [node],
    );
  }

  run(direction: Direction, packet: Packet): { verdict: string; bytes: Uint8Array } {
    const { bytes } = packet.within(eth({ dst: deviceAddress }));
    const { verdict, frame } = this.#world.host.frame(direction, bytes);
    return { verdict: verdicts[verdict] ?? `verdict ${verdict}`, bytes: frame.subarray(14) };
  }

  openMap(name: string): BpfMap {
    return BpfMap.openPinned(this.#world.host.bpf, `${currentPins('/sys/fs/bpf').maps}/${name}`);
  }

  wait(milliseconds: number, onSweep: () => void, onTick: (tick: number) => void): void {
    const clock = this.#clock;
    const now = () => Number((clock.monotonicNs() - this.#start) / 1_000_000n);
    // The coarse clock's ticks are of 4 ms.
    const tick = () =>
      onTick(Number((clock.monotonicNs() - (clock.monotonicNs() % 4_000_000n)) >> 30n));
    const end = now() + milliseconds;
    for (;;) {
      const next = (Math.floor(now() / sweepMs) + 1) * sweepMs;
      if (next > end) break;
      clock.advance(next - now());
      tick();
      onSweep();
    }
    clock.advance(end - now());
    tick();
  }
}
