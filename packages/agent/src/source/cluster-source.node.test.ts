import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ApiServer } from '@heddle/kube/testing/api-server';
import { objectLabel, podKind, serviceReader } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { FakeHost } from '../../testing/host.ts';
import { openAccess } from '../../testing/open-access.ts';
import { MemoryDatapath, pod, service, slice } from '../../testing/parts.ts';
import type { Feature } from '../feature.ts';
import { servicesFeature } from '../features/services/services.ts';
import { openClusterSource } from './cluster-source.ts';
import type { Source, SourceBatch, SourceState } from './source.ts';
import type { Watch } from './watches.ts';

const platform = nodePlatform(() => {});
const node = (name: string) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

let server: ApiServer;
let source: Source | undefined;
let feature: Feature | undefined;
let batches: SourceBatch[];
let phases: SourceState[];

/** Opens the source with the watches of the services feature. */
function open(forwarding: 'snat' | 'dsr' = 'snat'): Source {
  const host = new FakeHost(platform, { forwarding });
  host.rewatch = () => source!.rewatch();
  feature = servicesFeature.open(host, new MemoryDatapath());
  source = openClusterSource({
    platform,
    access: openAccess(server.url),
    demand: {
      reader: serviceReader,
      watches: () => feature!.watches,
      observe: (change) => feature!.observe!(change),
      beforeFirst: () => {},
    },
    listener: {
      onChange: (batch) => batches.push(batch),
      onPhase: (state) => phases.push(state),
      onApiServers: () => {},
    },
  });
  return source;
}

/** Returns the changes of the batches so far: `set Service default/web`. */
const reported = () =>
  batches
    .splice(0)
    .flatMap(({ changes }) =>
      changes.map(
        (change) => `${change.op} ${objectLabel(change.op === 'set' ? change.object : change)}`,
      ),
    );

describe('a cluster as the source', { timeout: 60_000 }, () => {
  beforeEach(async () => {
    server = await ApiServer.start();
    for (const name of ['n1', 'n2']) server.set(node(name));
    server.set(service('web', '10.96.0.1'));
    server.set(slice('web', ['10.0.0.1']));
    server.set(pod('local', '10.0.0.9'));
    batches = [];
    phases = [];
  });
  afterEach(async () => {
    source?.[Symbol.dispose]();
    source = undefined;
    feature?.[Symbol.dispose]();
    feature = undefined;
    await server[Symbol.asyncDispose]();
  });

  it('reports everything at once, although a part is late, and then each change', async () => {
    server.script({ kind: 'Node', delayMs: 300 });
    open();
    await eventually('all lists are there', () => batches.length > 0);
    assert.deepEqual([batches.length, batches[0]!.complete], [1, true]);
    assert.deepEqual(reported().sort(), [
      'set EndpointSlice default/web-1',
      'set Node n1',
      'set Pod default/local',
      'set Service default/web',
    ]);
    server.set(slice('web', ['10.0.0.2']));
    await eventually('the change is there', () => batches.length > 0);
    assert.deepEqual(reported(), ['set EndpointSlice default/web-1']);
    server.remove('Service', 'default', 'web');
    await eventually('the removal is there', () => batches.length > 0);
    assert.deepEqual(reported(), ['delete Service default/web']);
    await eventually('the source follows', () => source!.state.phase === 'following');
    assert.equal(source!.state.path, server.url);
    assert.ok(Date.now() - source!.state.lastEventMs! < 10_000);
  });

  it('goes on without a disconnection when the server has forgotten the version', async () => {
    open();
    await eventually('all lists are there', () => batches.length > 0);
    await eventually('the source follows', () => source!.state.phase === 'following');
    server.set(service('api', '10.96.0.2'));
    await eventually('the change is there', () => batches.length > 1);
    batches = [];
    phases = [];
    server.takeRequests();
    // A watch that resumes after the history is gone gets 410, in each case.
    server.script({ kind: 'Service', verb: 'watch', status: 410 });
    server.endWatches();
    server.remove('Service', 'default', 'api');
    await eventually('the new list is there', () =>
      reported().includes('delete Service default/api'),
    );
    await eventually('the source follows', () => source!.state.phase === 'following');
    assert.deepEqual(
      phases.filter(({ reason }) => /410|Scripted|script/.test(reason ?? '')),
      [],
    );
    const lists = server.takeRequests().filter(({ query }) => 'sendInitialEvents' in query);
    assert.deepEqual(
      lists.map(({ kind }) => kind),
      ['Service'],
    );
  });

  it('selects only what is served', async () => {
    const labelled = (label: string) => {
      const made = service('other', '10.96.0.2');
      return { ...made, metadata: { ...made.metadata, labels: { [label]: '' } } };
    };
    server.set(labelled('service.kubernetes.io/headless'));
    open();
    await eventually('all lists are there', () => batches.length > 0);
    assert.ok(!reported().some((each) => each.includes('other') || each.includes('n2')));
    server.set(labelled('service.kubernetes.io/service-proxy-name'));
    server.set(service('other', '10.96.0.2'));
    await eventually('the service is there', () => batches.length > 0);
    assert.deepEqual(reported(), ['set Service default/other']);
    // Switched while running: another proxy takes it over.
    server.set(labelled('service.kubernetes.io/service-proxy-name'));
    await eventually('its end is there', () => batches.length > 0);
    assert.deepEqual(reported(), ['delete Service default/other']);
    const selectors: Readonly<Record<string, RegExp>> = {
      Node: /^metadata\.name=n1$/,
      Pod: /^spec\.nodeName=n1,status\.phase!=Succeeded,status\.phase!=Failed$/,
    };
    for (const { kind, query } of server.takeRequests()) {
      const selector = selectors[kind!];
      assert.match(
        (selector ? query.fieldSelector : query.labelSelector)!,
        selector ?? /^!service\.kuber.*proxy-name$/,
      );
    }
  });

  it('watches other Nodes once a service asks for tunnels to them', async () => {
    open();
    await eventually('all lists are there', () => batches.length > 0);
    assert.ok(!reported().includes('set Node n2'));
    const web = service('web', '10.96.0.1');
    const annotations = { 'heddle.io/forwarding': 'hybrid' };
    server.set({ ...web, metadata: { ...web.metadata, annotations } });
    await eventually('the other Node is there', () => reported().includes('set Node n2'));
    await eventually('all kinds are watched', () => server.watching() === 4);
    server.remove('Node', '', 'n2');
    await eventually('its end is there', () => reported().includes('delete Node n2'));
  });

  it('watches all Nodes from the start where the configuration asks for tunnels', async () => {
    open('dsr');
    await eventually('all lists are there', () => batches.length > 0);
    assert.ok(reported().includes('set Node n2'));
    const asked = server.takeRequests().filter(({ kind }) => kind === 'Node');
    assert.ok(asked.every(({ query }) => query.fieldSelector === undefined));
  });

  it('reports the pods of this node that have addresses of their own, until they end', async () => {
    const elsewhere = pod('far', '10.0.1.1');
    server.set({ ...elsewhere, spec: { ...elsewhere.spec, nodeName: 'n2' } });
    const local = pod('local', '10.0.0.9');
    open();
    await eventually('all lists are there', () => batches.length > 0);
    assert.deepEqual(
      reported().filter((each) => each.includes('Pod')),
      ['set Pod default/local'],
    );
    server.set({ ...local, status: { ...local.status, phase: 'Succeeded' } });
    await eventually('its end is there', () => batches.length > 0);
    assert.deepEqual(reported(), ['delete Pod default/local']);
    // One of that name without a hostPort, and one that uses the addresses of the node.
    const own = pod('own', '192.0.2.1');
    server.set({ ...own, spec: { ...own.spec, hostNetwork: true } });
    server.set(pod('local', '10.0.0.9', 0));
    server.set(pod('other', '10.0.0.8'));
    const news: string[] = [];
    await eventually('another pod is there', () => {
      news.push(...reported());
      return news.includes('set Pod default/other');
    });
    const set = news.filter((each) => each.startsWith('set'));
    assert.deepEqual(set, ['set Pod default/local', 'set Pod default/other']);
    server.remove('Pod', 'default', 'other');
    await eventually('the removal is there', () => reported().includes('delete Pod default/other'));
  });

  it('reports nothing while the pods cannot be listed', async () => {
    server.script({ kind: 'Pod', status: 403 });
    open();
    await eventually('the server refuses', () => source!.state.phase === 'disconnected');
    assert.equal(batches.length, 0);
    await eventually('all lists are there', () => batches.length > 0);
    const [first] = batches.splice(0);
    assert.equal(first!.complete, true);
  });

  it('survives the API server, retries at growing intervals, and then reports the differences', async () => {
    open();
    await eventually('the source follows', () => source!.state.phase === 'following');
    reported();
    await server.stop();
    await eventually('the connection is lost', () => source!.state.phase === 'disconnected');
    const lostMs = source!.state.sinceMs;
    server.set(slice('web', ['10.0.0.9']));
    server.remove('Service', 'default', 'web');
    await eventually('it waits for a second', () => {
      const { retryAtMs, sinceMs, reason } = source!.state;
      assert.equal(sinceMs, lostMs);
      return retryAtMs !== undefined && reason !== undefined && retryAtMs - Date.now() > 1000;
    });
    assert.deepEqual(reported(), [], 'nothing is taken away');
    await server.resume();
    await eventually('the source follows', () => source!.state.phase === 'following');
    await eventually(
      'both changes are there',
      () => batches.flatMap(({ changes }) => changes).length === 2,
    );
    assert.deepEqual(reported().sort(), [
      'delete Service default/web',
      'set EndpointSlice default/web-1',
    ]);
    assert.deepEqual(
      phases.map(({ phase }) => phase),
      ['following', 'disconnected', 'following'],
    );
  });

  it('keeps an object that leaves one watch while another of its kind has it', async () => {
    const here: Watch = { kind: podKind, fieldSelector: 'spec.nodeName=n1' };
    const labelled: Watch = { kind: podKind, labelSelector: 'app=web' };
    let watches = [here, labelled];
    source = openClusterSource({
      ...{ platform, access: openAccess(server.url) },
      demand: {
        reader: serviceReader,
        watches: () => watches,
        observe: () => {},
        beforeFirst: () => {},
      },
      listener: {
        onChange: (batch) => batches.push(batch),
        onPhase: (state) => phases.push(state),
        onApiServers: () => {},
      },
    });
    const local = pod('local', '10.0.0.9');
    const both = { ...local, metadata: { ...local.metadata, labels: { app: 'web' } } };
    const elsewhere = { ...both, metadata: { ...both.metadata, name: 'far' } };
    server.set({ ...elsewhere, spec: { ...local.spec, nodeName: 'n2' } });
    server.set(both);
    await eventually('both watches are open', () => server.watching() === 2);
    await eventually('all lists are there', () => source!.state.phase === 'following');
    await eventually('both pods are reported', () => {
      const all = batches.flatMap(({ changes }) => changes);
      return all.some((change) => change.op === 'set' && change.object.name === 'far');
    });
    reported();
    // It leaves the selection of the second watch, and stays in that of the first.
    server.set(local);
    await eventually('the change is reported', () => batches.length > 0);
    assert.deepEqual(reported(), ['set Pod default/local']);
    // When a watch ends, the source removes only the pod that the other watch does not have.
    server.set(both);
    await eventually('the label is reported', () => reported().includes('set Pod default/local'));
    watches = [here];
    source.rewatch();
    await eventually('the end of the pod is reported', () => batches.length > 0);
    assert.deepEqual(reported(), ['delete Pod default/far']);
    await eventually('one watch is left', () => server.watching() === 1);
  });

  it('ends with all its connections and timers', async () => {
    open();
    await eventually('all kinds are watched', () => server.watching() === 4);
    source![Symbol.dispose]();
    source = undefined;
    await eventually('nothing is watched', () => server.watching() === 0);
    reported();
    server.set(service('late', '10.96.0.3'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(reported(), []);
  });
});
