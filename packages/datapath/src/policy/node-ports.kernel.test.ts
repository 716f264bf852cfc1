import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eth, type Packet } from '@heddle/lab';
import { clients, packetHooks, xdpOf } from '../../testing/node-packets.ts';
import { PodWorld } from '../../testing/pod-world.ts';
import type { TestSubject } from '../../testing/policies.ts';
import { PolicyStage, serverPort } from '../../testing/policy-stage.ts';

for (const end of ['v4', 'v6'] as const) {
  for (const packetHook of packetHooks) {
    describe(`network policies and NodePorts, ${end}, ${packetHook}`, () => {
      const client = clients[end];
      const nodePort = 30_001;
      let world: PodWorld;
      let stage: PolicyStage;
      let sport = 20_000;
      before(() => {
        world = new PodWorld(`policy-port-${end}-${packetHook}`, 1, {
          lab: { nodes: 2, outside: 1 },
          xdp: xdpOf(packetHook),
        });
        stage = new PolicyStage(world, end);
      });
      after(() => {
        stage?.[Symbol.dispose]();
        world?.[Symbol.dispose]();
      });
      const pod = () => stage.pods.podAddress(0);
      const serve = (backend: string, more = {}) =>
        world.apply(stage.node.service(nodePort, [backend], more));
      const allowed = (peer: string): TestSubject => ({
        rules: [{ peers: [peer], ports: [{ protocol: 'TCP', port: serverPort }] }],
      });
      const segment = (flags: object) =>
        stage.node
          .from(client, stage.node.node)
          .tcp({ sport, dport: nodePort, seq: 1000, ...flags });
      const reply = (flags: object) => {
        const ip = stage.pods.fromPod(0, client);
        return stage.pods.send(0, ip.tcp({ sport: serverPort, dport: sport, seq: 2000, ...flags }));
      };
      const answer = { syn: true, ack: true, ackSeq: 1001 };
      const later = { ack: true, seq: 1001, ackSeq: 2001 };
      const laterReply = { ack: true, seq: 2001, ackSeq: 1001 };
      const others = () => ({ 0: { ingress: allowed(stage.addressOf('a pod of another node')) } });
      /** Opens a connection by packets that `wrap` makes of the client's, denies it, and tries another. */
      const openAndDeny = (wrap: (packet: Packet) => Packet) => {
        stage.policies.set({ 0: { egress: {}, ingress: allowed(client) } });
        sport++;
        assert.equal(stage.node.ingress(wrap(segment({ syn: true }))).verdict, 'send');
        assert.equal(reply(answer).verdict, 'send', 'the pod may reply');
        assert.equal(stage.node.ingress(wrap(segment(later))).verdict, 'send', 'the next segment');
        stage.policies.set(others());
        const drops = stage.drops(() => {
          stage.expectDenied(stage.node.ingress(wrap(segment(later))), 'client');
          stage.expectDenied(reply(laterReply), 'pod');
          sport++;
          stage.expectDenied(stage.node.ingress(wrap(segment({ syn: true }))), 'another client');
        });
        assert.deepEqual(drops, { policyDefault: 3 });
      };

      test('a pod sees its client, and is judged by it', () => {
        serve(pod());
        openAndDeny((packet) => packet);
      });

      test('a pod that another node has tunnelled to is judged by the client', () => {
        const [, other] = world.lab.nodes;
        const peer = other!.addresses[end];
        world.datapath.nat.setTunnelEnds({ peers: [peer], own: [stage.node.node] });
        serve(pod(), { forwarding: 'dsr' });
        openAndDeny((packet) => {
          const { src, dst } = packet.layer('eth')!;
          const outer = eth({ src: src!, dst: dst! });
          const ends = { src: peer, dst: pod() };
          return packet.within(end === 'v4' ? outer.ipv4({ ...ends, df: true }) : outer.ipv6(ends));
        });
      });

      test('a backend on another node is reached without a rule', () => {
        serve(stage.addressOf('a pod of another node'));
        stage.policies.set({ 0: { egress: {}, ingress: {} } });
        sport++;
        assert.equal(stage.node.ingress(segment({ syn: true })).verdict, 'send');
      });

      if (packetHook === 'xdp') {
        test('XDP leaves the packets to policed pods, new and known, to the verdict', () => {
          serve(pod());
          stage.policies.set({ 0: { ingress: allowed(client) } });
          sport++;
          const flows = () => [...world.datapath.nat.flows()].length;
          const before = flows();
          assert.equal(stage.node.xdp(segment({ syn: true })).verdict, 'pass');
          assert.equal(flows(), before, 'no entry without a verdict');
          assert.equal(stage.node.ingress(segment({ syn: true })).verdict, 'send');
          assert.equal(flows(), before + 1);
          assert.equal(reply(answer).verdict, 'send');
          assert.equal(stage.node.xdp(segment(later)).verdict, 'pass');
          stage.policies.clear();
          sport++;
          stage.node.xdp(segment({ syn: true }));
          assert.equal(flows(), before + 2, 'XDP enters the connections of other pods');
        });
      }
    });
  }
}
