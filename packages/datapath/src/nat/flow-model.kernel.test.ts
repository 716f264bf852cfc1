import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import { eth, type Packet } from '@heddle/lab';
import fc from 'fast-check';
import { histories } from '../../testing/flows/flow-events.ts';
import { FlowModel } from '../../testing/flows/flow-model.ts';
import {
  type Direction,
  type Engine,
  FlowStage,
  modelClients,
  modelServices,
  timeoutOf,
} from '../../testing/flows/flow-stage.ts';
import { testNat } from '../../testing/nat.ts';
import { NodePackets } from '../../testing/node-packets.ts';
import { sizes, World } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import { defaultNat } from './flow-options.ts';

const runs = Number(process.env.HEDDLE_MODEL_KERNEL_RUNS ?? 15);
const seed = Number(process.env.HEDDLE_MODEL_SEED ?? 1);
/** Seconds of every timeout: far more than a history takes on a busy machine, so that nothing ends by itself. */
const timeout = 3600;
const timeouts = Object.fromEntries(
  Object.keys(defaultNat.timeouts).map((name) => [name, timeout]),
) as unknown as typeof defaultNat.timeouts;
const flows = 8000;

/** The same as in flow-model.node.test.ts, but for what takes time or a full table. */
describe('the flow table in the kernel compared with a model', () => {
  for (const end of ['v4', 'v6'] as const) {
    test(`${runs} random histories of packets and changes match the model and leave no flow, ${end}`, () => {
      using world = new World(`model-${end}`, 2, {
        lab: { nodes: 2 },
        nat: { ...testNat, timeouts },
        sizes: { ...sizes, flows },
      });
      world.serveOutside();
      const packets = new NodePackets(world, end);
      const engine = new KernelEngine(packets);
      const { ports } = defaultNat;
      const most = { flows, unanswered: flows, full: flows, confirmedUdp: flows };
      const limits = { ...most, ports, node: packets.node };
      const [one, two] = [0, 1].map((n) => world.pod(n).addresses[end]) as [string, string];
      let history = 0;
      fc.assert(
        fc.property(histories(60, false), (events) => {
          const services = modelServices(end, packets.node, [one, two]);
          const model = new FlowModel({ ...limits, timeout: timeoutOf(timeouts) }, services);
          const stage = new FlowStage(engine, model, modelClients(end, history++ % 256));
          try {
            packets.inside(() => {
              for (const event of events) stage.happen(event);
            });
          } finally {
            stage.end();
          }
        }),
        { numRuns: runs, seed: seed + 1000, endOnFailure: true },
      );
      const { nat } = world.datapath;
      for (const { number } of [...nat.flows()]) nat.endFlow(number, () => true);
      const { flows: places, unanswered } = nat.status();
      assert.deepEqual([places, unanswered, world.flowKeys], [0, 0, 0]);
      assert.deepEqual([...world.datapath.nat.flows()], []);
    });
  }
});

/** The node's programs in the kernel, by test runs. */
class KernelEngine implements Engine {
  readonly #packets: NodePackets;
  readonly #frame: Packet;

  constructor(packets: NodePackets) {
    this.#packets = packets;
    const { src, dst } = packets.world.node.firstHop;
    this.#frame = eth({ src: dst, dst: src });
  }

  get datapath() {
    return this.#packets.world.datapath;
  }

  run(direction: Direction, packet: Packet): { verdict: string; bytes: Uint8Array } {
    const { verdict, packet: after } = this.#packets[direction](packet.within(this.#frame));
    return { verdict, bytes: this.#packets.bare(after).bytes };
  }

  openMap(name: string): BpfMap {
    const { bpf, node } = this.#packets.world;
    return BpfMap.openPinned(bpf, `${currentPins(node.bpffs).maps}/${name}`);
  }
}
