import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type Kind, nodeKind, serviceKind } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { freePins, MemoryDatapath, ScriptedSource, service } from '../testing/parts.ts';
import { Talk } from '../testing/talk.ts';
import { Agent } from './agent.ts';
import type { AgentStatus } from './agent-status.ts';
import { readConfig } from './config.ts';
import type { Feature, FeatureDefinition, FeatureHost } from './feature.ts';
import type { Demand } from './source/watches.ts';
import type { RowCounts } from './status.ts';

const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, spec: {} };

let folder: string;
let agent: Agent | undefined;
let source: ScriptedSource;
let demand: Demand;
/** The calls of features, in order. */
let calls: string[];

/** A feature that records its calls, and whose rows a test counts. */
class RecordingFeature implements Feature {
  readonly watches;
  readonly methods;
  readonly counts: { -readonly [State in keyof RowCounts]: number } = {
    ...{ done: 0, pending: 0, failed: 0 },
  };
  waitedMs = 0;
  isNodeEligible = true;
  readonly host: FeatureHost;
  readonly #name: string;

  constructor(name: string, kinds: readonly Kind[], host: FeatureHost) {
    this.#name = name;
    this.host = host;
    this.watches = kinds.map((kind) => ({ kind }));
    this.methods = { [`${name}.get`]: () => ({ name }) };
  }

  get progress() {
    const { counts, waitedMs } = this;
    return { counts: () => counts, waitedMs, lastDoneMs: undefined };
  }

  apply(changes: Parameters<Feature['apply']>[0], isComplete: boolean): void {
    const names = changes.map((change) => (change.op === 'set' ? change.object : change).name);
    calls.push(`${this.#name}: ${names.join(' ')}${isComplete ? ', complete' : ''}`);
  }

  observe(change: Parameters<Feature['apply']>[0][number]): void {
    calls.push(`${this.#name} observes ${change.op}`);
  }

  onFirstRead(): void {
    calls.push(`${this.#name}: first read`);
  }

  warnings(): readonly string[] {
    return [`warning of ${this.#name}`];
  }

  [Symbol.dispose](): void {
    calls.push(`${this.#name}: end`);
  }
}

function start(...all: readonly [name: string, kinds: readonly Kind[]][]): RecordingFeature[] {
  const opened: RecordingFeature[] = [];
  const features = all.map(
    ([name, kinds]): FeatureDefinition<unknown> => ({
      ...{ name, kinds },
      open(host) {
        const feature = new RecordingFeature(name, kinds, host);
        opened.push(feature);
        return feature;
      },
    }),
  );
  const config = readConfig(undefined, { manifests: folder, socket: join(folder, 'agent.sock') });
  agent = new Agent({
    platform: nodePlatform(() => {}),
    config: {
      ...config,
      ...{ node: 'n1', cgroup: '/', healthAddress: '127.0.0.1:0', metricsAddress: 'off' },
    },
    ...{ version: '1', features, takePins: freePins, openDatapath: () => new MemoryDatapath() },
    openSource: (listener, wanted) => {
      demand = wanted;
      source = new ScriptedSource(listener);
      return source;
    },
  });
  return opened;
}

async function ask<Result>(method: string): Promise<Result> {
  const talk = new Talk(join(folder, 'agent.sock'));
  try {
    return await talk.ask<Result>(method);
  } finally {
    talk.socket.destroy();
  }
}

async function health(path: string): Promise<number> {
  const { servers } = await ask<AgentStatus>('status');
  return (await fetch(`http://${servers[0]!.address}${path}`)).status;
}

describe('the agent and its features', { timeout: 20_000 }, () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-features-'));
    calls = [];
  });
  afterEach(() => {
    agent?.[Symbol.dispose]();
    agent = undefined;
    rmSync(folder, { recursive: true });
  });

  it('each feature gets the objects of its kinds, in the order of the list', () => {
    start(['first', [serviceKind]], ['second', [nodeKind, serviceKind]], ['third', []]);
    assert.deepEqual(
      demand.reader.kinds.map(({ name }) => name),
      ['service', 'node'],
    );
    assert.deepEqual(
      demand.watches().map(({ kind }) => kind.name),
      ['service', 'node', 'service'],
    );
    demand.observe({ op: 'delete', kind: 'node', namespace: '', name: 'n1' });
    source.complete(service('web', '10.96.0.1'), node);
    assert.deepEqual(calls.splice(0), [
      'second observes delete',
      'first: web, complete',
      'second: web n1, complete',
      'third: , complete',
      'first: first read',
      'second: first read',
      'third: first read',
    ]);
    agent![Symbol.dispose]();
    agent = undefined;
    assert.deepEqual(calls, ['third: end', 'second: end', 'first: end']);
  });

  it('the agent does not start when two features define a method or a kind twice', () => {
    const other = { ...nodeKind, name: 'machine' };
    assert.throws(() => start(['first', [nodeKind]], ['second', [other as never]]), /two kinds/);
    assert.deepEqual(calls.splice(0), ['second: end', 'first: end']);
    assert.throws(
      () => start(['same', []], ['same', []]),
      /two features have the method same\.get/,
    );
  });

  it('status sums up the rows of all features and lists their warnings', async () => {
    const [first, second] = start(['first', []], ['second', []]);
    Object.assign(first!.counts, { done: 2, failed: 1 });
    Object.assign(second!.counts, { done: 3, failed: 0 });
    source.complete();
    const { rows, warnings } = await ask<AgentStatus>('status');
    assert.deepEqual(rows, { done: 5, pending: 0, failed: 1 });
    assert.deepEqual(warnings, ['warning of first', 'warning of second']);
    assert.deepEqual(await ask('second.get'), { name: 'second' });
    await assert.rejects(
      ask('third.get'),
      /unknown-method: .*"third\.get" \(there are .*first\.get/,
    );
  });

  it('the agent is ready once every feature has tried its rows', async () => {
    const [first, second] = start(['first', []], ['second', []]);
    second!.counts.pending = 1;
    source.complete();
    first!.host.onIdle();
    assert.equal(await health('/readyz'), 503);
    second!.counts.pending = 0;
    second!.host.onIdle();
    assert.equal(await health('/readyz'), 200);
  });

  it('health fails when one feature waits too long, or makes the node ineligible', async () => {
    const [first, second] = start(['first', []], ['second', []]);
    source.complete();
    assert.equal(await health('/healthz'), 200);
    first!.isNodeEligible = false;
    assert.deepEqual([await health('/healthz'), await health('/livez')], [503, 200]);
    first!.isNodeEligible = true;
    second!.waitedMs = 60_001;
    assert.deepEqual([await health('/healthz'), await health('/livez')], [503, 503]);
    assert.equal(first!.host.isHealthy, false);
  });
});
