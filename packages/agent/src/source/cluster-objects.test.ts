import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ResourceChange, WatchState } from '@heddle/kube';
import {
  nodeKind,
  type ObjectChange,
  podKind,
  type ReadObject,
  readObject,
  type ServiceRecord,
  serviceKind,
  sliceKind,
} from '@heddle/objects';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { pod, service, slice } from '../../testing/parts.ts';
import { ClusterObjects, coalesceMs } from './cluster-objects.ts';
import type { SourceBatch, SourceState } from './source.ts';

interface ApiObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const set = (object: ApiObject): ResourceChange<ReadObject> => ({
  op: 'set',
  key: [object.metadata.namespace ?? [], object.metadata.name].flat().join('/'),
  value: readObject(object),
});
const gone = (name: string, namespace = 'default'): ResourceChange<ReadObject> => ({
  op: 'delete',
  key: namespace === '' ? name : `${namespace}/${name}`,
  namespace,
  name,
});
/** The fields of a watch's state that do not matter here. */
const unsaid = { lastEventMs: 0, resourceVersion: '' };
const node = (name = 'n1'): ApiObject & object => ({
  ...{ apiVersion: 'v1', kind: 'Node' },
  metadata: { name },
});

const kinds = { service: serviceKind, slice: sliceKind, node: nodeKind, pod: podKind } as const;
type KindName = keyof typeof kinds;
const names = Object.keys(kinds) as KindName[];

/** Returns the objects of a cluster with one watch of each kind, whose id is the name of the kind. */
function cluster() {
  const lines: string[] = [];
  const time = Object.assign(new VirtualTime(), {
    log: (level: string, message: string) => void lines.push(`${level} ${message}`),
  });
  const lastEventMs = 7;
  const batches: SourceBatch[] = [];
  const phases: SourceState[] = [];
  const observed: ObjectChange[] = [];
  const objects = new ClusterObjects({
    platform: time,
    demand: { observe: (change) => observed.push(change), beforeFirst: () => {} },
    listener: {
      onChange: (batch) => batches.push(batch),
      onPhase: (state) => phases.push(state),
    },
    server: () => 'https://192.0.2.1:6443',
    lastEventMs: () => lastEventMs,
  });
  objects.expect(names);
  const take = (kind: KindName, changes: readonly ResourceChange<ReadObject>[]) =>
    objects.take(kind, kinds[kind], changes);
  const setState = (kind: KindName, state: WatchState) => objects.setState(kind, kind, state);
  const watching = (kind: KindName) =>
    setState(kind, { phase: 'watching', since: time.wallTimeMs(), ...unsaid });
  return {
    ...{ time, lines, batches, phases, observed, objects, take, setState, watching },
    /** Takes all four lists, with these objects and no pods. */
    list(services: readonly ApiObject[] = [], slices: readonly ApiObject[] = []) {
      take('service', services.map(set));
      take('slice', slices.map(set));
      take('node', [set(node())]);
      take('pod', []);
    },
    names: () =>
      batches.map(({ changes }) =>
        changes.map((c) => `${c.op} ${(c.op === 'set' ? c.object : c).name}`),
      ),
  };
}

describe('objects of a cluster', () => {
  it('form one batch once all four lists are complete', () => {
    const { take, batches, names } = cluster();
    take('slice', [set(slice('web', ['10.0.0.1']))]);
    take('service', [set(service('web', '10.96.0.1'))]);
    take('service', [set(service('api', '10.96.0.2'))]);
    assert.equal(batches.length, 0);
    take('node', [set(node())]);
    assert.equal(batches.length, 0);
    take('pod', [set(pod('local', '10.0.0.9'))]);
    assert.deepEqual(names(), [['set web-1', 'set web', 'set api', 'set n1', 'set local']]);
    assert.deepEqual([batches[0]!.complete, batches[0]!.problems], [true, []]);
  });

  it('wait for the list of a watch that is added before the first batch, not later', () => {
    const first = cluster();
    first.take('node', [set(node())]);
    first.take('slice', []);
    first.take('pod', []);
    // A feature that observes a service adds a watch for more Nodes in place of the first one.
    first.objects.expect(['service', 'slice', 'all nodes', 'pod']);
    first.take('service', [set(service('web', '10.96.0.1'))]);
    assert.equal(first.batches.length, 0);
    first.objects.take('all nodes', nodeKind, [set(node()), set(node('n2'))]);
    assert.deepEqual(first.names(), [['set n1', 'set web', 'set n2']]);

    const later = cluster();
    later.list();
    later.time.pass(coalesceMs);
    later.objects.expect(['service', 'slice', 'all nodes', 'pod']);
    later.take('service', [set(service('web', '10.96.0.1'))]);
    assert.deepEqual(later.names()[1], ['set web']);
  });

  it('are observed as they are read, before a batch has them', () => {
    const { take, observed, batches } = cluster();
    take('service', [set(service('web', '10.96.0.1'))]);
    assert.deepEqual([observed.length, batches.length], [1, 0]);
  });

  it('include a Node only when its record has changed', () => {
    const { list, take, time, batches } = cluster();
    list();
    const heartbeat = { ...node('n2'), status: { conditions: [] } };
    for (const each of [node('n2'), heartbeat, node(), heartbeat]) {
      time.pass(coalesceMs);
      take('node', [set(each)]);
    }
    assert.deepEqual(
      batches.map(({ changes }) => changes.length),
      [1, 1],
    );
  });

  it('are complete also when there are none', () => {
    const { list, batches } = cluster();
    list();
    assert.equal(batches.length, 1);
  });

  it('are reported at once when single, and together in a burst, each in its last version', () => {
    const { list, take, objects, time, names, batches } = cluster();
    list();
    time.pass(100);
    take('service', [set(service('a', '10.96.0.1'))]);
    assert.equal(batches.length, 2);
    for (let i = 0; i < 50; i++) {
      take('service', [set(service(`b${i % 3}`, `10.96.1.${i}`))]);
      take('slice', [gone('a-1')]);
    }
    assert.equal(batches.length, 2);
    time.pass(coalesceMs);
    assert.deepEqual(names()[2], ['set b0', 'delete a-1', 'set b1', 'set b2']);
    const [first] = batches[2]!.changes;
    assert.ok(first?.op === 'set');
    assert.deepEqual((first.object as ServiceRecord).clusterIPs, ['10.96.1.48']);
    assert.equal(time.timersLeft, 0);
    time.pass(1);
    take('service', [gone('a')]);
    assert.equal(time.timersLeft, 1);
    objects[Symbol.dispose]();
    assert.equal(time.timersLeft, 0);
  });

  it('that cannot be used are problems until they can', () => {
    const { list, take, time, batches } = cluster();
    list([service('web', '10.96.0.1', -1) as ApiObject]);
    const [batch] = batches;
    assert.equal(batch!.changes[0]!.op, 'invalid');
    assert.equal(
      batch!.complete,
      true,
      'one bad object must not keep everything from being pruned',
    );
    assert.match(
      batch!.problems[0]!.message,
      /^Service default\/web: spec\.ports\[0\]\.port is -1/,
    );
    time.pass(100);
    take('slice', []);
    assert.equal(batches.at(-1)!.problems, batch!.problems, 'the same list while nothing changes');
    time.pass(100);
    take('service', [set(service('web', '10.96.0.1'))]);
    assert.deepEqual(batches.at(-1)!.problems, []);
  });

  it('that are invalid slices name their service, and the list of problems is bounded', () => {
    const { list, batches } = cluster();
    const bad = { ...slice('web', ['10.0.0.1']), endpoints: [{ addresses: [] }] };
    const many = Array.from({ length: 150 }, (_, i) => service(`s${i}`, '10.96.0.300'));
    list(many, [bad]);
    const [{ changes, problems }] = batches as [SourceBatch];
    const change = changes.find(
      ({ op, ...rest }) => op === 'invalid' && 'kind' in rest && rest.kind === 'slice',
    );
    assert.ok(change?.op === 'invalid');
    assert.equal(change.service, 'web');
    assert.equal(problems.length, 101);
    assert.match(problems[100]!.message, /^51 more objects can't be used/);
  });

  it('that Heddle has no use for any more are deleted', () => {
    const { list, take, time, names } = cluster();
    list([], [slice('web', ['10.0.0.1'])]);
    time.pass(100);
    take('slice', [set({ ...slice('web', ['10.0.0.1']), addressType: 'FQDN' } as ApiObject)]);
    assert.deepEqual(names()[1], ['delete web-1']);
  });
});

describe('the connection to a cluster', () => {
  it('is lost when one watch is, and back when all are', () => {
    const { objects, setState, list, watching, phases, time } = cluster();
    assert.equal(objects.state.phase, 'starting');
    list();
    for (const kind of ['service', 'slice', 'node', 'pod'] as const) watching(kind);
    assert.deepEqual(
      phases.map(({ phase }) => phase),
      ['following'],
    );
    time.pass(60_000);
    const lostMs = time.wallTimeMs();
    const waiting = (kind: KindName, error: string) =>
      setState(kind, {
        ...{ phase: 'waiting', since: time.wallTimeMs(), error },
        ...{ retryAtMs: time.wallTimeMs() + 5, ...unsaid },
      });
    waiting('slice', 'connection refused');
    time.pass(10);
    waiting('service', 'connection refused');
    setState('slice', {
      phase: 'listing',
      since: time.wallTimeMs(),
      error: 'so far',
      ...unsaid,
    });
    time.pass(3_600_000);
    waiting('slice', 'reach https://192.0.2.1:6443: no route to host');
    assert.deepEqual(objects.state, {
      kind: 'cluster',
      path: 'https://192.0.2.1:6443',
      phase: 'disconnected',
      sinceMs: lostMs,
      lastEventMs: 7,
      reason: 'no route to host',
      retryAtMs: time.wallTimeMs() + 5,
    });
    watching('slice');
    assert.equal(objects.state.phase, 'disconnected');
    watching('service');
    assert.deepEqual(
      phases.map(({ phase, sinceMs }) => [phase, sinceMs]),
      [
        ['following', 1_000_000],
        ['disconnected', lostMs],
        ['following', time.wallTimeMs()],
      ],
    );
    assert.ok(!('reason' in objects.state));
  });

  it('is not lost when the version of a watch has expired and a new list follows', () => {
    const { objects, setState, phases, lines, list, watching, time } = cluster();
    list();
    for (const kind of ['service', 'slice', 'node', 'pod'] as const) watching(kind);
    const told = phases.length;
    const error = 'watch: too old resource version: 10 (20)';
    const retryAtMs = time.wallTimeMs() + 80;
    setState('slice', { phase: 'listing', since: 1, error, retryAtMs, ...unsaid });
    setState('slice', { phase: 'listing', since: 1, error, ...unsaid });
    watching('slice');
    assert.deepEqual(phases.slice(told), []);
    assert.equal(objects.state.phase, 'following');
    assert.deepEqual(lines, [`debug list every slice anew: ${error}`]);
    setState('slice', { phase: 'listing', since: 1, error, ...unsaid });
    setState('slice', { phase: 'waiting', since: 1, error: 'refused', ...unsaid });
    assert.equal(objects.state.reason, 'refused', 'the new list fails');
  });

  it('may never have existed', () => {
    const { setState, phases } = cluster();
    setState('node', { phase: 'listing', since: 1, ...unsaid });
    setState('node', { phase: 'waiting', since: 2, error: 'refused', ...unsaid });
    setState('node', { phase: 'listing', since: 3, ...unsaid });
    setState('node', { phase: 'waiting', since: 4, error: 'refused', ...unsaid });
    assert.deepEqual(
      phases.map(({ phase, sinceMs, reason }) => [phase, sinceMs, reason]),
      [['disconnected', 2, 'refused']],
    );
  });
});
