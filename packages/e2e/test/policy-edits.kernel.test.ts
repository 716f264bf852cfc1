// Random edits of policies and labels: packets then have the verdicts of the naive judge, also where agents are killed in
// between. HEDDLE_EDITS=10000 makes more edits, HEDDLE_SEED=2 others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabNode } from '@heddle/lab';
import type { Random } from '@heddle/vm/internal';
import type { ManifestObject } from '../testing/node-network-lab.ts';
import { nodeObject } from '../testing/node-network-lab.ts';
import type { CaseLab } from '../testing/policy/case-lab.ts';
import { clusterPolicyCases } from '../testing/policy/cluster-policy-cases.ts';
import { DirectPolicyLab } from '../testing/policy/direct-lab.ts';
import { judged, worldOf } from '../testing/policy/naive.ts';
import { networkPolicyCases } from '../testing/policy/network-policy-cases.ts';
import { ownPods, ownPorts } from '../testing/policy/own-cases.ts';
import { CasePlayer } from '../testing/policy/player.ts';
import type { PolicyStep } from '../testing/policy/policy-case.ts';
import { PolicyLab } from '../testing/policy/policy-lab.ts';
import { randomOf } from '../testing/random.ts';

const edits = process.env.HEDDLE_EDITS === undefined ? undefined : Number(process.env.HEDDLE_EDITS);
/** An agent is killed in one of so many edits. */
const killEach = 4;

/** Makes edits in a lab, and compares what packets meet after each with the naive judge. */
async function compare(
  lab: CaseLab & { readonly lab: { readonly nodes: readonly LabNode[] } },
  random: Random,
  count: number,
): Promise<void> {
  using player = new CasePlayer(lab, ownPorts);
  await player.connect(ownPods.map((spec) => ({ spec })));
  const addressesOf = (pod: string) => lab.hostOf(pod).addresses;
  const nodes = lab.lab.nodes.map((node) => nodeObject(node));
  const steps = [...networkPolicyCases(addressesOf), ...clusterPolicyCases(addressesOf)].flatMap(
    (each) => each.steps,
  );
  let denied = 0;
  let allowed = 0;
  for (let edit = 1; edit <= count; edit++) {
    const policies = new Map<string, ManifestObject>();
    for (let i = random.below(4); i >= 0; i--) {
      for (const policy of random.pick(steps).policies) {
        const { kind, metadata } = policy;
        policies.set(`${kind} ${metadata.namespace}/${metadata.name}`, policy);
      }
    }
    const labelled = random.pick(steps);
    const state: PolicyStep = {
      ...{ namespaces: labelled.namespaces, pods: labelled.pods },
      ...{ policies: [...policies.values()], expected: [] },
    };
    const world = worldOf(state, nodes, addressesOf);
    const expected = judged(world, labelled.expected, addressesOf, 'v4');
    assert.deepEqual(judged(world, labelled.expected, addressesOf, 'v6'), expected);
    const { report } = await player.play([
      { title: `edit ${edit}`, steps: [{ ...state, expected }] },
    ]);
    assert.equal(report, '');
    allowed += expected.filter((each) => each.allowed).length;
    denied += expected.filter((each) => !each.allowed).length;
  }
  assert.ok(denied > 0 && allowed > 0, `${denied} denied, ${allowed} allowed`);
}

test('random edits end in the verdicts of the naive judge', async () => {
  using lab = new DirectPolicyLab('policy-edits');
  await compare(lab, randomOf('policy-edits'), edits ?? 60);
});

test('random edits end in the verdicts of the naive judge, also where agents are killed', async () => {
  using lab = new PolicyLab('policy-kills');
  await lab.start();
  const random = randomOf('policy-kills');
  let changes = 0;
  lab.afterChange = async () => {
    if (++changes % killEach !== 0) return;
    const node = lab.node(1 + random.below(2));
    await sleep(random.below(30));
    await lab.kill(node);
    await lab.startOn(node);
  };
  await compare(lab, random, edits ?? 8);
});
