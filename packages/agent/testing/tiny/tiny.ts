import { type Kind, type ObjectChange, type ObjectRef, ownText } from '@heddle/objects';
import type { Operations } from '@heddle/state';
import type { Feature, FeatureDefinition, FeatureHost, Methods } from '../../src/feature.ts';
import type { MetricFacts } from '../../src/metrics/agent-metrics.ts';
import type { Registry } from '../../src/metrics/registry.ts';
import { Rows } from '../../src/rows.ts';

// The smallest feature: a bell rings at a time. It has one kind of object, one table, and one map.

interface BellRecord extends ObjectRef {
  readonly kind: 'bell';
  readonly ringAt: string;
}

/** A bell that rings, as the map has it. */
export interface BellRow {
  readonly key: string;
  readonly ringAt: string;
}

/** The datapath as bells need it. */
export interface BellDatapath {
  readonly bells: Map<string, string>;
}

export interface BellStatus {
  readonly bells: { readonly ringing: number };
}

const bellKind: Kind<BellRecord> = {
  ...{ name: 'bell', apiVersion: 'tiny.example/v1', kind: 'Bell' },
  ...{ isNamespaced: true, path: '/apis/tiny.example/v1/bells' },
  fields: { apiVersion: true, kind: true, metadata: true, spec: { ringAt: true } },
  read(value) {
    const { metadata, spec } = value as {
      readonly metadata: { readonly name: string; readonly namespace?: string };
      readonly spec: { readonly ringAt: string };
    };
    const { name, namespace = 'default' } = metadata;
    const ref = { kind: 'bell', namespace: ownText(namespace), name: ownText(name) } as const;
    return { kind: 'record', record: { ...ref, ringAt: ownText(spec.ringAt) } };
  },
};

export const tinyFeature: FeatureDefinition<BellDatapath> = {
  name: 'tiny',
  kinds: [bellKind],
  open: (host, datapath) => new TinyFeature(host, datapath),
};

class TinyFeature implements Feature {
  readonly watches = [{ kind: bellKind }];
  readonly methods: Methods;
  readonly progress: Rows<BellRow>;
  readonly #datapath: BellDatapath;

  constructor(host: FeatureHost, datapath: BellDatapath) {
    this.#datapath = datapath;
    this.progress = new Rows(host, {
      operations: operationsOn(datapath.bells),
      describe: ({ ringAt }) => ` at ${ringAt}`,
    });
    this.methods = { 'bell.list': () => ({ items: [...this.progress.all()] }) };
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    const upserted: BellRow[] = [];
    const removed: string[] = [];
    for (const change of changes as readonly ObjectChange<BellRecord>[]) {
      const { namespace, name } = change.op === 'set' ? change.object : change;
      const key = `${namespace}/${name}`;
      if (change.op === 'set') upserted.push({ key, ringAt: change.object.ringAt });
      else if (change.op === 'delete') removed.push(key);
    }
    this.progress.write({ upserted, removed });
    if (isComplete) this.progress.setComplete();
  }

  status(): BellStatus {
    return { bells: { ringing: this.#datapath.bells.size } };
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    const { bells } = this.#datapath;
    registry.value('gauge', 'heddle_bells', 'Bells that ring.', () => bells.size);
  }

  [Symbol.dispose](): void {
    this.progress[Symbol.dispose]();
  }
}

function operationsOn(bells: Map<string, string>): Operations<BellRow> {
  return {
    update(rows) {
      for (const { key, ringAt } of rows) bells.set(key, ringAt);
      return rows.map(() => undefined);
    },
    remove(keys) {
      for (const key of keys) bells.delete(key);
      return keys.map(() => undefined);
    },
    prune(desired) {
      const wanted = new Set(Array.from(desired, ({ key }) => key));
      for (const key of bells.keys()) if (!wanted.has(key)) bells.delete(key);
    },
  };
}
