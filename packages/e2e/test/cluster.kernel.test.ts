import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent } from '@heddle/agent';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { BlockingSocket, startBackend } from '@heddle/lab';
import { decodeUtf8, parseIp, SysError } from '@heddle/sys';
import { apiService, ClusterLab } from '../testing/cluster-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const clusterIP = '10.96.0.10';

describe('the agent in a cluster', () => {
  let agentLab: ClusterLab;
  beforeEach(async () => {
    agentLab = await ClusterLab.open('cluster', { podsPerNode: 3 });
    await Promise.all([1, 2].map((number) => startBackend(agentLab.pod(number), { tcp: [8080] })));
  });
  afterEach(() => agentLab?.[Symbol.dispose]());

  const ip = (number: number) => agentLab.pod(number).addresses.v4;

  /** Returns the pod that replies on a new connection from pod 0, or the errno. */
  function answer(address = clusterIP, port = 80): string {
    try {
      using socket = agentLab
        .pod(0)
        .enter(() =>
          BlockingSocket.open(agentLab.platform, { protocol: 'tcp', family: 4, timeoutMs: 300 }),
        );
      socket.connect({ address, port });
      socket.send('x');
      return decodeUtf8(socket.receive()).split(' ')[0]!;
    } catch (error) {
      if (error instanceof SysError) return error.code;
      throw error;
    }
  }

  /** Waits until a new connection has that result. */
  const until = (what: string, address = clusterIP) =>
    agentLab.until(`${address} to give ${what}`, () => answer(address) === what);

  const events = async () => {
    const { items } = await agentLab.request<{ items: AgentEvent[] }>('events.list');
    return items.map(({ message }) => message);
  };

  test('a service follows each change of its objects at the API server', async () => {
    await agentLab.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    const { source, servers } = await agentLab.start();
    assert.equal(answer(), 'pod-1-2');
    assert.deepEqual(
      [source.kind, source.path, source.complete, source.problems],
      ['cluster', agentLab.server.url, true, []],
    );
    assert.deepEqual(
      servers.map(({ name, address, listening }) => [name, address, listening]),
      [
        ['health', ':10256', true],
        ['metrics', '127.0.0.1:10249', true],
      ],
    );

    await agentLab.write(slice('web', [ip(2)]));
    await until('pod-1-3');
    await agentLab.write(service('web', ['10.96.0.11']));
    await until('pod-1-3', '10.96.0.11');
    // The slice has the time of the endpoint's change, from which the latency is measured.
    const annotations = {
      'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString(),
    };
    const changed = slice('web', [endpoint(ip(1)), endpoint(ip(2), { ready: false })]);
    await agentLab.write({ ...changed, metadata: { ...changed.metadata, annotations } });
    await until('pod-1-2', '10.96.0.11');
    const metrics = agentLab.get(10249, '/metrics');
    assert.match(metrics, /^kubeproxy_network_programming_duration_seconds_count 1$/m);
    assert.match(metrics, /^heddle_source_connected 1$/m);

    const proxied = { 'service.kubernetes.io/service-proxy-name': 'other' };
    await agentLab.write(service('web', ['10.96.0.11'], {}, { labels: proxied }));
    await agentLab.until('the other proxy’s service to go', async () => {
      return (await agentLab.services()).length === 0;
    });
    await agentLab.write(service('web', ['10.96.0.11']));
    await until('pod-1-2', '10.96.0.11');
    await agentLab.server.remove('Service', 'default', 'web');
    await agentLab.until('the service to go', async () => (await agentLab.services()).length === 0);
  });

  test('the health server answers the requests of load balancers and the kubelet', async () => {
    const name = agentLab.node.name;
    await agentLab.start();
    assert.equal(agentLab.get(10256, '/readyz'), 'ok\n');
    assert.equal(JSON.parse(agentLab.get(10256, '/healthz')).nodeEligible, true);
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    await agentLab.write({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, deletionTimestamp },
    });
    await agentLab.until('the node to be left', () =>
      agentLab.get(10256, '/healthz').includes('503'),
    );
    assert.ok(JSON.parse(agentLab.get(10256, '/livez')).lastUpdated);
  });

  test('services are served while the API server is down, and follow changes when it returns', async () => {
    await agentLab.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.start();
    await agentLab.server.stop();
    const gone = await agentLab.until('the agent to notice', async () => {
      const { source } = await agentLab.status();
      return source.phase === 'disconnected' && source.retryAt ? source : undefined;
    });
    assert.match(gone.reason!, /refused/);
    assert.equal(gone.complete, true);
    const used = () =>
      Number(/^process_cpu_seconds_total (.*)$/m.exec(agentLab.get(10249, '/metrics'))![1]);
    const before = used();
    for (let i = 0; i < 20; i++) {
      assert.equal(answer(), 'pod-1-2');
      await sleep(100);
    }
    assert.ok(used() - before < 0.5, 'it waits, and does not spin');
    assert.equal(JSON.parse(agentLab.get(10256, '/healthz')).nodeEligible, true);
    assert.match(agentLab.get(10249, '/metrics'), /^heddle_source_connected 0$/m);
    assert.equal((await agentLab.status()).source.since, gone.since);

    await agentLab.write(
      slice('web', [ip(2)]),
      service('new', ['10.96.0.12']),
      slice('new', [ip(1)]),
    );
    await agentLab.server.resume();
    await until('pod-1-3');
    await until('pod-1-2', '10.96.0.12');
    await agentLab.until(
      'the agent to say so',
      async () => (await agentLab.status()).source.phase === 'following',
    );
    const messages = (await events()).filter((each) => each.includes('connected'));
    assert.equal(messages.length, 2, messages.join('\n'));
    assert.match(messages[0]!, /^disconnected from https:.*; what is programmed stays$/);
    assert.match(messages[1]!, /^connected to https:.* again after \d+ s$/);
  });

  test('an agent that starts while the API server is down keeps programmed services', async () => {
    await agentLab.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.write(service('old', ['10.96.0.12']), slice('old', [ip(1)]));
    await agentLab.start();
    await agentLab.kill();
    await agentLab.server.stop();
    await agentLab.listen();
    await agentLab.until(
      'the agent to give up',
      async () => (await agentLab.status()).source.reason,
    );
    const { source, synced } = await agentLab.status();
    assert.deepEqual([source.complete, source.phase, synced], [false, 'disconnected', false]);
    assert.deepEqual(await agentLab.heddle('service', 'list'), { services: [], synced: false });
    const metrics = agentLab.get(10249, '/metrics');
    assert.match(metrics, /^heddle_synced 0$/m);
    assert.doesNotMatch(metrics, /^heddle_rows\{/m);
    assert.match(metrics, /^heddle_map_entries\{map="services"\} [1-9]/m);
    assert.match(agentLab.get(10256, '/readyz'), /503/);
    for (const address of [clusterIP, '10.96.0.12']) assert.equal(answer(address), 'pod-1-2');

    await agentLab.server.remove('Service', 'default', 'old');
    await agentLab.server.remove('EndpointSlice', 'default', 'old-1');
    await agentLab.write(slice('web', [ip(2)]));
    await agentLab.server.resume();
    await until('pod-1-3');
    await agentLab.until('what is gone to be removed', () => answer('10.96.0.12') !== 'pod-1-2');
    assert.equal(agentLab.get(10256, '/readyz'), 'ok\n');
    assert.match(agentLab.get(10249, '/metrics'), /^heddle_rows\{state="done"\} [1-9]/m);
  });

  test('no service can take the API server’s address from the agent, also after a restart', async () => {
    const { hostname, port } = new URL(agentLab.server.url);
    const ports = [{ port: Number(port) }];
    const status = { loadBalancer: { ingress: [{ ip: hostname }] } };
    await agentLab.write(
      service('grab', ['10.96.0.66'], { type: 'LoadBalancer', ports }, { status }),
      slice('grab', [ip(1)]),
      service('also', ['10.96.0.67'], { externalIPs: [hostname], ports }),
      slice('also', [ip(1)]),
    );
    await agentLab.start();
    for (let restarts = 0; restarts < 2; restarts++) {
      for (const [name, kind] of [
        ['grab', 'load balancer'],
        ['also', 'externalIP'],
      ] as const) {
        const [row] = await agentLab.service(name);
        assert.deepEqual(row!.problems, [
          `${kind} ${hostname} is refused: port ${port}/TCP is reserved for the API server`,
        ]);
      }
      await agentLab.kill();
      await agentLab.start();
    }
  });

  test('an entry at the API server’s address from an earlier agent does not keep the next agent from connecting', async () => {
    const { hostname, port } = new URL(agentLab.server.url);
    await agentLab.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await agentLab.start();
    await agentLab.kill();
    // Like an agent without the refusal: the service has the address.
    using services = BpfMap.openPinned(
      new LinuxBpf(agentLab.platform),
      `${currentPins(agentLab.node.bpffs).maps}/services`,
    );
    const keyOf = (address: string, number: number) => {
      const key = new Uint8Array(20);
      key.set(parseIp(address)!);
      new DataView(key.buffer).setUint16(16, number);
      key[18] = 6;
      return key;
    };
    services.update(keyOf(hostname, Number(port)), services.lookup(keyOf(clusterIP, 80))!);
    assert.equal(answer(hostname, Number(port)), 'pod-1-2', 'so it was');
    await agentLab.start();
    assert.equal(answer(), 'pod-1-2');
    assert.equal(services.lookup(keyOf(hostname, Number(port))), undefined);
  });

  test('the agent reaches the API server through its own service after one direct connection', async () => {
    const portOf = (url: string) => Number(new URL(url).port);
    /** Returns the service default/kubernetes in the form that an API server writes it. */
    const kubernetes = (url: string) => {
      const made = slice('kubernetes', [agentLab.node.addresses.v4], { name: 'kubernetes' });
      const ports = [{ name: 'https', port: portOf(url) }];
      return [
        service('kubernetes', [apiService], { ports: [{ name: 'https', port: 443 }] }),
        { ...made, ports },
      ] as const;
    };
    await agentLab.write(...kubernetes(agentLab.server.url));
    await agentLab.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    const own = agentLab.kubeconfig('service', `https://${apiService}:443`);
    agentLab.agentArgs = ['--kubeconfig', own, '--api-server', agentLab.server.url];
    await agentLab.start();
    assert.equal(answer(), 'pod-1-2');

    // From now on the programmed service suffices, also after a restart.
    await agentLab.kill();
    agentLab.agentArgs = ['--kubeconfig', own];
    const { source } = await agentLab.start();
    assert.equal(source.path, `https://${apiService}:443`);

    // The API server moves: its service has the new address, and the old server ends.
    const next = await agentLab.startServer();
    // As with a common etcd, its version is newer than the other's, and it has dropped the history
    // between.
    await next.skipVersions(1000);
    await next.compact();
    await agentLab.writeAt(
      next,
      ...kubernetes(next.url),
      service('web', [clusterIP]),
      slice('web', [ip(2)]),
    );
    await agentLab.writeAt(next, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: agentLab.node.name },
    });
    await agentLab.write(...kubernetes(next.url));
    await agentLab.until('the new address to be programmed', async () => {
      const [row] = await agentLab.service('kubernetes');
      return row?.endpoints[0]?.port === portOf(next.url) && row.status === 'done';
    });
    await agentLab.server.stop();
    await until('pod-1-3');
    await agentLab.until('the agent to be content', async () => {
      const { source: now } = await agentLab.status();
      return now.phase === 'following' && now.problems.length === 0;
    });
  });
});
