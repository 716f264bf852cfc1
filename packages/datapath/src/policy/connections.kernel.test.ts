import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PodWorld } from '../../testing/pod-world.ts';
import { PolicyStage, policyProtocols } from '../../testing/policy-stage.ts';

for (const end of ['v4', 'v6'] as const) {
  describe(`connections under network policies, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    before(() => {
      world = new PodWorld(`policed-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });
    const local = 'a pod of the node';
    const remote = 'a pod of another node';

    for (const protocol of policyProtocols) {
      for (const path of [local, remote] as const) {
        const allowed = () => ({ rules: [stage.rule(protocol, path)] });
        const denied = { rules: [] };

        test(`${protocol} from ${path} ends in both directions when policies deny it, and goes on when they allow it`, () => {
          const connection = stage.connection(protocol, path, false);
          stage.policies.set({ 0: { ingress: allowed() } });
          stage.open(connection);
          // From here on its packets are like recent ones, which the programs forward at once.
          for (const isReply of [false, true, false, true]) {
            stage.expectPassed(stage.more(connection, isReply), connection, 'like a recent one');
          }
          const isHeld = () =>
            [...world.datapath.nat.flows()].find(({ clientPort }) => clientPort === connection.port)
              ?.confirmed;
          if (protocol === 'tcp') assert.equal(isHeld(), true);
          stage.policies.set({ 0: { ingress: denied } });
          const drops = stage.drops(() => {
            // The pod's egress is free, but its packets belong to a connection that is denied.
            stage.expectDenied(stage.more(connection, true), 'reply');
            stage.expectDenied(stage.more(connection), 'request');
            stage.expectDenied(stage.more(connection, true), 'reply again');
          });
          assert.deepEqual(drops, { policyDefault: 3 });
          assert.equal(isHeld(), false, 'its entry may be evicted');
          assert.equal(stage.policies.defaultDenied(denied), 1, 'one connection');
          const subject = allowed();
          stage.policies.set({ 0: { ingress: subject } });
          stage.expectPassed(stage.more(connection, true), connection, 'reply');
          stage.expectPassed(stage.more(connection), connection, 'request');
          assert.equal(stage.policies.decided(subject.rules[0]!), 0, 'it is no new connection');
        });

        test(`${protocol} from ${path} goes on while open connections are kept`, () => {
          const connection = stage.connection(protocol, path, false);
          stage.policies.set({ 0: { ingress: allowed() } });
          stage.open(connection);
          stage.policies.keepOpen(true);
          stage.policies.set({ 0: { ingress: denied } });
          stage.expectPassed(stage.more(connection), connection, 'request');
          stage.expectDenied(
            stage.request(stage.connection(protocol, path, false)),
            'another connection',
          );
          stage.policies.keepOpen(false);
          stage.policies.set({ 0: { ingress: denied } });
          stage.expectDenied(stage.more(connection), 'request');
        });
      }
    }

    for (const path of [local, remote] as const) {
      test(`TCP from ${path} is closed by its ends wherever their sequence numbers are by then`, () => {
        const connection = stage.connection('tcp', path, false);
        stage.policies.set({ 0: { ingress: { rules: [stage.rule('tcp', path)] } } });
        stage.open(connection);
        const state = () =>
          [...world.datapath.nat.flows()].find(({ clientPort }) => clientPort === connection.port)
            ?.state;
        // Most packets do not change the entry, so it does not know how far the sides are.
        const [client, server] = [0x40001001, 0x60002001];
        const end = { fin: true, ack: true };
        stage.more(connection, false, { ...end, seq: client, ackSeq: server });
        stage.more(connection, true, { ...end, seq: server, ackSeq: client + 1 });
        assert.match(state()!, /^closed/);
      });
    }

    test('a closed subject denies all but the node', () => {
      const closed = { rules: [{}], isClosed: true };
      stage.policies.set({ 0: { egress: closed, ingress: closed } });
      for (const protocol of policyProtocols) {
        for (const path of [local, remote, 'the world', 'the node'] as const) {
          for (const isFromPod of [true, false]) {
            const connection = stage.connection(protocol, path, isFromPod);
            if (path === 'the node' && !isFromPod) stage.open(connection);
            else stage.expectDenied(stage.request(connection), `${protocol} ${path} ${isFromPod}`);
          }
        }
      }
      // The first subject is closed even if nothing was written to it.
      const addresses = [world.pod(0).addresses.v4, world.pod(0).addresses.v6];
      world.datapath.podTables.setPolicy(addresses, { egress: 1, ingress: 1 });
      stage.expectDenied(stage.request(stage.connection('tcp', local, true)), 'request');
      stage.open(stage.connection('tcp', 'the node', false));
    });

    test('a pod reaches itself', () => {
      const closed = { isClosed: true };
      stage.policies.set({ 0: { egress: closed, ingress: closed } });
      const own = stage.pods.podAddress(0);
      const packet = stage.pods.fromPod(0, own).udp({ sport: 5, dport: 6 }).payload('hello');
      assert.equal(stage.pods.send(0, packet).verdict, 'send');
    });

    test('the tiers decide in turn, and a rule that passes leaves it to the next tier', () => {
      const rule = (
        tier: 'Admin' | 'NetworkPolicy' | 'Baseline',
        action: 'allow' | 'deny' | 'pass',
      ) => stage.rule('tcp', local, { tier, action });
      const judge = (subject: Parameters<typeof stage.policies.set>[0][0]['ingress']) => {
        stage.policies.set({ 0: { ingress: subject! } });
        const connection = stage.connection('tcp', local, false);
        return Object.keys(stage.drops(() => stage.request(connection)))[0] ?? 'allowed';
      };
      const admin = {
        allow: rule('Admin', 'allow'),
        deny: rule('Admin', 'deny'),
        pass: rule('Admin', 'pass'),
      };
      const network = rule('NetworkPolicy', 'allow');
      const baseline = { allow: rule('Baseline', 'allow'), deny: rule('Baseline', 'deny') };
      assert.equal(judge({ rules: [admin.allow, admin.deny] }), 'allowed', 'the first rule');
      assert.equal(judge({ rules: [admin.deny, network] }), 'policy');
      assert.equal(judge({ rules: [admin.pass, admin.deny, network] }), 'allowed');
      assert.equal(judge({ rules: [admin.pass, baseline.allow] }), 'policyDefault', 'isolated');
      const isIsolated = false;
      assert.equal(judge({ rules: [admin.pass, baseline.deny], isIsolated }), 'policy');
      assert.equal(judge({ rules: [baseline.allow, baseline.deny], isIsolated }), 'allowed');
      assert.equal(judge({ rules: [admin.pass], isIsolated }), 'allowed', 'nothing denies');
    });

    test('rules beyond the first word of a vector decide, too', () => {
      const filler = Array.from({ length: 300 }, (_, i) =>
        stage.rule('tcp', local, { ports: [{ protocol: 'TCP', port: 1000 + i }] }),
      );
      const rule = stage.rule('tcp', local);
      const subject = { rules: [...filler, rule] };
      stage.policies.set({ 0: { ingress: subject } });
      stage.open(stage.connection('tcp', local, false));
      assert.equal(stage.policies.decided(rule), 1);
      assert.ok(stage.policies.ruleOf(rule) > 64 * 20);
    });

    test('a range is a peer but for what is excepted from it', () => {
      const address = stage.addressOf(remote);
      const wide = end === 'v4' ? '10.0.0.0/8' : 'fd00::/16';
      const narrow = `${address}/${end === 'v4' ? 32 : 128}`;
      const deny = stage.rule('tcp', remote, { tier: 'Admin', action: 'deny', peers: [narrow] });
      const allow = stage.rule('tcp', remote, { peers: [wide] });
      stage.policies.set({ 0: { ingress: { rules: [allow] } } });
      stage.open(stage.connection('tcp', remote, false));
      stage.policies.set({ 0: { ingress: { rules: [deny, allow] } } });
      stage.expectDenied(stage.request(stage.connection('tcp', remote, false)), 'request');
      stage.open(stage.connection('tcp', local, false));
    });

    test('policies in audit mode report, and deny nothing', () => {
      const allow = stage.rule('tcp', local);
      const audit = { rules: [] };
      const enforced = { rules: [allow], audit };
      stage.policies.set({ 0: { ingress: enforced } });
      const verdicts = stage.policies.verdicts(() => {
        stage.open(stage.connection('tcp', local, false));
      });
      assert.deepEqual(
        verdicts.map(({ outcome, direction, ingressRule, subject }) => [
          outcome,
          direction,
          ingressRule,
          subject,
        ]),
        [['wouldDeny', 'ingress', 0, stage.policies.subjectOf(audit)]],
      );
      assert.equal(stage.policies.defaultDenied(audit), 1);
      assert.equal(stage.policies.decided(allow), 1);
    });

    test('verdicts about new and open connections are reported with their rules', () => {
      const [egress, ingress] = [
        stage.rule('tcp', local, { peers: [stage.pods.podAddress(0)] }),
        stage.rule('tcp', local),
      ];
      const receiver = { rules: [ingress] };
      const connection = stage.connection('tcp', local, false);
      stage.policies.set({ 0: { ingress: receiver }, 1: { egress: { rules: [egress] } } });
      const numbers = [stage.policies.ruleOf(egress), stage.policies.ruleOf(ingress)];
      const opened = stage.policies.verdicts(() => stage.open(connection));
      const read = (verdicts: typeof opened) =>
        verdicts.map(({ outcome, egressRule, ingressRule }) => [outcome, egressRule, ingressRule]);
      assert.deepEqual(read(opened), [['allowed', ...numbers]]);
      assert.equal(opened[0]!.destinationPort, 8080);
      const denied = { rules: [] };
      stage.policies.set({ 0: { ingress: denied } });
      const again = stage.policies.verdicts(() => {
        stage.more(connection);
        stage.more(connection);
      });
      assert.deepEqual(read(again), [['denied', 0, 0]]);
      assert.equal(again[0]!.subject, stage.policies.subjectOf(denied));
    });
  });
}
