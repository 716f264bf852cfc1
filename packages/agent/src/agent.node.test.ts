import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { freePins, MemoryDatapath, ScriptedSource, service, slice } from '../testing/parts.ts';
import { TestAgent } from '../testing/test-agent.ts';
import { Agent } from './agent.ts';
import type { AgentStatus } from './agent-status.ts';
import { readConfig } from './config.ts';
import { allFeatures } from './features/index.ts';
import type { ServiceEntry } from './features/services/status.ts';
import type { Page } from './status.ts';

const machine = { node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' } as const;
const web = 'default/web:http/TCP/IPv4';

describe('agent', { timeout: 20_000 }, () => {
  it('programs the objects of the source, and prunes only after the first complete read', () => {
    using run = new TestAgent({
      prepare: ({ programmed }) => programmed.set('default/old:80/TCP/IPv4', { key: 'x' } as never),
    });
    run.source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    assert.equal(run.datapath.programmed.get(web)?.backends.length, 2);
    assert.equal(run.datapath.pruned, 0);
    assert.equal(run.datapath.programmed.size, 2);
    run.source.complete();
    assert.equal(run.datapath.pruned, 1);
    assert.deepEqual([...run.datapath.programmed.keys()], [web]);
  });

  it('reports the first read in one line, and each later change in a line', () => {
    using run = new TestAgent();
    run.source.complete(service('web', '10.96.0.1'), slice('web', ['10.0.0.1']));
    assert.deepEqual(run.takeLines(), [
      'info agent started',
      'info manifests read: 1 row programmed',
    ]);
    run.source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(run.takeLines(), [`info ${web} programmed with 2 backends`]);
    run.source.set(slice('web', ['10.0.0.1', '10.0.0.3']));
    assert.deepEqual(run.takeLines(), [], 'quiet when nothing changed');
    run.source.set(service('api', '10.96.0.2'));
    run.source.delete('service', 'api');
    assert.deepEqual(run.takeLines(), [
      'info default/api:http/TCP/IPv4 programmed with 0 backends',
      'info default/api:http/TCP/IPv4 removed',
    ]);
    run.source.note('ConfigMap a is ignored');
    assert.deepEqual(run.takeLines(), ['info x.yaml:2: ConfigMap a is ignored']);
  });

  it('warns when the manifests have Nodes, but none with the name of this one', async () => {
    using run = new TestAgent();
    const other = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'other' }, spec: {} };
    run.source.complete(other);
    const { warnings } = await run.talk().ask<AgentStatus>('status');
    assert.match(warnings[0]!, /^the manifests have no Node \S+: .*--node; there are other\)$/);
    assert.ok(run.takeLines().some((line) => line.startsWith('warn the manifests have no Node')));
    run.source.set({ ...other, metadata: { name: 'n1' } });
    assert.deepEqual((await run.talk().ask<AgentStatus>('status')).warnings, []);
  });

  it('reports changes of a cluster at level debug', () => {
    using run = new TestAgent({ manifests: false });
    run.source.complete(service('web', '10.96.0.1'), slice('web', ['10.0.0.1']));
    run.takeLines();
    run.source.set(slice('web', []));
    run.source.delete('service', 'web');
    assert.deepEqual(run.takeLines(), [
      `debug ${web} programmed with 0 backends`,
      `debug ${web} removed`,
    ]);
  });

  it('reports a new problem of the manifests, and the end of the last one', () => {
    using run = new TestAgent();
    run.source.problems = [{ file: 'a.yaml', line: 3, message: 'not valid YAML' }];
    run.source.set(service('web', '10.96.0.1'));
    assert.deepEqual(run.takeLines(), [
      'info agent started',
      'warn a.yaml:3: not valid YAML',
      'warn manifests read: 1 row programmed; not all can be used, so nothing that an earlier agent left is removed yet',
    ]);
    run.source.set(service('web', '10.96.0.1', 99999));
    assert.match(
      run.takeLines().join(),
      /^warn x\.yaml:1: Service default\/web: spec\.ports\[0\]\.port is 99999/,
    );
    run.source.set(service('web', '10.96.0.1', 81));
    assert.deepEqual(run.takeLines(), [`info ${web} programmed with 0 backends`]);
    assert.equal(run.datapath.pruned, 0);
    run.source.problems = [];
    run.source.complete();
    assert.deepEqual(run.takeLines(), ['info all manifests can be used again']);
    assert.equal(run.datapath.pruned, 1);
  });

  it('reports the reason of a failed row in the log and in the list', async () => {
    using run = new TestAgent({
      prepare: ({ failing }) => failing.set(web, 'write map services: full at 100 entries'),
    });
    run.source.complete(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    assert.deepEqual(run.takeLines().slice(1), [
      `warn ${web} failed: write map services: full at 100 entries`,
      'info manifests read: 1 row programmed, 1 failed',
    ]);
    const talk = run.talk();
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
    using run = new TestAgent();
    run.source.problems.push({ file: 'a.yaml', line: 3, message: 'not valid YAML' });
    run.source.complete();
    const talk = run.talk();
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

  it('sends events to clients that follow them', async () => {
    using run = new TestAgent();
    run.source.complete();
    const talk = run.talk();
    assert.deepEqual(await talk.ask('events.follow'), { following: true });
    const early = [(await talk.reply()).event, (await talk.reply()).event] as { message: string }[];
    assert.deepEqual(
      early.map(({ message }) => message),
      ['agent started', 'manifests read: 0 rows programmed'],
    );
    run.source.set(service('web', '10.96.0.1'));
    const { event } = (await talk.reply()) as { event: { kind: string; subject: string } };
    assert.deepEqual([event.kind, event.subject], ['in-force', web]);
  });

  it('reports when and why the source is disconnected, and when it is connected again', async () => {
    using run = new TestAgent();
    run.source.complete(service('web', '10.96.0.1'));
    run.takeLines();
    const sinceMs = Date.UTC(2026, 0, 1);
    const path = 'https://192.0.2.1:6443';
    run.source.setState({
      ...{ kind: 'cluster', path, phase: 'disconnected', sinceMs, lastEventMs: sinceMs - 1 },
      ...{ reason: 'connection refused', retryAtMs: sinceMs + 5 },
    });
    const talk = run.talk();
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
    run.source.setState({ phase: 'following', sinceMs: sinceMs + 7_200_000 });
    assert.deepEqual(run.takeLines(), [
      `warn disconnected from ${path}: connection refused; what is programmed stays`,
      `info connected to ${path} again after 7200 s`,
    ]);
    assert.deepEqual([...run.datapath.programmed.keys()], [web]);
  });

  it('does not start, and opens no datapath, while another agent has the socket', () => {
    using run = new TestAgent();
    let opened = false;
    const config = readConfig(undefined, { manifests: run.folder, socket: run.socket });
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
    assert.equal(run.datapath.disposed, false);
  });

  it('leaves programmed rows when it ends', () => {
    using run = new TestAgent();
    run.source.set(service('web', '10.96.0.1'));
    run.source.complete();
    run.end();
    assert.deepEqual([...run.datapath.programmed.keys()], [web]);
    assert.deepEqual([run.datapath.disposed, run.source.disposed], [true, true]);
    assert.equal(existsSync(run.socket), false);
  });
});
