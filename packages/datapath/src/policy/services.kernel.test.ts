import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodWorld } from '../../testing/pod-world.ts';
import type { TestSubject } from '../../testing/policies.ts';
import { PolicyStage, serverPort } from '../../testing/policy-stage.ts';
import { row } from '../../testing/rows.ts';

const virtual = { v4: '10.96.0.10', v6: 'fd00:10:96::10' } as const;

for (const end of ['v4', 'v6'] as const) {
  describe(`network policies and services, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    let port = 20_000;
    before(() => {
      world = new PodWorld(`policy-service-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });
    const address = (pod: number) => stage.pods.podAddress(pod);
    const serve = (at: string, backends: readonly string[]) =>
      world.apply(
        row(
          [{ kind: 'ClusterIP', address: at, port: 80 }],
          backends.map((each) => ({ address: each, port: serverPort })),
        ),
      );
    const allowed = (peer: string): TestSubject => ({
      rules: [{ peers: [peer], ports: [{ protocol: 'TCP', port: serverPort }] }],
    });

    test('a connection to a ClusterIP is judged by the backend, not by the address of the service', () => {
      serve(virtual[end], [address(1)]);
      const request = () =>
        stage.pods.send(
          0,
          stage.pods.fromPod(0, virtual[end]).tcp({ sport: port++, dport: 80, syn: true }),
        );
      stage.policies.set({ 0: { egress: allowed(virtual[end]) } });
      stage.expectDenied(request(), 'a rule of the service’s address');
      const ports = [{ protocol: 'TCP', port: 80 }] as const;
      stage.policies.set({ 0: { egress: { rules: [{ peers: [address(1)], ports }] } } });
      stage.expectDenied(request(), 'a rule of the service’s port');
      stage.policies.set({ 0: { egress: allowed(address(1)), ingress: {} } });
      const sport = port;
      assert.equal(request().verdict, 'send');
      const back = stage.pods.fromPod(1, address(0));
      const answer = back.tcp({ sport: serverPort, dport: sport, syn: true, ack: true, ackSeq: 1 });
      const { verdict, packet } = stage.pods.send(1, answer);
      assert.equal(verdict, 'send');
      assert.equal(packet.layer('tcp')!.sport, 80, 'the reply is the service’s');
      // The receiver's policies decide, too.
      stage.policies.set({ 0: { egress: allowed(address(1)) }, 1: { ingress: {} } });
      stage.expectDenied(request(), 'the receiver');
    });

    test('a pod reaches itself through a service', () => {
      serve(virtual[end], [address(0)]);
      stage.policies.set({ 0: { egress: { isClosed: true }, ingress: { isClosed: true } } });
      const syn = stage.pods.fromPod(0, virtual[end]).tcp({ sport: port++, dport: 80, syn: true });
      assert.equal(stage.pods.send(0, syn).verdict, 'send');
    });

    test('where netfilter tracks connections, packets pass the stack with a verdict', () => {
      world.datapath.nat.setTracked(true);
      try {
        for (const path of ['a pod of the node', 'a pod of another node'] as const) {
          const request = (isAllowed: boolean) => {
            const subject = isAllowed ? { rules: [stage.rule('tcp', path)] } : {};
            stage.policies.set({ 0: { ingress: subject } });
            return stage.request(stage.connection('tcp', path, false)).verdict;
          };
          assert.equal(request(true), 'pass');
          assert.equal(request(false), 'drop');
          // What the stack forwards is judged when it leaves to the pod, also if no other program saw it.
          const frame = () =>
            stage
              .toPodFrame(0, stage.addressOf(path))
              .tcp({ sport: port++, dport: serverPort, syn: true });
          assert.equal(stage.toPod(0, frame()).verdict, 'drop');
          stage.policies.set({ 0: { egress: {}, ingress: { rules: [stage.rule('tcp', path)] } } });
          assert.equal(stage.toPod(0, frame()).verdict, 'pass');
          const back = stage.pods.fromPod(0, stage.addressOf(path));
          const reply = { sport: serverPort, dport: port - 1, syn: true, ack: true, ackSeq: 1 };
          assert.equal(stage.pods.send(0, back.tcp(reply)).verdict, 'pass');
        }
      } finally {
        world.datapath.nat.setTracked(false);
      }
    });

    test('the event of a denied packet has the direction and the rule', async () => {
      const rule = stage.rule('udp', 'a pod of the node', { tier: 'Admin', action: 'deny' });
      stage.policies.set({ 0: { ingress: { rules: [rule] } } });
      const number = stage.policies.ruleOf(rule) - 1;
      const seen: unknown[] = [];
      using _watch = world.datapath.drops.watch(({ policy }) => seen.push(policy));
      stage.request(stage.connection('udp', 'a pod of the node', false));
      stage.policies.set({ 0: { egress: {} } });
      stage.request(stage.connection('udp', 'the world', true));
      await eventually('both events', () => seen.length === 2);
      assert.deepEqual(seen, [
        { direction: 'ingress', rule: number },
        { direction: 'egress', rule: undefined },
      ]);
    });
  });
}
