import { type NodeRecord, nodeKind, type ObjectChange } from '@heddle/objects';
import type { Feature, FeatureDefinition, FeatureHost, WarningFacts } from '../../feature.ts';
import type { Watch } from '../../source/watches.ts';
import { nodeNameProblem } from './node-name.ts';

/** Follows this node's Node object: whether there is one, and whether the node is being deleted (KEP-3836). */
export const ownNodeFeature: FeatureDefinition<unknown> = {
  name: 'own-node',
  kinds: [nodeKind],
  open: (host) => new OwnNodeFeature(host),
};

class OwnNodeFeature implements Feature {
  readonly watches: readonly Watch[];
  readonly #host: FeatureHost;
  readonly #names = new Set<string>();
  #isLeaving = false;

  constructor(host: FeatureHost) {
    this.#host = host;
    this.watches = [{ kind: nodeKind, fieldSelector: `metadata.name=${host.config.node}` }];
  }

  get isNodeEligible(): boolean {
    return !this.#isLeaving;
  }

  apply(changes: readonly ObjectChange[]): void {
    for (const change of changes) {
      if (change.op === 'invalid') continue;
      const { name } = change.op === 'set' ? change.object : change;
      if (change.op === 'set') this.#names.add(name);
      else this.#names.delete(name);
      if (name !== this.#host.config.node) continue;
      this.#setLeaving(change.op === 'delete' || (change.object as NodeRecord).leaving);
    }
  }

  warnings({ source, isComplete }: WarningFacts): readonly string[] {
    if (!isComplete) return [];
    const problem = nodeNameProblem(this.#host.config.node, [...this.#names], source.kind);
    return problem === undefined ? [] : [problem];
  }

  [Symbol.dispose](): void {}

  #setLeaving(isLeaving: boolean): void {
    if (isLeaving === this.#isLeaving) return;
    this.#isLeaving = isLeaving;
    const { node } = this.#host.config;
    const message = isLeaving
      ? `node ${node} is being deleted: /healthz answers 503, so that load balancers avoid it`
      : `node ${node} stays: /healthz is good again`;
    this.#host.events.add('info', 'agent', node, message);
  }
}
