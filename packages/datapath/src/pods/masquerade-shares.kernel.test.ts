import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { Tcp } from '@heddle/lab';
import { MasqueradeStage, outside } from '../../testing/masquerade.ts';
import { PodWorld } from '../../testing/pod-world.ts';
import { sizes } from '../../testing/world.ts';
import { defaultNat } from '../nat/flow-options.ts';

/** Opens connections of pods, packet by packet. */
class Pods {
  readonly stage: MasqueradeStage;
  #port = 30_000;

  constructor(stage: MasqueradeStage) {
    this.stage = stage;
  }

  /** Opens a TCP connection, which both sides confirm. Returns its port and that which the destination sees. */
  open(pod: number, to: string, toPort = 443): { port: number; seen: number } {
    const port = this.#port++;
    const seen = this.stage.begin({ protocol: 'tcp', pod, port, to, toPort });
    this.#answer(to, toPort, seen, { syn: true, ack: true, seq: 2000, ackSeq: 1001 });
    assert.ok(this.ask(pod, { port, to, toPort }, 1001));
    this.#answer(to, toPort, seen, { ack: true, seq: 2001, ackSeq: 1004 });
    return { port, seen };
  }

  /** Returns true if a segment with data of an open connection is sent on. */
  ask(pod: number, ends: { port: number; to: string; toPort?: number }, seq = 1004): boolean {
    const { port, to, toPort = 443 } = ends;
    const flags = { ack: true, psh: true, seq, ackSeq: 2001 };
    const segment = this.stage.fromPod(pod, to).tcp({ sport: port, dport: toPort, ...flags });
    return this.stage.send(pod, segment.payload('ask')).packet.layer('tcp')?.rst !== true;
  }

  #answer(to: string, sport: number, dport: number, flags: Partial<Tcp>): void {
    const { node } = this.stage;
    const { verdict } = node.ingress(node.from(to, node.node).tcp({ sport, dport, ...flags }));
    assert.equal(verdict, 'send');
  }

  /** Returns the flows of a pod. */
  flows(pod: number) {
    const client = this.stage.podAddress(pod);
    return [...this.stage.world.datapath.nat.flows()].filter((flow) => flow.client === client);
  }

  /** Returns the number of flows of a pod that may not be evicted. */
  held(pod: number): number {
    return this.flows(pod).filter(({ confirmed }) => confirmed).length;
  }
}

for (const end of ['v4', 'v6'] as const) {
  describe(`shares of pods, ${end}`, () => {
    let world: PodWorld | undefined;
    afterEach(() => world?.[Symbol.dispose]());

    const start = (ports: number, flows: number) => {
      world = new PodWorld(`shares-${end}`, 3, {
        lab: { nodes: 1, outside: 1 },
        sizes: { ...sizes, flows },
        nat: { ...defaultNat, ports: { first: 5000, last: 5000 + ports - 1 } },
      });
      return new Pods(new MasqueradeStage(world, end));
    };
    const to = outside[end];

    test('a pod that has all ports towards a destination lets others have some', () => {
      const pods = start(40, 1000);
      const own = Array.from({ length: 40 }, () => pods.open(0, to));
      assert.equal(new Set(own.map(({ seen }) => seen)).size, 40, 'one alone may have all');
      assert.equal(pods.held(0), 20, 'but keeps half of them only');
      const others = Array.from({ length: 10 }, () => pods.open(1, to));
      assert.equal(pods.held(1), 10);
      const third = Array.from({ length: 5 }, () => pods.open(2, to));
      assert.equal(pods.held(2), 5);
      for (const { port } of own.slice(0, 20)) assert.ok(pods.ask(0, { port, to }));
      for (const { port } of others) assert.ok(pods.ask(1, { port, to }));
      for (const { port } of third) assert.ok(pods.ask(2, { port, to }));
      const further = pods.open(0, to, 444);
      assert.ok(pods.ask(0, { port: further.port, to, toPort: 444 }), 'another destination');
    });

    test('new connections never fail when 99 % of the ports are taken', () => {
      const pods = start(200, 2000);
      for (let i = 0; i < 198; i++) pods.open(i % 3, to);
      for (let i = 0; i < 30; i++) pods.open(i % 3, to);
      const { portPressure } = world!.datapath.nat.status();
      assert.ok(portPressure > 0.98, `${portPressure}`);
      assert.equal(world!.drops('noPort'), 0);
    });

    test('a pod that fills the table lets others connect, and their connections stay', () => {
      const pods = start(4000, 256);
      for (let i = 0; i < 400; i++) pods.open(0, to, 1000 + i);
      const own = pods.held(0);
      assert.ok(own >= 120 && own <= 128, `${own} of 256`);
      const others = Array.from({ length: 40 }, (_, i) => pods.open(1, to, 2000 + i));
      assert.equal(pods.held(1), 40);
      for (let i = 0; i < 400; i++) pods.open(0, to, 3000 + i);
      others.forEach(({ port }, i) => {
        assert.ok(pods.ask(1, { port, to, toPort: 2000 + i }));
      });
      assert.equal(world!.drops('tableFull'), 0);
      assert.equal(pods.held(0), own, 'what the pod holds is not evicted');
    });

    test('a flood of echo requests and datagrams of a pod leaves the flows of others alone', () => {
      const pods = start(4000, 256);
      const { stage } = pods;
      const open = pods.open(1, to);
      for (const protocol of ['icmp', 'udp'] as const) {
        const young = { protocol, pod: 1, port: 777, to, toPort: 53 };
        const seen = stage.begin(young);
        for (let i = 0; i < 300; i++) {
          stage.begin({ protocol, pod: 0, port: 1 + i, to, toPort: 53 });
        }
        stage.expectSent(
          stage.node.ingress(stage.reply(young, seen)),
          stage.delivered(young),
          protocol,
        );
      }
      assert.ok(pods.ask(1, { port: open.port, to }));
    });

    test('what pods hold is counted again when the agent makes the counters anew', () => {
      const pods = start(40, 1000);
      for (let i = 0; i < 30; i++) pods.open(0, to);
      assert.equal(pods.held(0), 20);
      world!.restart({ sizes: { ...sizes, flows: 1200 } });
      // Maps of other sizes are used once everything is programmed.
      world!.datapath.services.prune([]);
      world!.servePods();
      world!.serveOutside();
      pods.stage.masquerade();
      for (let i = 0; i < 10; i++) pods.open(0, to);
      assert.equal(pods.held(0), 20);
      pods.open(1, to);
      assert.equal(pods.held(1), 1);
    });
  });
}
