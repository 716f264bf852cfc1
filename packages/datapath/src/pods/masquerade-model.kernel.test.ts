import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import fc from 'fast-check';
import { MasqueradeStage, others, outside, type PodConnection } from '../../testing/masquerade.ts';
import { PodWorld } from '../../testing/pod-world.ts';
import { sizes } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import { decodeCtTable } from '../generated/abi.ts';
import { defaultNat } from '../nat/flow-options.ts';
import type { FlowEntry } from '../nat/flows.ts';

const runs = Number(process.env.HEDDLE_MODEL_KERNEL_RUNS ?? 15);
const seed = Number(process.env.HEDDLE_MODEL_SEED ?? 1);
const ports = { first: 5000, last: 5005 };
const protocols = ['tcp', 'udp', 'icmp', 'sctp'] as const;

const event = fc.record({
  kind: fc.constantFrom('begin', 'begin', 'begin', 'reply', 'reply', 'confirm', 'forge', 'end'),
  protocol: fc.constantFrom(...protocols),
  pod: fc.nat(2),
  port: fc.integer({ min: 30_000, max: 30_003 }),
  isOther: fc.boolean(),
  choice: fc.nat(),
});
type Event = typeof event extends fc.Arbitrary<infer Value> ? Value : never;

/** Has events happen, and demands after each that the flow table and the packets agree. */
class History {
  readonly #stage: MasqueradeStage;
  readonly #end: 'v4' | 'v6';
  /** The port that a destination saw last of each connection. */
  readonly #seen = new Map<string, number>();

  constructor(stage: MasqueradeStage, end: 'v4' | 'v6') {
    this.#stage = stage;
    this.#end = end;
  }

  happen({ kind, protocol, pod, port, isOther, choice }: Event): void {
    const to = isOther ? others[this.#end] : outside[this.#end];
    const flows = this.flows();
    const flow = flows[choice % Math.max(1, flows.length)];
    if (kind === 'begin') this.#begin({ protocol, pod, port, to, toPort: 443 });
    else if (flow && kind === 'reply') this.#reply(flow);
    else if (flow && kind === 'confirm') this.#confirm(flow);
    else if (flow && kind === 'forge') this.#forge(flow);
    else if (flow) this.#stage.world.datapath.nat.endFlow(flow.number, () => true);
    this.#compare();
  }

  flows(): FlowEntry[] {
    return [...this.#stage.world.datapath.nat.flows()];
  }

  #begin(connection: PodConnection): void {
    const stage = this.#stage;
    let sent: ReturnType<typeof stage.send> | undefined;
    const drops = stage.drops(() => {
      sent = stage.send(connection.pod, stage.request(connection));
    });
    if (sent!.verdict === 'send') {
      const seen = stage.seenPort(sent!.packet);
      assert.ok(seen >= ports.first && seen <= ports.last, `port ${seen}`);
      stage.expectSent(sent!, stage.masqueraded(connection, seen), 'request');
      this.#seen.set(keyOf(connection), seen);
    } else {
      // All ports may be held by others.
      assert.deepEqual(drops, { noPort: 1 });
    }
  }

  #reply(flow: FlowEntry): void {
    const stage = this.#stage;
    const connection = this.#connectionOf(flow);
    const back = stage.node.ingress(stage.reply(connection, flow.sourcePort));
    stage.expectSent(back, stage.delivered(connection), 'reply');
  }

  /** Both sides show that they want the connection. */
  #confirm(flow: FlowEntry): void {
    const stage = this.#stage;
    const connection = this.#connectionOf(flow);
    this.#reply(flow);
    if (connection.protocol !== 'tcp') {
      this.#begin(connection);
      return;
    }
    const ask = { sport: connection.port, dport: 443, ack: true, seq: 1001, ackSeq: 2001 };
    stage.send(
      connection.pod,
      stage.fromPod(connection.pod, connection.to).tcp(ask).payload('ask'),
    );
    const answer = { sport: 443, dport: flow.sourcePort, ack: true, seq: 2001, ackSeq: 1004 };
    stage.node.ingress(stage.node.from(connection.to, stage.node.node).tcp(answer));
  }

  /** A reply from an address and port that the pod has not sent to. */
  #forge(flow: FlowEntry): void {
    const stage = this.#stage;
    const connection = { ...this.#connectionOf(flow), toPort: 444 };
    if (connection.protocol === 'icmp') return;
    assert.equal(stage.node.ingress(stage.reply(connection, flow.sourcePort)).verdict, 'pass');
  }

  #connectionOf(flow: FlowEntry): PodConnection {
    const pod = [0, 1, 2].find((each) => this.#stage.podAddress(each) === flow.client)!;
    const protocol = flow.protocol.toLowerCase() as PodConnection['protocol'];
    return { protocol, pod, port: flow.clientPort, to: flow.frontend, toPort: 443 };
  }

  #compare(): void {
    const taken = new Set<string>();
    for (const flow of this.flows()) {
      const { protocol, backend, sourcePort, forwarding } = flow;
      const place = `${protocol} ${backend} ${sourcePort}`;
      assert.ok(!taken.has(place), `${place} is of two flows`);
      taken.add(place);
      assert.equal(forwarding, 'masquerade');
      assert.equal(flow.frontend, backend);
      const known = this.#seen.get(keyOf(this.#connectionOf(flow)));
      assert.equal(sourcePort, known, 'the port that was sent last');
    }
  }
}

const keyOf = ({ protocol, pod, port, to }: PodConnection) => `${protocol} ${pod} ${port} ${to}`;

for (const end of ['v4', 'v6'] as const) {
  describe(`masqueraded flows, ${end}`, () => {
    test(`${runs} random histories match what was sent, and leave no flow and no count`, () => {
      using world = new PodWorld(`masq-model-${end}`, 3, {
        lab: { outside: 1 },
        sizes: { ...sizes, flows: 64 },
        nat: { ...defaultNat, ports },
      });
      const stage = new MasqueradeStage(world, end);
      const open = (name: string) =>
        BpfMap.openPinned(world.bpf, `${currentPins(world.node.bpffs).maps}/${name}`);
      fc.assert(
        fc.property(fc.array(event, { minLength: 40, maxLength: 80 }), (events) => {
          const history = new History(stage, end);
          for (const each of events) history.happen(each);
          for (const { number } of history.flows()) world.datapath.nat.endFlow(number, () => true);
          using table = open('nat_table');
          using held = open('nat_held');
          const { held: left, unconfirmed, used } = decodeCtTable(table.lookup(new Uint8Array(4))!);
          assert.deepEqual([left, unconfirmed, used], [0, 0, 0]);
          assert.equal(world.flowKeys, 0);
          const counts = Array.from(held.entries(), ([, value]) => value);
          assert.ok(counts.every((value) => value.every((byte) => byte === 0)));
        }),
        { numRuns: runs, seed, endOnFailure: true },
      );
    });
  });
}
