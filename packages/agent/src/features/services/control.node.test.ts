import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pod, service, slice } from '../../../testing/parts.ts';
import { TestAgent } from '../../../testing/test-agent.ts';
import type { AgentStatus } from '../../agent-status.ts';
import type { Page } from '../../status.ts';
import type { BackendEntry, ServiceDetail, ServiceEntry } from './status.ts';

const web = 'default/web:http/TCP/IPv4';

describe('the control methods about services', { timeout: 20_000 }, () => {
  it('has a row for a pod with a hostPort, and lists a pod that cannot be used', async () => {
    using run = new TestAgent();
    run.source.complete(
      service('web', '10.96.0.1'),
      pod('web', '10.0.0.1'),
      pod('bad', '10.0.0.2', -1),
    );
    const row = 'default/pod/web:8081/TCP/IPv4';
    assert.deepEqual([...run.datapath.programmed.keys()], [web, row]);
    assert.deepEqual(run.datapath.programmed.get(row)!.backends, [
      { address: '10.0.0.1', port: 8080, state: 'active', weight: 1 },
    ]);
    const talk = run.talk();
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
    run.source.delete('pod', 'web');
    assert.deepEqual([...run.datapath.programmed.keys()], [web]);
  });

  it('returns a service with its backends and their counters', async () => {
    using run = new TestAgent();
    run.source.set(service('web', '10.96.0.1'), slice('web', ['10.0.0.1', '10.0.0.2']));
    run.source.set(service('web-2', '10.96.0.2'), slice('web-2', ['10.0.0.9']));
    const talk = run.talk();
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
    using run = new TestAgent();
    run.source.set(service('web', '10.96.0.1'), service('broken', '10.96.0.3', -1));
    run.source.set(service('web', '10.96.0.1', 'http'));
    const { items } = await run.talk().ask<Page<ServiceEntry>>('service.list');
    assert.deepEqual(
      items.map(({ key, status }) => [key, status]),
      [
        ['default/broken', 'failed'],
        [web, 'failed'],
      ],
    );
    assert.match(items[0]!.reason!, /port is -1/);
    assert.match(items[1]!.reason!, /port is "http".*\(the last good version stays programmed\)/);
    assert.equal(run.datapath.programmed.size, 1);
    const counts = async () => (await run.talk().ask<AgentStatus>('status')).rows;
    assert.deepEqual(await counts(), { done: 0, pending: 0, failed: 2 }, 'as the list shows them');
    run.source.set(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    assert.deepEqual(await counts(), { done: 2, pending: 0, failed: 1 });
  });

  it('reports services as unknown before the objects were read once', async () => {
    using run = new TestAgent({
      prepare: ({ programmed }) => programmed.set(web, { key: web } as never),
    });
    const status = () => run.talk().ask<AgentStatus>('status');
    const before = await status();
    assert.equal(before.synced, false);
    assert.equal(before.datapath.maps[0]!.entries, 1, 'what the kernel serves');
    await assert.rejects(
      run.talk().ask('service.get', { service: 'default/web' }),
      /it is not known yet, because the objects are still being read/,
    );
    run.source.set(service('api', '10.96.0.2'));
    assert.equal((await status()).synced, true, 'though a manifest may be broken');
    await assert.rejects(
      run.talk().ask('service.get', { service: 'default/web' }),
      /the agent serves none of that name/,
    );
  });

  it('shows a service as failed when an EndpointSlice of it cannot be used', async () => {
    using run = new TestAgent();
    const bad = { ...slice('web', []), endpoints: [{ addresses: ['10.0.0.300'] }] };
    run.source.set(service('web', '10.96.0.1'), service('api', '10.96.0.2'));
    run.source.set(slice('web', ['10.0.0.1']));
    run.source.set(bad);
    const talk = run.talk();
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
    assert.equal(run.datapath.programmed.get(web)?.backends.length, 1);
    run.source.set(slice('web', ['10.0.0.1']));
    const after = await talk.ask<Page<ServiceEntry>>('service.list');
    assert.equal(after.items[1]!.status, 'done');
  });

  it('returns many services in pages, each once, while they change', async () => {
    using run = new TestAgent();
    const many = Array.from({ length: 2500 }, (_, i) =>
      service(`s${i}`, `10.97.${i >> 8}.${i & 255}`),
    );
    run.source.set(...many);
    const talk = run.talk();
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page: Page<ServiceEntry> = await talk.ask('service.list', after ? { after } : {});
      seen.push(...page.items.map(({ name }) => name));
      after = page.next;
      run.source.delete('service', 's0');
    } while (after !== undefined);
    assert.equal(new Set(seen).size, seen.length);
    assert.equal(seen.length, 2500);
    const other = await talk.ask<Page<ServiceEntry>>('service.list', { namespace: 'other' });
    assert.deepEqual(other, { items: [] });
  });
});
