import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { freePins, MemoryDatapath, pod, ScriptedSource, service, slice } from '../testing/parts.ts';
import { Talk } from '../testing/talk.ts';
import { Agent } from './agent.ts';
import type { AgentStatus } from './agent-status.ts';
import { readConfig } from './config.ts';
import { allFeatures } from './features/index.ts';
import type { BackendEntry, ServiceDetail, ServiceEntry } from './features/services/status.ts';
import type { Page } from './status.ts';

const machine = { node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' } as const;
const web = 'default/web:http/TCP/IPv4';

let lines: string[];
let folder: string;
let datapath: MemoryDatapath;
let source: ScriptedSource;
let agent: Agent | undefined;
const sockets: Socket[] = [];

function start(prepare: (datapath: MemoryDatapath) => void = () => {}, manifests = true) {
  datapath = new MemoryDatapath();
  prepare(datapath);
  const socket = join(folder, 'agent.sock');
  const config = readConfig(undefined, manifests ? { manifests: folder, socket } : { socket });
  agent = new Agent({
    platform: nodePlatform((level, message) => lines.push(`${level} ${message}`)),
    config: { ...config, ...machine },
    version: '1.2.3',
    features: allFeatures,
    takePins: freePins,
    openDatapath: () => datapath,
    openSource: (listener) => {
      source = new ScriptedSource(listener);
      return source;
    },
  });
  return agent;
}

/** The agent's lines since this was last asked. */
const said = () => lines.splice(0);

function talkTo(): Talk {
  const talk = new Talk(join(folder, 'agent.sock'));
  sockets.push(talk.socket);
  return talk;
}

describe('agent', { timeout: 20_000 }, () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-agent-'));
    lines = [];
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    agent?.[Symbol.dispose]();
    agent = undefined;
    rmSync(folder, { recursive: true });
  });

  it('programs the objects of the source, and prunes only after the first complete read', () => {
    start(({ programmed }) => programmed.set('default/old:80/TCP/IPv4', { key: 'x' } as never));
    source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    assert.equal(datapath.programmed.get(web)?.backends.length, 2);
    assert.equal(datapath.pruned, 0);
    assert.equal(datapath.programmed.size, 2);
    source.complete();
    assert.equal(datapath.pruned, 1);
    assert.deepEqual([...datapath.programmed.keys()], [web]);
  });

  it('reports the first read in one line, and each later change in a line', () => {
    start();
    source.complete(service('web', '10.96.0.1'), slice('web', ['10.0.0.1']));
    assert.deepEqual(said(), ['info agent started', 'info manifests read: 1 row programmed']);
    source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(said(), [`info ${web} programmed with 2 backends`]);
    source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(said(), [], 'quiet when nothing changed');
    source.set(service('api', '10.96.0.2'));
    source.delete('service', 'api');
    assert.deepEqual(said(), [
      'info default/api:http/TCP/IPv4 programmed with 0 backends',
      'info default/api:http/TCP/IPv4 removed',
    ]);
    source.note('ConfigMap a is ignored');
    assert.deepEqual(said(), ['info x.yaml:2: ConfigMap a is ignored']);
  });

  it('has a row for a pod with a hostPort, and lists a pod that cannot be used', async () => {
    start();
    source.complete(
      service('web', '10.96.0.1'),
      pod('web', '10.0.0.1'),
      pod('bad', '10.0.0.2', -1),
    );
    const row = 'default/pod/web:8081/TCP/IPv4';
    assert.deepEqual([...datapath.programmed.keys()], [web, row]);
    assert.deepEqual(datapath.programmed.get(row)!.backends, [
      { address: '10.0.0.1', port: 8080, state: 'active', weight: 1 },
    ]);
    const talk = talkTo();
    const { items } = (await talk.ask('service.list')) as Page<ServiceEntry>;
    assert.deepEqual(
      items.map(({ namespace, name, port, status }) => `${namespace} ${name} ${port} ${status}`),
      ['default pod/bad  failed', 'default pod/web 8081 done', 'default web http done'],
    );
    assert.match(
      items[0]!.reason!,
      /^Pod default\/bad: spec\.containers\[0\]\.ports\[0\]\.hostPort/,
    );
    const detail = async (name: string) =>
      ((await talk.ask('service.get', { service: name })) as { items: ServiceDetail[] }).items;
    assert.deepEqual(
      (await detail('default/pod/web')).map(({ key, endpoints }) => [key, endpoints.length]),
      [[row, 1]],
    );
    assert.deepEqual(
      (await detail('default/web')).map(({ key }) => key),
      [web],
    );
    source.delete('pod', 'web');
    assert.deepEqual([...datapath.programmed.keys()], [web]);
  });

  it('warns when the manifests have Nodes, but none with the name of this one', async () => {
    start();
    const other = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'other' }, spec: {} };
    source.complete(other);
    const { warnings } = await talkTo().ask<AgentStatus>('status');
    assert.match(warnings[0]!, /^the manifests have no Node \S+: .*--node; there are other\)$/);
    assert.ok(said().some((line) => line.startsWith('warn the manifests have no Node')));
    source.set({ ...other, metadata: { name: 'n1' } });
    assert.deepEqual((await talkTo().ask<AgentStatus>('status')).warnings, []);
  });

  it('reports changes of a cluster at level debug', () => {
    start(() => {}, false);
    source.complete(service('web', '10.96.0.1'), slice('web', ['10.0.0.1']));
    said();
    source.set(slice('web', []));
    source.delete('service', 'web');
    assert.deepEqual(said(), [`debug ${web} programmed with 0 backends`, `debug ${web} removed`]);
  });

  it('reports a new problem of the manifests, and the end of the last one', () => {
    start();
    source.problems = [{ file: 'a.yaml', line: 3, message: 'not valid YAML' }];
    source.set(service('web', '10.96.0.1'));
    assert.deepEqual(said(), [
      'info agent started',
      'warn a.yaml:3: not valid YAML',
      'warn manifests read: 1 row programmed; not all can be used, so nothing that an earlier agent left is removed yet',
    ]);
    source.set(service('web', '10.96.0.1', 99999));
    assert.match(
      said().join(),
      /^warn x\.yaml:1: Service default\/web: spec\.ports\[0\]\.port is 99999/,
    );
    source.set(service('web', '10.96.0.1', 81));
    assert.deepEqual(said(), [`info ${web} programmed with 0 backends`]);
    assert.equal(datapath.pruned, 0);
    source.problems = [];
    source.complete();
    assert.deepEqual(said(), ['info all manifests can be used again']);
    assert.equal(datapath.pruned, 1);
  });

  it('reports the reason of a failed row in the log and in the list', async () => {
    start(({ failing }) => failing.set(web, 'write map services: full at 100 entries'));
    source.complete(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    assert.deepEqual(said().slice(1), [
      `warn ${web} failed: write map services: full at 100 entries`,
      'info manifests read: 1 row programmed, 1 failed',
    ]);
    const talk = talkTo();
    const { items } = await talk.ask<Page<ServiceEntry>>('service.list');
    assert.deepEqual(
      items.map(({ name, status, reason }) => [name, status, reason]),
      [
        ['api', 'done', undefined],
        ['web', 'failed', 'write map services: full at 100 entries'],
      ],
    );
    assert.deepEqual((await talk.ask<AgentStatus>('status')).rows, {
      done: 1,
      pending: 0,
      failed: 1,
    });
  });

  it('returns its configuration and its status', async () => {
    start();
    source.problems.push({ file: 'a.yaml', line: 3, message: 'not valid YAML' });
    source.complete();
    const talk = talkTo();
    const status = await talk.ask<AgentStatus>('status');
    assert.equal(status.version, '1.2.3');
    assert.equal(status.node, 'n1');
    assert.equal(status.pid, process.pid);
    assert.ok(status.residentBytes! > 1e7);
    assert.ok(Date.now() - Date.parse(status.started) < 10_000);
    assert.deepEqual(status.source, {
      kind: 'folder',
      path: '/manifests',
      phase: 'following',
      since: '1970-01-01T00:00:00.000Z',
      complete: true,
      problems: [{ file: 'a.yaml', line: 3, message: 'not valid YAML' }],
    });
    assert.deepEqual(status.refusals, [{ reason: 'no endpoints', count: 3 }]);
    const config = await talk.ask<Record<string, unknown>>('config.get');
    assert.equal(config.node, 'n1');
    assert.equal(config.bpffs, '/sys/fs/bpf');
  });

  it('returns a service with its backends and their counters', async () => {
    start();
    source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    source.set(service('web-2', '10.96.0.2'), slice('web-2', ['10.0.0.9']));
    const talk = talkTo();
    const { items } = await talk.ask<{ items: ServiceDetail[] }>('service.get', {
      service: 'default/web',
    });
    assert.equal(items.length, 1);
    const [detail] = items;
    assert.deepEqual(detail!.frontends, [{ kind: 'ClusterIP', address: '10.96.0.1', port: 80 }]);
    assert.deepEqual(detail!.backends, { active: 2, draining: 0 });
    assert.deepEqual(detail!.endpoints[1], {
      service: web,
      address: '10.0.0.2',
      port: 8080,
      state: 'active',
      weight: 1,
      connections: 11,
      packets: 0,
      bytes: 0,
    });
    const all = await talk.ask<Page<BackendEntry>>('backend.list');
    assert.equal(all.items.length, 3);
    const one = await talk.ask<Page<BackendEntry>>('backend.list', { service: 'default/web-2' });
    assert.deepEqual(
      one.items.map(({ address }) => address),
      ['10.0.0.9'],
    );
    await assert.rejects(talk.ask('service.get', { service: 'default/we' }), /not-found/);
    await assert.rejects(talk.ask('service.get'), /bad-params: .*service is missing/);
    await assert.rejects(talk.ask('service.list', { after: 7 }), /bad-params: .*after is not text/);
  });

  it('shows a service as failed when its newest version cannot be used', async () => {
    start();
    source.set(service('web', '10.96.0.1'), service('broken', '10.96.0.3', -1));
    source.set(service('web', '10.96.0.1', 'http'));
    const { items } = await talkTo().ask<Page<ServiceEntry>>('service.list');
    assert.deepEqual(
      items.map(({ key, status }) => [key, status]),
      [
        ['default/broken', 'failed'],
        [web, 'failed'],
      ],
    );
    assert.match(items[0]!.reason!, /port is -1/);
    assert.match(items[1]!.reason!, /port is "http".*\(the last good version stays programmed\)/);
    assert.equal(datapath.programmed.size, 1);
    const counts = async () => (await talkTo().ask<AgentStatus>('status')).rows;
    assert.deepEqual(await counts(), { done: 0, pending: 0, failed: 2 }, 'as the list shows them');
    source.set(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    assert.deepEqual(await counts(), { done: 2, pending: 0, failed: 1 });
  });

  it('reports services as unknown before the objects were read once', async () => {
    start(({ programmed }) => programmed.set(web, { key: web } as never));
    const status = () => talkTo().ask<AgentStatus>('status');
    const before = await status();
    assert.equal(before.synced, false);
    assert.equal(before.datapath.maps[0]!.entries, 1, 'what the kernel serves');
    await assert.rejects(
      talkTo().ask('service.get', { service: 'default/web' }),
      /it is not known yet, because the objects are still being read/,
    );
    source.set(service('api', '10.96.0.2'));
    assert.equal((await status()).synced, true, 'though a manifest may be broken');
    await assert.rejects(
      talkTo().ask('service.get', { service: 'default/web' }),
      /the agent serves none of that name/,
    );
  });

  it('shows a service as failed when an EndpointSlice of it cannot be used', async () => {
    start();
    const bad = { ...slice('web', []), endpoints: [{ addresses: ['10.0.0.300'] }] };
    source.set(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    source.set(slice('web', ['10.0.0.1']));
    source.set(bad);
    const talk = talkTo();
    const { items } = await talk.ask<Page<ServiceEntry>>('service.list');
    assert.deepEqual(
      items.map(({ name, status }) => [name, status]),
      [
        ['api', 'done'],
        ['web', 'failed'],
      ],
    );
    assert.match(
      items[1]!.reason!,
      /^EndpointSlice default\/web-1: .*10\.0\.0\.300.*\(the last good version stays programmed\)$/,
    );
    assert.equal(datapath.programmed.get(web)?.backends.length, 1);
    source.set(slice('web', ['10.0.0.1']));
    const after = await talk.ask<Page<ServiceEntry>>('service.list');
    assert.equal(after.items[1]!.status, 'done');
  });

  it('returns many services in pages, each once, while they change', async () => {
    start();
    const many = Array.from({ length: 2500 }, (_, i) =>
      service(`s${i}`, `10.97.${i >> 8}.${i & 255}`),
    );
    source.set(...many);
    const talk = talkTo();
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page: Page<ServiceEntry> = await talk.ask('service.list', after ? { after } : {});
      seen.push(...page.items.map(({ name }) => name));
      after = page.next;
      source.delete('service', 's0');
    } while (after !== undefined);
    assert.equal(new Set(seen).size, seen.length);
    assert.equal(seen.length, 2500);
    const other = await talk.ask<Page<ServiceEntry>>('service.list', { namespace: 'other' });
    assert.deepEqual(other, { items: [] });
  });

  it('sends events to clients that follow them', async () => {
    start();
    source.complete();
    const talk = talkTo();
    assert.deepEqual(await talk.ask('events.follow'), { following: true });
    const early = [(await talk.reply()).event, (await talk.reply()).event] as { message: string }[];
    assert.deepEqual(
      early.map(({ message }) => message),
      ['agent started', 'manifests read: 0 rows programmed'],
    );
    source.set(service('web', '10.96.0.1'));
    const { event } = (await talk.reply()) as { event: { kind: string; subject: string } };
    assert.deepEqual([event.kind, event.subject], ['in-force', web]);
  });

  it('reports when and why the source is disconnected, and when it is connected again', async () => {
    start();
    source.complete(service('web', '10.96.0.1'));
    said();
    const sinceMs = Date.UTC(2026, 0, 1);
    const path = 'https://192.0.2.1:6443';
    source.setState({
      ...{ kind: 'cluster', path, phase: 'disconnected', sinceMs, lastEventMs: sinceMs - 1 },
      ...{ reason: 'connection refused', retryAtMs: sinceMs + 5 },
    });
    const talk = talkTo();
    const { source: shown } = await talk.ask<AgentStatus>('status');
    assert.deepEqual(shown, {
      kind: 'cluster',
      path,
      phase: 'disconnected',
      since: '2026-01-01T00:00:00.000Z',
      lastEvent: '2025-12-31T23:59:59.999Z',
      reason: 'connection refused',
      retryAt: '2026-01-01T00:00:00.005Z',
      complete: true,
      problems: [],
    });
    source.setState({ phase: 'following', sinceMs: sinceMs + 7_200_000 });
    assert.deepEqual(said(), [
      `warn disconnected from ${path}: connection refused; what is programmed stays`,
      `info connected to ${path} again after 7200 s`,
    ]);
    assert.deepEqual([...datapath.programmed.keys()], [web]);
  });

  it('does not start, and opens no datapath, while another agent has the socket', () => {
    start();
    const first = { datapath, agent };
    let opened = false;
    const config = readConfig(undefined, { manifests: folder, socket: join(folder, 'agent.sock') });
    assert.throws(
      () =>
        new Agent({
          platform: nodePlatform(() => {}),
          config: { ...config, ...machine },
          version: '1',
          features: allFeatures,
          takePins: freePins,
          openDatapath: () => {
            opened = true;
            return new MemoryDatapath();
          },
          openSource: (listener) => new ScriptedSource(listener),
        }),
      /another agent answers there/,
    );
    assert.equal(opened, false);
    assert.equal(first.datapath.disposed, false);
  });

  it('closes what it has opened when a part does not start', () => {
    const broken = new MemoryDatapath();
    const socket = join(folder, 'agent.sock');
    const config = readConfig(undefined, { manifests: folder, socket });
    assert.throws(
      () =>
        new Agent({
          platform: nodePlatform(() => {}),
          config: { ...config, ...machine },
          version: '1',
          features: allFeatures,
          takePins: freePins,
          openDatapath: () => broken,
          openSource: () => {
            throw new Error('watch folder: gone');
          },
        }),
      /watch folder: gone/,
    );
    assert.equal(broken.disposed, true);
    assert.equal(existsSync(socket), false);
  });

  it('leaves programmed rows when it ends', () => {
    const running = start();
    source.set(service('web', '10.96.0.1'));
    source.complete();
    running[Symbol.dispose]();
    agent = undefined;
    assert.deepEqual([...datapath.programmed.keys()], [web]);
    assert.deepEqual([datapath.disposed, source.disposed], [true, true]);
    assert.equal(existsSync(join(folder, 'agent.sock')), false);
  });
});
