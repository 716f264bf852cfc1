import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PodWorld } from '../../testing/pod-world.ts';
import type { TestSubject } from '../../testing/policies.ts';
import { type Path, PolicyStage, serverPort } from '../../testing/policy-stage.ts';

const peers = ['a pod of the node', 'a pod of another node', 'the world'] as const satisfies Path[];

for (const end of ['v4', 'v6'] as const) {
  describe(`responses to packets that network policies deny, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    before(() => {
      world = new PodWorld(`policy-answer-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });
    const prohibited = end === 'v4' ? [3, 13] : [1, 1];
    /** Returns the type and code of the ICMP error in a packet. */
    const icmpOf = ({ packet }: ReturnType<PolicyStage['request']>) => {
      const bytes = packet.bytes;
      const at = 14 + (end === 'v4' ? 20 : 40);
      return [bytes[at], bytes[at + 1]];
    };
    const closed = { egress: {}, ingress: {} };

    for (const path of peers) {
      for (const isFromPod of [true, false]) {
        const title = `${isFromPod ? 'to' : 'from'} ${path}`;

        test(`nothing is sent by default, ${title}`, () => {
          stage.policies.respond('none');
          stage.policies.set({ 0: closed });
          for (const protocol of ['tcp', 'udp', 'icmp'] as const) {
            stage.expectDenied(
              stage.request(stage.connection(protocol, path, isFromPod)),
              protocol,
            );
          }
        });

        test(`a TCP segment is reset, and other packets get an ICMP error, ${title}`, () => {
          stage.policies.respond('reset');
          stage.policies.set({ 0: closed });
          const connection = stage.connection('tcp', path, isFromPod);
          const { verdict, packet } = stage.request(connection);
          assert.equal(verdict, 'send');
          const tcp = packet.layer('tcp')!;
          assert.deepEqual(
            [tcp.rst, tcp.ack, tcp.ackSeq, tcp.sport, tcp.dport],
            [true, true, 1001, serverPort, connection.port],
          );
          const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
          const [own, other] = [stage.pods.podAddress(0), stage.addressOf(path)];
          assert.deepEqual([ip.src, ip.dst], isFromPod ? [other, own] : [own, other]);
          for (const protocol of ['udp', 'icmp', 'sctp'] as const) {
            const outcome = stage.request(stage.connection(protocol, path, isFromPod));
            assert.equal(outcome.verdict, 'send', protocol);
            assert.deepEqual(icmpOf(outcome), prohibited, protocol);
          }
        });

        test(`each packet gets an ICMP error, ${title}`, () => {
          stage.policies.respond('icmp');
          stage.policies.set({ 0: closed });
          for (const protocol of ['tcp', 'udp'] as const) {
            const outcome = stage.request(stage.connection(protocol, path, isFromPod));
            assert.equal(outcome.verdict, 'send', protocol);
            assert.deepEqual(icmpOf(outcome), prohibited, protocol);
          }
        });
      }

      test(`a connection that policies end is reset, from ${path}`, () => {
        stage.policies.respond('reset');
        const connection = stage.connection('tcp', path, false);
        stage.policies.set({ 0: { ingress: { rules: [{}] } } });
        stage.open(connection);
        stage.policies.set({ 0: { ingress: {} } });
        const { verdict, packet } = stage.more(connection);
        assert.equal(verdict, 'send');
        assert.deepEqual([packet.layer('tcp')!.rst, packet.layer('tcp')!.seq], [true, 2001]);
        // A reset gets no answer.
        stage.expectDenied(stage.more(connection, false, { rst: true, ack: false }), 'reset');
      });

      test(`no answer is sent about an ICMP error, from ${path}`, () => {
        stage.policies.respond('icmp');
        stage.policies.set({ 0: { ingress: {} } });
        stage.expectDenied(stage.error(stage.connection('udp', path, true)), 'error');
      });
    }

    test('the policy that denies decides about the response, by a rule and by default', () => {
      const udp = stage.connection('udp', 'a pod of another node', false);
      const tcp = stage.connection('tcp', 'a pod of another node', false);
      const respond = (connection: typeof tcp) => {
        const outcome = stage.request(connection);
        if (outcome.verdict !== 'send') return 'none';
        return outcome.packet.layer('tcp')?.rst ? 'reset' : 'icmp';
      };
      for (const setting of ['none', 'icmp', 'reset'] as const) {
        stage.policies.respond(setting);
        for (const response of [undefined, 'none', 'icmp', 'reset'] as const) {
          const own = response ? { response } : {};
          const wanted = response ?? setting;
          for (const [kind, ingress] of Object.entries({
            'by default': own,
            'by a rule': { isIsolated: false, rules: [{ action: 'deny', tier: 'Admin', ...own }] },
            // The response of the NetworkPolicies is not that of the rule.
            'by a rule of an isolated pod': {
              response: 'icmp',
              rules: [{ action: 'deny', tier: 'Admin', ...own }],
            },
          } satisfies Record<string, TestSubject>)) {
            stage.policies.set({ 0: { ingress } });
            const text = `${kind}, ${response}, setting ${setting}`;
            assert.equal(respond(tcp), wanted, text);
            assert.equal(respond(udp), wanted === 'none' ? 'none' : 'icmp', text);
          }
          // The two directions of a pod have their own policies.
          stage.policies.set({ 0: { egress: own, ingress: { response: 'icmp' } } });
          const out = stage.connection('tcp', 'a pod of another node', true);
          assert.equal(respond(out), wanted, `egress, ${response}, setting ${setting}`);
        }
      }
    });

    test('the answer reaches the pod although it has policies', () => {
      stage.policies.respond('reset');
      stage.policies.set({ 0: closed });
      const client = world.socket(world.pod(0), end === 'v4' ? 4 : 6, 'tcp');
      const refused = ['ECONNREFUSED', 'EACCES', 'EHOSTUNREACH'];
      const outcome = client.connect(world.pod(1).addresses[end], serverPort);
      assert.ok(refused.includes(outcome), outcome);
    });
  });
}
