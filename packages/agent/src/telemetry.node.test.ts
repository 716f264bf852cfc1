import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { parseMetrics } from '../testing/metrics-text.ts';
import { freePins, MemoryDatapath, ScriptedSource, service, slice } from '../testing/parts.ts';
import { Talk } from '../testing/talk.ts';
import { Agent } from './agent.ts';
import type { AgentStatus } from './agent-status.ts';
import { readConfig } from './config.ts';
import { allFeatures } from './features/index.ts';

const web = 'default/web:http/TCP/IPv4';
const anyPorts = { healthAddress: '127.0.0.1:0', metricsAddress: '127.0.0.1:0' };

let lines: string[];
let folder: string;
let datapath: MemoryDatapath;
let source: ScriptedSource;
let agent: Agent | undefined;
/** The offset of the monotonic clock. */
let aheadNs = 0n;

function start(prepare: (datapath: MemoryDatapath) => void = () => {}, addresses = anyPorts): void {
  datapath = new MemoryDatapath();
  prepare(datapath);
  const config = readConfig(undefined, { socket: join(folder, 'agent.sock') });
  const platform = nodePlatform((level, message) => lines.push(`${level} ${message}`));
  agent = new Agent({
    platform: { ...platform, monotonicNs: () => platform.monotonicNs() + aheadNs },
    config: { ...config, ...{ node: 'n1', cgroup: '/' }, ...addresses },
    version: '1.2.3',
    features: allFeatures,
    takePins: freePins,
    openDatapath: () => datapath,
    openSource: (listener) => {
      source = new ScriptedSource(listener);
      return source;
    },
  });
}

async function status(): Promise<AgentStatus> {
  const talk = new Talk(join(folder, 'agent.sock'));
  try {
    return await talk.ask<AgentStatus>('status');
  } finally {
    talk.socket.destroy();
  }
}

describe('the agent serves health and metrics', { timeout: 20_000 }, () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-telemetry-'));
    lines = [];
    aheadNs = 0n;
  });
  afterEach(() => {
    agent?.[Symbol.dispose]();
    agent = undefined;
    rmSync(folder, { recursive: true });
  });

  const ask = async (which: 'health' | 'metrics', path: string) => {
    const { servers } = await status();
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

  it('is ready once the first complete list is programmed', async () => {
    start();
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

  it('reports at /proxyMode of the metrics port that the proxy is Heddle', async () => {
    start();
    assert.deepEqual(await ask('metrics', '/proxyMode'), { status: 200, text: 'heddle\n' });
    assert.equal((await ask('health', '/proxyMode')).status, 404);
  });

  it('answers 503 at /healthz while the node is being deleted', async () => {
    start();
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
      lines.splice(0).filter((line) => line.includes('node n1')),
      [
        'info node n1 is being deleted: /healthz answers 503, so that load balancers avoid it',
        'info node n1 stays: /healthz is good again',
      ],
    );
  });

  it('counts and measures changes', async () => {
    start(({ failing }) => failing.set('default/api:http/TCP/IPv4', 'no room'));
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
      // One has failed, and one can't be used.
      'heddle_rows{state="failed"}': 2,
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
        'heddle_flows_evicted_total',
        'heddle_tcp_not_believed_total',
        'heddle_nat_ports_used',
        // Those of the pod network and its policies, which are off here.
        ...['heddle_policies', 'heddle_policy_rules', 'heddle_policy_classes'],
        ...['heddle_policy_peers', 'heddle_policy_pods_closed'],
        'heddle_policy_denied_connections_total',
        'heddle_policy_audited_connections_total',
        ...['heddle_pods', 'heddle_pod_addresses_used', 'heddle_pod_addresses'],
        'heddle_cni_failures_total',
      ],
    );
  });

  it('counts a change as pending while no row can be programmed', async () => {
    start(({ failing }) => failing.set(web, 'no room'));
    source.complete(service('web', '10.96.0.1'));
    assert.equal(await metric('kubeproxy_sync_proxy_rules_service_changes_pending'), 1);
    assert.equal(await metric('kubeproxy_sync_proxy_rules_duration_seconds_count'), 0);
    datapath.failing.clear();
    source.set(service('web', '10.96.0.1', 81));
    assert.equal(await metric('kubeproxy_sync_proxy_rules_service_changes_pending'), 0);
  });

  it('answers at a healthCheckNodePort for programmed rows', async () => {
    const probe = createServer().listen(0, '::');
    await new Promise((done) => probe.once('listening', done));
    const { port } = probe.address() as { port: number };
    await new Promise((done) => probe.close(done));
    const balanced = (servicePort: number) => {
      const plain = service('web', '10.96.0.1', servicePort);
      const local = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' };
      return { ...plain, spec: { ...plain.spec, ...local, healthCheckNodePort: port } };
    };
    const here = (...addresses: string[]) => {
      const plain = slice('web', addresses);
      return { ...plain, endpoints: plain.endpoints.map((each) => ({ ...each, nodeName: 'n1' })) };
    };
    const told = async () => {
      const response = await fetch(`http://127.0.0.1:${port}`);
      const body = (await response.json()) as Record<string, unknown>;
      return [response.status, body.localEndpoints, body.serviceProxyHealthy];
    };
    start(({ failing }) => failing.set(web, 'no room'));
    source.complete(balanced(80), here('10.0.0.1'));
    await assert.rejects(told, 'the row is not programmed');
    datapath.failing.clear();
    source.set(balanced(81));
    assert.deepEqual(await told(), [200, 1, true]);
    assert.equal(await metric('heddle_health_check_ports{state="listening"}'), 1);
    assert.equal(await metric('heddle_health_check_ports{state="failed"}'), 0);
    source.set(node({ deletionTimestamp: '2026-01-01T00:00:00Z' }));
    assert.deepEqual(await told(), [200, 1, true], 'all endpoints may be on nodes that go');
    datapath.failing.set(web, 'no room');
    source.set(here());
    assert.deepEqual(await told(), [200, 1, true], 'the programmed row');
    aheadNs = 61_000_000_000n;
    assert.deepEqual(await told(), [503, 1, false], 'but a change waits for too long');
    assert.equal((await ask('health', '/livez')).status, 503);
    datapath.failing.clear();
    source.set(balanced(82));
    assert.deepEqual(await told(), [503, 0, true]);
    source.delete('service', 'web');
    await assert.rejects(told);
  });

  it('reports that a port is taken, and serves rows', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => other.once('listening', done));
    const address = `127.0.0.1:${(other.address() as { port: number }).port}`;
    try {
      start(undefined, { healthAddress: address, metricsAddress: 'off' });
      source.complete(service('web', '10.96.0.1'));
      assert.ok(datapath.programmed.has(web));
      const { servers } = await status();
      assert.deepEqual(
        servers.map(({ name, listening }) => [name, listening]),
        [['health', false]],
      );
      assert.match(
        lines.splice(0).join('\n'),
        /^warn health is not served: listen on 127.*kube-proxy/m,
      );
    } finally {
      await new Promise((done) => other.close(done));
    }
  });
});
