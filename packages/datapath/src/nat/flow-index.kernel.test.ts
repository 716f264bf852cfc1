import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eth } from '@heddle/lab';
import { flowSlots } from '../../testing/flows/flow-slots.ts';
import { clients, contextOf, NodePackets } from '../../testing/node-packets.ts';
import { raceWith } from '../../testing/racer.ts';
import { sizes, World } from '../../testing/world.ts';
import { ctBucketSize } from '../generated/abi.ts';

describe('flow index', () => {
  let world: World;
  let packets: NodePackets;
  before(() => {
    const flows = 16_384;
    world = new World('index', 1, { lab: { nodes: 2 }, sizes: { ...sizes, flows } });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
    const remote = world.lab.nodes[1]!.pods[0]!.addresses.v4;
    world.apply(packets.service(30_001, [remote]));
  });
  after(() => world?.[Symbol.dispose]());

  const syn = (sport: number) =>
    packets.from(clients.v4, packets.node).tcp({ sport, dport: 30_001, syn: true });
  const index = () => world.datapath.programs.node.map('nat_index');

  test('a flow whose bucket in the index is full is refused; flows of other buckets are not', () => {
    const count = 100;
    using memory = index().mmap();
    // Every other bucket is full of keys of a flow that there is not.
    const taken = new Uint8Array(ctBucketSize).fill(0).map((_, i) => (i % 8 === 4 ? 1 : 0));
    for (let at = 0; at < memory.bytes.length; at += 2 * ctBucketSize) {
      memory.bytes.set(taken, at);
    }
    const verdicts = new Map<string, number>();
    const counted = packets.drops(() => {
      for (let sport = 1000; sport < 1000 + count; sport++) {
        const { verdict } = packets.ingress(syn(sport));
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      }
    });
    const refused = verdicts.get('drop') ?? 0;
    // Half of the clients' keys fit. A reply's key finds a slot with another port.
    assert.ok(refused > 1 && refused < count - 1, `${refused} of ${count} were refused`);
    assert.deepEqual(counted, { 'the flow table is full (raise sizes.flows)': refused });
    assert.equal(world.datapath.nat.status().unanswered, count - refused);
    for (let at = 0; at < memory.bytes.length; at += 2 * ctBucketSize) {
      memory.bytes.fill(0, at, at + ctBucketSize);
    }
    for (let sport = 1000; sport < 1000 + count; sport++) {
      assert.equal(packets.ingress(syn(sport)).verdict, 'send');
    }
    assert.equal(world.flowKeys, 2 * count);
  });

  test('only one of two CPUs that enter a tuple at the same time succeeds', async (t) => {
    const program = world.datapath.programs.node.program('node_ingress');
    const frame = eth().bytes.length;
    const data = syn(0).bytes;
    const { index: ifindex } = world.node.link('eth0');
    await raceWith(world.bpf, {
      program: program.fd,
      netnsPath: world.node.netnsPath,
      options: { data, ...contextOf('node_ingress', ifindex, data) },
      // Behind the link's header and that of IPv4: the client's port.
      at: frame + 20,
      from: 2000,
      to: 5000,
      turns: new Int32Array(new SharedArrayBuffer(4)),
    });
    const flows = new Map(Array.from(world.datapath.nat.flows(), (flow) => [flow.number, flow]));
    const ends = Array.from(flowSlots(index()), ({ flow: number, isReply }) => {
      const flow = flows.get(number);
      assert.ok(flow, `flow ${number} is there`);
      return isReply ? `reply to ${flow.sourcePort}` : `from ${flow.clientPort}`;
    });
    assert.equal(new Set(ends).size, ends.length, 'no key is there twice');
    // Two CPUs that enter a tuple at the same time may both give up; a client would send its request again.
    assert.ok(flows.size > 3000, `${flows.size} of 3100 have a flow`);
    assert.equal(ends.length, 2 * flows.size);
    t.diagnostic(
      `${flows.size} of 3100 have a flow, ${world.datapath.nat.status().flows} entries are in use`,
    );
  });
});
