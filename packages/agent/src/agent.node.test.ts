import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { parseMetrics } from '../testing/metrics-text.ts';
import { MemoryDatapath, ScriptedSource, service, slice } from '../testing/parts.ts';
import { Agent } from './agent.ts';
import { readConfig } from './config.ts';
import { encodeRequest, type Method, parseReply } from './control/protocol.ts';
import type { AgentStatus, BackendEntry, Page, ServiceDetail, ServiceEntry } from './status.ts';

const machine = { node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' } as const;
const web = 'default/web:http/TCP/IPv4';

let lines: string[];
let folder: string;
let datapath: MemoryDatapath;
let source: ScriptedSource;
let agent: Agent | undefined;
const sockets: Socket[] = [];

function start(
  prepare: (datapath: MemoryDatapath) => void = () => {},
  more: { healthAddress?: string; metricsAddress?: string } = {},
) {
  datapath = new MemoryDatapath();
  prepare(datapath);
  const socket = join(folder, 'agent.sock');
  const config = readConfig(undefined, { manifests: folder, socket });
  agent = new Agent({
    platform: nodePlatform((level, message) => lines.push(`${level} ${message}`)),
    config: { ...config, ...machine, ...more },
    version: '1.2.3',
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

class Talk {
  readonly socket = connect(join(folder, 'agent.sock'));
  readonly replies: ReturnType<typeof parseReply>[] = [];
  #id = 0;

  constructor() {
    sockets.push(this.socket);
    let text = '';
    this.socket.on('error', () => {});
    this.socket.on('data', (data) => {
      text += data;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        this.replies.push(parseReply(text.slice(0, end)));
        text = text.slice(end + 1);
      }
    });
  }

  async reply(): Promise<ReturnType<typeof parseReply>> {
    for (let i = 0; i < 200 && this.replies.length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.replies.shift() ?? assert.fail('no reply');
  }

  async ask<Result>(method: Method, params: Record<string, unknown> = {}): Promise<Result> {
    this.socket.write(encodeRequest({ id: ++this.#id, method, params }));
    const { error, result } = await this.reply();
    if (error) throw new Error(`${error.code}: ${error.message}`);
    return result as Result;
  }
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

  it('brings what the source says into force, and prunes only after the first complete read', () => {
    start(({ inForce }) => inForce.set('default/old:80/TCP/IPv4', { key: 'x' } as never));
    source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    assert.equal(datapath.inForce.get(web)?.backends.length, 2);
    assert.equal(datapath.pruned, 0);
    assert.equal(datapath.inForce.size, 2);
    source.complete();
    assert.equal(datapath.pruned, 1);
    assert.deepEqual([...datapath.inForce.keys()], [web]);
  });

  it('sums up the first read in a line, and has a line for each change after it', () => {
    start();
    source.complete(service('web', '10.96.0.1'), slice('web', ['10.0.0.1']));
    assert.deepEqual(said(), ['info agent started', 'info manifests read: 1 row in force']);
    source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(said(), [`info ${web} in force with 2 backends`]);
    source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(said(), [], 'quiet when nothing changed');
    source.set(service('api', '10.96.0.2'));
    source.delete('service', 'api');
    assert.deepEqual(said(), [
      'info default/api:http/TCP/IPv4 in force with 0 backends',
      'info default/api:http/TCP/IPv4 removed',
    ]);
    source.note('ConfigMap a is ignored');
    assert.deepEqual(said(), ['info x.yaml:2: ConfigMap a is ignored']);
  });

  it('says a problem of the manifests when it comes, and when the last one is gone', () => {
    start();
    source.problems = [{ file: 'a.yaml', line: 3, message: 'not valid YAML' }];
    source.set(service('web', '10.96.0.1'));
    assert.deepEqual(said(), [
      'info agent started',
      'warn a.yaml:3: not valid YAML',
      'warn manifests read: 1 row in force; not all can be used, so nothing that an earlier agent left is removed yet',
    ]);
    source.set(service('web', '10.96.0.1', 99999));
    assert.match(
      said().join(),
      /^warn x\.yaml:1: Service default\/web: spec\.ports\[0\]\.port is 99999/,
    );
    source.set(service('web', '10.96.0.1', 81));
    assert.deepEqual(said(), [`info ${web} in force with 0 backends`]);
    assert.equal(datapath.pruned, 0);
    source.problems = [];
    source.complete();
    assert.deepEqual(said(), ['info all manifests can be used again']);
    assert.equal(datapath.pruned, 1);
  });

  it('says why a row failed, in the log and in the list', async () => {
    start(({ failing }) => failing.set(web, 'write map services: full at 100 entries'));
    source.complete(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    assert.deepEqual(said().slice(1), [
      `warn ${web} failed: write map services: full at 100 entries`,
      'info manifests read: 1 row in force, 1 failed',
    ]);
    const talk = new Talk();
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

  it('answers what it runs with and how it is', async () => {
    start();
    source.problems.push({ file: 'a.yaml', line: 3, message: 'not valid YAML' });
    source.complete();
    const talk = new Talk();
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

  it('gives one service with its backends and their counters', async () => {
    start();
    source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    source.set(service('web-2', '10.96.0.2'), slice('web-2', ['10.0.0.9']));
    const talk = new Talk();
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

  it('shows a service whose newest version can not be used as failed', async () => {
    start();
    source.set(service('web', '10.96.0.1'), service('broken', '10.96.0.3', -1));
    source.set(service('web', '10.96.0.1', 'http'));
    const { items } = await new Talk().ask<Page<ServiceEntry>>('service.list');
    assert.deepEqual(
      items.map(({ key, status }) => [key, status]),
      [
        ['default/broken', 'failed'],
        [web, 'failed'],
      ],
    );
    assert.match(items[0]!.reason!, /port is -1/);
    assert.match(items[1]!.reason!, /port is "http".*\(the last good version is in force\)/);
    assert.equal(datapath.inForce.size, 1);
  });

  it('shows a service as failed when a slice of it can not be used', async () => {
    start();
    const bad = { ...slice('web', []), endpoints: [{ addresses: ['10.0.0.300'] }] };
    source.set(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    source.set(slice('web', ['10.0.0.1']));
    source.set(bad);
    const talk = new Talk();
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
      /^EndpointSlice default\/web-1: .*10\.0\.0\.300.*\(the last good version is in force\)$/,
    );
    assert.equal(datapath.inForce.get(web)?.backends.length, 1);
    source.set(slice('web', ['10.0.0.1']));
    const after = await talk.ask<Page<ServiceEntry>>('service.list');
    assert.equal(after.items[1]!.status, 'done');
  });

  it('lists many services page by page, each once, while they change', async () => {
    start();
    const many = Array.from({ length: 2500 }, (_, i) =>
      service(`s${i}`, `10.97.${i >> 8}.${i & 255}`),
    );
    source.set(...many);
    const talk = new Talk();
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

  it('lets clients follow what happens', async () => {
    start();
    source.complete();
    const talk = new Talk();
    assert.deepEqual(await talk.ask('events.follow'), { following: true });
    const early = [(await talk.reply()).event, (await talk.reply()).event] as { message: string }[];
    assert.deepEqual(
      early.map(({ message }) => message),
      ['agent started', 'manifests read: 0 rows in force'],
    );
    source.set(service('web', '10.96.0.1'));
    const { event } = (await talk.reply()) as { event: { kind: string; subject: string } };
    assert.deepEqual([event.kind, event.subject], ['in-force', web]);
  });

  it('says since when and why its source is out of reach, and when it is back', async () => {
    start();
    source.complete(service('web', '10.96.0.1'));
    said();
    const sinceMs = Date.UTC(2026, 0, 1);
    const path = 'https://192.0.2.1:6443';
    source.setState({
      ...{ kind: 'cluster', path, phase: 'disconnected', sinceMs, lastEventMs: sinceMs - 1 },
      ...{ reason: 'connection refused', retryAtMs: sinceMs + 5 },
    });
    const talk = new Talk();
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
      `warn disconnected from ${path}: connection refused; what is in force stays`,
      `info connected to ${path} again after 7200 s`,
    ]);
    assert.deepEqual([...datapath.inForce.keys()], [web]);
  });

  describe('serves health and metrics', () => {
    const addresses = { healthAddress: '127.0.0.1:0', metricsAddress: '127.0.0.1:0' };
    const ask = async (which: 'health' | 'metrics', path: string) => {
      const { servers } = await new Talk().ask<AgentStatus>('status');
      const { address } = servers.find(({ name }) => name === which)!;
      const response = await fetch(`http://${address}${path}`);
      return { status: response.status, text: await response.text() };
    };
    const metric = async (name: string) => {
      const { text } = await ask('metrics', '/metrics');
      const samples = [...parseMetrics(text).values()].flatMap(({ samples }) => [...samples]);
      return new Map(samples).get(name);
    };
    const node = (metadata: object, spec: object = {}) => ({
      ...{ apiVersion: 'v1', kind: 'Node', spec },
      metadata: { name: 'n1', ...metadata },
    });

    it('is ready once the first complete list is in force', async () => {
      start(undefined, addresses);
      source.set(service('web', '10.96.0.1'));
      assert.deepEqual(await ask('health', '/readyz'), {
        status: 503,
        text: 'waiting for all manifests from /manifests\n',
      });
      assert.equal(await metric('heddle_ready'), 0);
      source.complete();
      assert.deepEqual(await ask('health', '/readyz'), { status: 200, text: 'ok\n' });
      assert.equal(await metric('heddle_ready'), 1);
      assert.equal((await ask('metrics', '/healthz')).status, 404);
      assert.equal((await ask('health', '/metrics')).status, 404);
    });

    it('tells load balancers when the node goes', async () => {
      start(undefined, addresses);
      source.complete(node({}));
      assert.equal((await ask('health', '/healthz')).status, 200);
      source.set(node({ deletionTimestamp: '2026-01-01T00:00:00Z' }));
      const { status, text } = await ask('health', '/healthz');
      assert.deepEqual([status, JSON.parse(text).nodeEligible], [503, false]);
      assert.equal((await ask('health', '/livez')).status, 200);
      assert.equal(await metric('heddle_node_eligible'), 0);
      source.set(node({}, { taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] }));
      assert.equal((await ask('health', '/healthz')).status, 503);
      source.set({
        ...node({}),
        metadata: { name: 'other', deletionTimestamp: '2026-01-01T00:00:00Z' },
      });
      source.set(node({}));
      assert.equal((await ask('health', '/healthz')).status, 200);
      assert.equal(await metric('kubeproxy_proxy_healthz_total{code="200"}'), 2);
      assert.equal(await metric('kubeproxy_proxy_healthz_total{code="503"}'), 2);
      assert.equal(await metric('kubeproxy_proxy_livez_total{code="200"}'), 1);
      assert.deepEqual(
        said().filter((line) => line.includes('node n1')),
        [
          'info node n1 is being deleted: /healthz tells load balancers to leave it',
          'info node n1 stays: /healthz is good again',
        ],
      );
    });

    it('counts and times what it does', async () => {
      start(({ failing }) => failing.set('default/api:http/TCP/IPv4', 'no room'), addresses);
      source.complete(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
      const changed = slice('web', ['10.0.0.1']);
      const at = new Date(Date.now() + 1000).toISOString();
      source.set({
        ...changed,
        metadata: {
          ...changed.metadata,
          annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': at },
        },
      });
      source.set(service('broken', '10.96.0.3', -1));
      source.setState({ phase: 'disconnected', sinceMs: 5000, reason: 'gone' });
      const { text } = await ask('metrics', '/metrics');
      const families = parseMetrics(text);
      const samples = new Map([...families.values()].flatMap((family) => [...family.samples]));
      const expected: Record<string, number> = {
        'heddle_build_info{version="1.2.3"}': 1,
        'heddle_rows{state="done"}': 1,
        'heddle_rows{state="failed"}': 1,
        'heddle_invalid_objects{kind="service"}': 1,
        'heddle_service_problem{namespace="default",service="api"}': 1,
        'heddle_service_problem{namespace="default",service="broken"}': 1,
        'heddle_map_entries{map="services"}': 1,
        'heddle_map_max_entries{map="services"}': 100,
        'heddle_hook_attached{hook="connect4"}': 1,
        'heddle_refused_total{reason="no endpoints"}': 3,
        'heddle_http_listening{server="health"}': 1,
        heddle_source_connected: 0,
        heddle_source_disconnected_timestamp_seconds: 5,
        heddle_source_disconnections_total: 1,
        heddle_source_complete: 1,
        heddle_source_problems: 1,
        'heddle_object_changes_total{kind="service"}': 3,
        'heddle_object_changes_total{kind="slice"}': 1,
        'heddle_events_total{kind="failed"}': 1,
        kubeproxy_sync_proxy_rules_service_changes_total: 3,
        kubeproxy_sync_proxy_rules_endpoint_changes_total: 1,
        kubeproxy_sync_proxy_rules_service_changes_pending: 0,
        kubeproxy_sync_proxy_rules_duration_seconds_count: 3,
        kubeproxy_network_programming_duration_seconds_count: 1,
      };
      const found = Object.fromEntries(Object.keys(expected).map((key) => [key, samples.get(key)]));
      assert.deepEqual(found, expected);
      assert.ok(samples.get('process_resident_memory_bytes')! > 1e7);
      assert.ok(samples.get('kubeproxy_sync_proxy_rules_last_timestamp_seconds')! > 1.7e9);
      const infos = [...families.values()].filter(({ samples: { size } }) => size === 0);
      assert.deepEqual(
        infos.map(({ name }) => name),
        [
          'heddle_source_last_event_timestamp_seconds',
          'kubeproxy_proxy_healthz_total',
          'kubeproxy_proxy_livez_total',
        ],
      );
    });

    it('counts a change as pending while nothing can be brought into force', async () => {
      start(({ failing }) => failing.set(web, 'no room'), addresses);
      source.complete(service('web', '10.96.0.1'));
      assert.equal(await metric('kubeproxy_sync_proxy_rules_service_changes_pending'), 1);
      assert.equal(await metric('kubeproxy_sync_proxy_rules_duration_seconds_count'), 0);
      datapath.failing.clear();
      source.set(service('web', '10.96.0.1', 81));
      assert.equal(await metric('kubeproxy_sync_proxy_rules_service_changes_pending'), 0);
    });

    it('goes on when a port is taken, and says so', async () => {
      const other = createServer().listen(0, '127.0.0.1');
      await new Promise((done) => other.once('listening', done));
      const address = `127.0.0.1:${(other.address() as { port: number }).port}`;
      try {
        start(undefined, { healthAddress: address });
        source.complete(service('web', '10.96.0.1'));
        assert.ok(datapath.inForce.has(web));
        const { servers } = await new Talk().ask<AgentStatus>('status');
        assert.deepEqual(
          servers.map(({ name, listening }) => [name, listening]),
          [['health', false]],
        );
        assert.match(said().join('\n'), /^warn health is not served: listen on 127.*kube-proxy/m);
      } finally {
        await new Promise((done) => other.close(done));
      }
    });
  });

  it('is the only one on its socket, and touches nothing when it is not', () => {
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

  it('closes what it had opened when a part does not start', () => {
    const broken = new MemoryDatapath();
    const socket = join(folder, 'agent.sock');
    const config = readConfig(undefined, { manifests: folder, socket });
    assert.throws(
      () =>
        new Agent({
          platform: nodePlatform(() => {}),
          config: { ...config, ...machine },
          version: '1',
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

  it('leaves what is in force when it ends', () => {
    const running = start();
    source.set(service('web', '10.96.0.1'));
    source.complete();
    running[Symbol.dispose]();
    agent = undefined;
    assert.deepEqual([...datapath.inForce.keys()], [web]);
    assert.deepEqual([datapath.disposed, source.disposed], [true, true]);
    assert.equal(existsSync(join(folder, 'agent.sock')), false);
  });
});
