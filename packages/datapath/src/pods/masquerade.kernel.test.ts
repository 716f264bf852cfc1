import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { addAddress } from '@heddle/netlink';
import {
  excluded,
  MasqueradeStage,
  masqueradedProtocols,
  others,
  outside,
  type PodConnection,
} from '../../testing/masquerade.ts';
import { PodWorld } from '../../testing/pod-world.ts';

for (const end of ['v4', 'v6'] as const) {
  describe(`packets of pods to the outside, ${end}`, () => {
    let world: PodWorld;
    let stage: MasqueradeStage;
    let port = 40_000;
    before(() => {
      world = new PodWorld(`masq-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new MasqueradeStage(world, end);
    });
    after(() => world?.[Symbol.dispose]());

    const connection = (
      more: Partial<PodConnection> & Pick<PodConnection, 'protocol'>,
    ): PodConnection => ({
      ...{ pod: 0, port: port++, to: outside[end], toPort: 443 },
      ...more,
    });

    for (const protocol of masqueradedProtocols) {
      test(`${protocol} leaves with an address of the node, and the reply returns to the pod`, () => {
        const each = connection({ protocol });
        const sent = stage.send(0, stage.request(each));
        const seen = stage.seenPort(sent.packet);
        stage.expectSent(sent, stage.masqueraded(each, seen), 'request');
        const back = stage.node.ingress(stage.reply(each, seen));
        stage.expectSent(back, stage.delivered(each), 'reply');
        assert.equal(back.packet.layer('eth')!.dst, world.of(world.pod(0)).mac);
        const [flow] = [...world.datapath.nat.flows()].filter(
          ({ clientPort }) => clientPort === each.port,
        );
        assert.deepEqual(
          [flow?.protocol.toLowerCase(), flow?.forwarding, flow?.backend, flow?.sourcePort],
          [protocol, 'masquerade', outside[end], seen],
        );
      });

      test(`${protocol} of two pods from one port to one destination gets two ports`, () => {
        const one = connection({ protocol });
        const two = { ...one, pod: 1 };
        const [first, second] = [stage.begin(one), stage.begin(two)];
        assert.notEqual(first, second);
        stage.expectSent(
          stage.node.ingress(stage.reply(one, first)),
          stage.delivered(one),
          'first',
        );
        stage.expectSent(
          stage.node.ingress(stage.reply(two, second)),
          stage.delivered(two),
          'second',
        );
      });

      test(`a reply of ${protocol} from another address is the stack’s`, () => {
        const each = connection({ protocol });
        const seen = stage.begin(each);
        assert.equal(stage.node.ingress(stage.reply(each, seen, others[end])).verdict, 'pass');
        const state = () =>
          [...world.datapath.nat.flows()].find(({ clientPort }) => clientPort === each.port)?.state;
        assert.match(state()!, /^(syn|unanswered)$/);
      });

      test(`an ICMP error about ${protocol} reaches the pod, from the router that sent it`, () => {
        const each = connection({ protocol });
        const seen = stage.begin(each);
        const router = others[end];
        const names = { v4: 'time-exceeded', v6: 'time-exceeded' };
        const error = (ip: Parameters<typeof stage.node.icmp>[0], about: typeof ip) =>
          stage.node.icmp(ip, names, undefined, about);
        const sent = error(stage.node.from(router, stage.node.node), stage.masqueraded(each, seen));
        const about = stage.node.bare(stage.on(stage.fromPod(0, outside[end], { ttl: 63 }), each));
        const wanted = error(stage.node.from(router, stage.podAddress(0), { ttl: 63 }), about);
        const outcome = stage.node.ingress(sent);
        // A router need not quote the checksum of SCTP, which covers the whole packet.
        if (protocol === 'sctp') assert.equal(outcome.verdict, 'send');
        else stage.expectSent(outcome, stage.node.bare(wanted), 'error');
      });
    }

    for (const protocol of ['udp', 'icmp'] as const) {
      test(`fragments of ${protocol} and of its reply are translated`, () => {
        const each = connection({ protocol });
        const sizes = [1400, 1400, 96];
        const whole = 2800 + 96 - 8;
        const parts = stage.request(each, { size: whole }).fragments(sizes, 77);
        const sent = parts.map((part) => stage.send(0, part));
        const seen = [...world.datapath.nat.flows()].find(
          ({ clientPort }) => clientPort === each.port,
        )!.sourcePort;
        const wanted = stage.masqueraded(each, seen, whole).fragments(sizes, 77);
        sent.forEach((outcome, i) => {
          stage.expectSent(outcome, wanted[i]!, `fragment ${i}`);
        });
        const back = stage.reply(each, seen, each.to, whole).fragments(sizes, 78);
        const told = stage.delivered(each, whole).fragments(sizes, 78);
        back.forEach((part, i) => {
          stage.expectSent(stage.node.ingress(part), told[i]!, `fragment ${i} of the reply`);
        });
      });

      test(`a pod’s error about a reply of ${protocol} reaches its sender`, () => {
        const each = connection({ protocol });
        const seen = stage.begin(each);
        stage.node.ingress(stage.reply(each, seen));
        const names = { v4: 'port-unreachable', v6: 'port-unreachable' };
        const error = stage.node.icmp(
          stage.fromPod(0, outside[end]),
          names,
          undefined,
          stage.delivered(each),
        );
        const outcome = stage.send(0, error);
        if (protocol === 'icmp') {
          // No host reports errors about an echo reply (RFC 1122, 3.2.2), so the error is dropped.
          assert.equal(outcome.verdict, 'drop');
          return;
        }
        const ip = stage.node.from(each.to, stage.node.node, { ttl: 63 });
        const about = stage.node.bare(stage.on(ip, { ...each, port: seen }, true));
        const wanted = stage.node.icmp(
          stage.node.to(stage.node.node, outside[end], { ttl: 63 }),
          names,
          undefined,
          about,
        );
        stage.expectSent(outcome, stage.node.bare(wanted), 'error');
      });
    }

    test('connections keep their ports when the agent restarts', () => {
      const all = masqueradedProtocols.map((protocol) => connection({ protocol }));
      const seen = all.map((each) => stage.begin(each));
      stage.restart();
      all.forEach((each, i) => {
        const { protocol } = each;
        const back = stage.node.ingress(stage.reply(each, seen[i]!));
        stage.expectSent(back, stage.delivered(each), protocol);
        assert.equal(stage.begin(each), seen[i], protocol);
      });
    });

    test('connections of a removed pod end, and those of others go on', () => {
      const all = masqueradedProtocols.flatMap((protocol) =>
        [0, 1].map((pod) => connection({ protocol, pod })),
      );
      const seen = all.map((each) => stage.begin(each));
      world.datapath.pods.remove(world.of(world.pod(1)).ifindex);
      all.forEach((each, i) => {
        const { verdict } = stage.node.ingress(stage.reply(each, seen[i]!));
        assert.equal(verdict, each.pod === 0 ? 'send' : 'pass', `${each.protocol} ${each.pod}`);
      });
      world.servePods();
    });

    test('destinations that are excluded see the address of the pod', () => {
      for (const protocol of masqueradedProtocols) {
        const each = connection({ protocol, to: excluded[end] });
        const outcome = stage.send(0, stage.request(each));
        const ip = stage.fromPod(0, excluded[end], { ttl: 63 });
        stage.expectSent(outcome, stage.node.bare(stage.on(ip, each)), protocol);
      }
    });

    test('what cannot be masqueraded is dropped with a reason', () => {
      const to = outside[end];
      const plain = stage.fromPod(0, to);
      const gre = (
        end === 'v4' ? plain.with('ipv4', { protocol: 47 }) : plain.with('ipv6', { nextHeader: 47 })
      ).payload(64);
      const ack = stage.fromPod(0, to).tcp({ sport: 9, dport: 80, ack: true });
      const [, later] = stage
        .request(connection({ protocol: 'udp' }), { size: 192 })
        .fragments([96, 96], 99);
      const error = stage.node.icmp(
        stage.fromPod(0, to),
        { v4: 'port-unreachable', v6: 'port-unreachable' },
        undefined,
        stage.delivered(connection({ protocol: 'udp' })),
      );
      const drops = stage.drops(() => {
        for (const packet of [gre, later!, error]) {
          assert.equal(stage.send(0, packet).verdict, 'drop');
        }
        const outcome = stage.send(0, ack);
        assert.equal(outcome.packet.layer('tcp')?.rst, true, 'the pod gets a reset');
      });
      assert.deepEqual(drops, { masqueradeProtocol: 1, fragment: 1, noFlow: 2 });
    });

    test('what is for an address of the node that services do not know goes to the stack', () => {
      const own = { v4: '192.0.2.55', v6: 'fd00:192:0:2::55' };
      const length = end === 'v4' ? 32 : 128;
      world.node.configure((socket) =>
        addAddress(socket, world.node.link('lo').index, `${own[end]}/${length}`),
      );
      const begin = stage.fromPod(0, own[end]);
      const segments = [
        begin.tcp({ sport: 9, dport: 80, syn: true }),
        begin.tcp({ sport: 9, dport: 80, ack: true }),
        begin.udp({ sport: 9, dport: 53 }),
      ];
      for (const packet of segments) assert.equal(stage.send(0, packet).verdict, 'pass');
    });

    test('an echo reply of a pod keeps its address', () => {
      const each = connection({ protocol: 'icmp' });
      const ip = stage.fromPod(0, outside[end]);
      const outcome = stage.send(0, stage.on(ip, each, true));
      const wanted = stage.on(stage.fromPod(0, outside[end], { ttl: 63 }), each, true);
      stage.expectSent(outcome, stage.node.bare(wanted), 'echo reply');
    });

    test('a packet whose TTL ends goes to the stack, which reports it', () => {
      const each = connection({ protocol: 'udp' });
      assert.equal(stage.send(0, stage.request(each, { ttl: 1 })).verdict, 'pass');
    });
  });
}
