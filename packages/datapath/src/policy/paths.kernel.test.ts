import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PodWorld } from '../../testing/pod-world.ts';
import {
  type Connection,
  PolicyStage,
  paths,
  policyProtocols,
} from '../../testing/policy-stage.ts';

for (const end of ['v4', 'v6'] as const) {
  describe(`network policies on each path, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    before(() => {
      world = new PodWorld(`policy-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });

    for (const protocol of policyProtocols) {
      for (const path of paths) {
        for (const isFromPod of [true, false]) {
          // A masqueraded pod is reached by its own address only, as in the case before.
          if (path === 'the world, masqueraded' && !isFromPod) continue;
          const direction = isFromPod ? 'egress' : 'ingress';
          const title = `${protocol} ${isFromPod ? 'to' : 'from'} ${path}`;
          const own = (): Connection => stage.connection(protocol, path, isFromPod);

          test(`${title} passes with its replies if a rule allows it`, () => {
            const rule = stage.rule(protocol, path);
            // The other direction denies all, but replies pass.
            stage.policies.set({ 0: { egress: {}, ingress: {}, [direction]: { rules: [rule] } } });
            const drops = stage.drops(() => {
              for (const connection of [own(), own()]) stage.open(connection);
            });
            assert.deepEqual(drops, {});
            // The node needs no rule.
            const isNode = path === 'the node' && !isFromPod;
            assert.equal(stage.policies.decided(rule), isNode ? 0 : 2);
          });

          if (path === 'the node' && !isFromPod) {
            test(`${title} passes although a rule denies all`, () => {
              const rule = { tier: 'Admin', action: 'deny' } as const;
              stage.policies.set({ 0: { egress: { rules: [rule] }, ingress: { rules: [rule] } } });
              stage.open(own());
              assert.equal(stage.policies.decided(rule), 0);
            });
            continue;
          }

          test(`${title} is dropped if no rule allows it`, () => {
            const others = { peers: ['192.0.2.77', '2001:db8::77'] };
            const subject = { rules: [stage.rule(protocol, path, others)] };
            stage.policies.set({ 0: { [direction]: subject } });
            const connection = own();
            const drops = stage.drops(() => {
              stage.expectDenied(stage.request(connection), 'request');
              stage.expectDenied(stage.request(connection), 'request again');
            });
            assert.deepEqual(drops, { policyDefault: 2 });
            assert.equal(stage.policies.defaultDenied(subject), 2);
          });

          test(`${title} is dropped if a rule denies it`, () => {
            const rule = stage.rule(protocol, path, { tier: 'Admin', action: 'deny' });
            const subject = { rules: [rule, stage.rule(protocol, path)] };
            stage.policies.set({ 0: { [direction]: subject } });
            const drops = stage.drops(() => stage.expectDenied(stage.request(own()), 'request'));
            assert.deepEqual(drops, { policy: 1 });
            assert.equal(stage.policies.decided(rule), 1);
          });
        }
      }
    }
  });
}
