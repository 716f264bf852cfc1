import assert from 'node:assert/strict';
import type { ObjectChange } from '@heddle/objects';
import { judgeDirection, type Question, type Verdict } from '../src/judge.ts';
import { PolicyModel } from '../src/policy-model.ts';
import { PolicyWorld } from '../src/policy-world.ts';
import type { Direction } from '../src/rows.ts';
import { CompiledPolicies } from './compiled-verdict.ts';

/** The models of two nodes and the judge, fed with the same changes. */
export class Comparison {
  readonly world = new PolicyWorld();
  readonly nodes: ReadonlyMap<string, { model: PolicyModel; compiled: CompiledPolicies }>;

  constructor(...nodes: readonly string[]) {
    this.nodes = new Map(
      nodes.map((nodeName) => [
        nodeName,
        { model: new PolicyModel({ nodeName }), compiled: new CompiledPolicies() },
      ]),
    );
  }

  apply(changes: readonly ObjectChange[]): void {
    this.world.apply(changes);
    for (const { model, compiled } of this.nodes.values()) compiled.apply(model.apply(changes));
  }

  /** Checks that each model is in the state of one that has only seen the present objects. */
  checkFromScratch(): void {
    for (const [nodeName, { model, compiled }] of this.nodes) {
      const fresh = new PolicyModel({ nodeName });
      const other = new CompiledPolicies();
      const objects = Array.from(model.records(), (object) => ({ op: 'set', object }) as const);
      other.apply(fresh.apply(objects.reverse()));
      assert.deepEqual(compiled.normalForm(), other.normalForm());
      assert.deepEqual(model.demand, fresh.demand);
      assert.deepEqual(model.sizes, fresh.sizes);
    }
  }

  /** Returns whether a connection is allowed by the models of both ends; checks each direction against the judge. */
  ask(question: Question): boolean {
    return (['egress', 'ingress'] as const)
      .map((direction) => this.#askDirection(question, direction))
      .every(Boolean);
  }

  #askDirection(question: Question, direction: Direction): boolean {
    const expected = judgeDirection(this.world, question, direction);
    // These are decided before any policy is looked at.
    if (['no-pod', 'itself', 'own-node'].includes(expected.reason)) return expected.allowed;
    const pod = this.world.pods.get(expected.pod!)!;
    const node = this.nodes.get(pod.nodeName);
    if (!node) return expected.allowed;
    const actual = node.compiled.verdict(expected.pod!, question, direction);
    assert.deepEqual(actual, expectation(expected), JSON.stringify({ question, direction }));
    if (expected.audited) {
      const audited = node.compiled.verdict(expected.pod!, question, direction, true);
      assert.deepEqual(audited, expectation(expected.audited), JSON.stringify({ question }));
    }
    return actual.allowed;
  }
}

function expectation({ allowed, reason, rule }: Verdict) {
  if (rule) return { allowed, reason: `${rule.policy} ${rule.number}` };
  return { allowed, reason: reason === 'unknown-namespace' ? 'default-deny' : reason };
}
