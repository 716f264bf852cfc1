import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent } from '@heddle/agent';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { BlockingSocket, startBackend } from '@heddle/lab';
import { decodeUtf8, parseIp, SysError } from '@heddle/sys';
import { apiService, Cluster } from '../testing/cluster.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const clusterIP = '10.96.0.10';

describe('the agent in a cluster', () => {
  let product: Cluster;
  beforeEach(async () => {
    product = await Cluster.open('cluster', { podsPerNode: 3 });
    await Promise.all([1, 2].map((number) => startBackend(product.pod(number), { tcp: [8080] })));
  });
  afterEach(() => product?.[Symbol.dispose]());

  const ip = (number: number) => product.pod(number).addresses.v4;

  /** What a new connection from pod 0 comes to: the pod that answered, or the errno. */
  function answer(address = clusterIP, port = 80): string {
    try {
      using socket = product
        .pod(0)
        .enter(() =>
          BlockingSocket.open(product.platform, { protocol: 'tcp', family: 4, timeoutMs: 300 }),
        );
      socket.connect({ address, port });
      socket.send('x');
      return decodeUtf8(socket.receive()).split(' ')[0]!;
    } catch (error) {
      if (error instanceof SysError) return error.code;
      throw error;
    }
  }

  /** Waits until a connection comes to that. */
  const until = (what: string, address = clusterIP) =>
    product.until(`${address} to give ${what}`, () => answer(address) === what);

  const events = async () => {
    const { items } = await product.request<{ items: AgentEvent[] }>('events.list');
    return items.map(({ message }) => message);
  };

  test('a service is served as the API server has it, and follows each change', async () => {
    await product.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    const { source, servers } = await product.start();
    assert.equal(answer(), 'pod-1-2');
    assert.deepEqual(
      [source.kind, source.path, source.complete, source.problems],
      ['cluster', product.server.url, true, []],
    );
    assert.deepEqual(
      servers.map(({ name, address, listening }) => [name, address, listening]),
      [
        ['health', ':10256', true],
        ['metrics', '127.0.0.1:10249', true],
      ],
    );

    await product.write(slice('web', [ip(2)]));
    await until('pod-1-3');
    await product.write(service('web', ['10.96.0.11']));
    await until('pod-1-3', '10.96.0.11');
    // Of an endpoint in its slice it is told when it changed, from which the latency is measured.
    const annotations = {
      'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString(),
    };
    const changed = slice('web', [endpoint(ip(1)), endpoint(ip(2), { ready: false })]);
    await product.write({ ...changed, metadata: { ...changed.metadata, annotations } });
    await until('pod-1-2', '10.96.0.11');
    const metrics = product.get(10249, '/metrics');
    assert.match(metrics, /^kubeproxy_network_programming_duration_seconds_count 1$/m);
    assert.match(metrics, /^heddle_source_connected 1$/m);

    const proxied = { 'service.kubernetes.io/service-proxy-name': 'other' };
    await product.write(service('web', ['10.96.0.11'], {}, { labels: proxied }));
    await product.until('the other proxy’s service to go', async () => {
      return (await product.services()).length === 0;
    });
    await product.write(service('web', ['10.96.0.11']));
    await until('pod-1-2', '10.96.0.11');
    await product.server.remove('Service', 'default', 'web');
    await product.until('the service to go', async () => (await product.services()).length === 0);
  });

  test('health is what load balancers and the kubelet ask for', async () => {
    const name = product.node.name;
    await product.start();
    assert.equal(product.get(10256, '/readyz'), 'ok\n');
    assert.equal(JSON.parse(product.get(10256, '/healthz')).nodeEligible, true);
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    await product.write({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, deletionTimestamp },
    });
    await product.until('the node to be left', () =>
      product.get(10256, '/healthz').includes('503'),
    );
    assert.ok(JSON.parse(product.get(10256, '/livez')).lastUpdated);
  });

  test('services go on while the API server is away, and follow when it is back', async () => {
    await product.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.start();
    await product.server.stop();
    const gone = await product.until('the agent to notice', async () => {
      const { source } = await product.status();
      return source.phase === 'disconnected' && source.retryAt ? source : undefined;
    });
    assert.match(gone.reason!, /refused/);
    assert.equal(gone.complete, true);
    const used = () =>
      Number(/^process_cpu_seconds_total (.*)$/m.exec(product.get(10249, '/metrics'))![1]);
    const before = used();
    for (let i = 0; i < 20; i++) {
      assert.equal(answer(), 'pod-1-2');
      await sleep(100);
    }
    assert.ok(used() - before < 0.5, 'it waits, and does not spin');
    assert.equal(JSON.parse(product.get(10256, '/healthz')).nodeEligible, true);
    assert.match(product.get(10249, '/metrics'), /^heddle_source_connected 0$/m);
    assert.equal((await product.status()).source.since, gone.since);

    await product.write(
      slice('web', [ip(2)]),
      service('new', ['10.96.0.12']),
      slice('new', [ip(1)]),
    );
    await product.server.resume();
    await until('pod-1-3');
    await until('pod-1-2', '10.96.0.12');
    await product.until(
      'the agent to say so',
      async () => (await product.status()).source.phase === 'following',
    );
    const said = (await events()).filter((each) => each.includes('connected'));
    assert.equal(said.length, 2, said.join('\n'));
    assert.match(said[0]!, /^disconnected from https:.*; what is programmed stays$/);
    assert.match(said[1]!, /^connected to https:.* again after \d+ s$/);
  });

  test('an agent that starts while the API server is away keeps what is in force', async () => {
    await product.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.write(service('old', ['10.96.0.12']), slice('old', [ip(1)]));
    await product.start();
    await product.kill();
    await product.server.stop();
    await product.listen();
    await product.until('the agent to give up', async () => (await product.status()).source.reason);
    const { source, synced } = await product.status();
    assert.deepEqual([source.complete, source.phase, synced], [false, 'disconnected', false]);
    assert.deepEqual(await product.heddle('service', 'list'), { services: [], synced: false });
    const metrics = product.get(10249, '/metrics');
    assert.match(metrics, /^heddle_synced 0$/m);
    assert.doesNotMatch(metrics, /^heddle_rows\{/m);
    assert.match(metrics, /^heddle_map_entries\{map="services"\} [1-9]/m);
    assert.match(product.get(10256, '/readyz'), /503/);
    for (const address of [clusterIP, '10.96.0.12']) assert.equal(answer(address), 'pod-1-2');

    await product.server.remove('Service', 'default', 'old');
    await product.server.remove('EndpointSlice', 'default', 'old-1');
    await product.write(slice('web', [ip(2)]));
    await product.server.resume();
    await until('pod-1-3');
    await product.until('what is gone to be removed', () => answer('10.96.0.12') !== 'pod-1-2');
    assert.equal(product.get(10256, '/readyz'), 'ok\n');
    assert.match(product.get(10249, '/metrics'), /^heddle_rows\{state="done"\} [1-9]/m);
  });

  test('no service takes the address of the API server from the agent, also after a restart', async () => {
    const { hostname, port } = new URL(product.server.url);
    const ports = [{ port: Number(port) }];
    const status = { loadBalancer: { ingress: [{ ip: hostname }] } };
    await product.write(
      service('grab', ['10.96.0.66'], { type: 'LoadBalancer', ports }, { status }),
      slice('grab', [ip(1)]),
      service('also', ['10.96.0.67'], { externalIPs: [hostname], ports }),
      slice('also', [ip(1)]),
    );
    await product.start();
    for (let restarts = 0; restarts < 2; restarts++) {
      for (const [name, kind] of [
        ['grab', 'load balancer'],
        ['also', 'externalIP'],
      ] as const) {
        const [row] = await product.service(name);
        assert.deepEqual(row!.problems, [
          `${kind} ${hostname} is refused: port ${port}/TCP is reserved for the API server`,
        ]);
      }
      await product.kill();
      await product.start();
    }
  });

  test('an entry that an earlier agent left at the API server does not lock the next agent out', async () => {
    const { hostname, port } = new URL(product.server.url);
    await product.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    await product.start();
    await product.kill();
    // An agent that knows no refusal: the address leads where the service does.
    using services = BpfMap.openPinned(
      new LinuxBpf(product.platform),
      `${currentPins(product.node.bpffs).maps}/services`,
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
    await product.start();
    assert.equal(answer(), 'pod-1-2');
    assert.equal(services.lookup(keyOf(hostname, Number(port))), undefined);
  });

  test('the API server is reached through its own service, once by another way', async () => {
    const portOf = (url: string) => Number(new URL(url).port);
    /** The service default/kubernetes as an API server itself writes it. */
    const kubernetes = (url: string) => {
      const made = slice('kubernetes', [product.node.addresses.v4], { name: 'kubernetes' });
      const ports = [{ name: 'https', port: portOf(url) }];
      return [
        service('kubernetes', [apiService], { ports: [{ name: 'https', port: 443 }] }),
        { ...made, ports },
      ] as const;
    };
    await product.write(...kubernetes(product.server.url));
    await product.write(service('web', [clusterIP]), slice('web', [ip(1)]));
    const own = product.kubeconfig('service', `https://${apiService}:443`);
    product.agentArgs = ['--kubeconfig', own, '--api-server', product.server.url];
    await product.start();
    assert.equal(answer(), 'pod-1-2');

    // From now on what an earlier agent left is enough, also after a restart.
    await product.kill();
    product.agentArgs = ['--kubeconfig', own];
    const { source } = await product.start();
    assert.equal(source.path, `https://${apiService}:443`);

    // The API server moves: its service says where to, and the old one goes.
    const next = await product.startServer();
    // As if both had one etcd: it is further on than the other, and has forgotten the way there.
    await next.skipVersions(1000);
    await next.compact();
    await product.writeAt(
      next,
      ...kubernetes(next.url),
      service('web', [clusterIP]),
      slice('web', [ip(2)]),
    );
    await product.writeAt(next, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: product.node.name },
    });
    await product.write(...kubernetes(next.url));
    await product.until('the new place to be in force', async () => {
      const [row] = await product.service('kubernetes');
      return row?.endpoints[0]?.port === portOf(next.url) && row.status === 'done';
    });
    await product.server.stop();
    await until('pod-1-3');
    await product.until('the agent to be content', async () => {
      const { source: now } = await product.status();
      return now.phase === 'following' && now.problems.length === 0;
    });
  });
});
