import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { node, pod, service } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const old = { created: '2020-01-01T00:00:00Z' };
const young = { created: '2024-01-01T00:00:00Z' };
const key = 'default/pod/web:80/TCP/IPv4';
const at = (hostIP: string, more: object = {}) => ({
  ports: [{ containerPort: 8080, hostPort: 80, hostIP, ...more }],
});
/** Returns the frontends of all rows, by key. */
const all = (cluster: ModelCluster) =>
  Object.fromEntries(cluster.keys.map((each) => [each, cluster.frontends(each)]));

describe('a hostPort', () => {
  test('a hostPort has frontends at the addresses that take NodePorts, in the pod’s families', () => {
    const cluster = new ModelCluster(pod('web', ['10.244.0.1', 'fd00:244::1']));
    assert.deepEqual(all(cluster), {
      [key]: ['HostPort 192.0.2.1:80', 'HostPort 0.0.0.0:80'],
      'default/pod/web:80/TCP/IPv6': ['HostPort fd00::1:80', 'HostPort :::80'],
    });
    assert.deepEqual(cluster.active(key), ['10.244.0.1:8080']);
    assert.deepEqual(cluster.active('default/pod/web:80/TCP/IPv6'), ['fd00:244::1:8080']);
    cluster.apply(pod('web', '10.244.0.1'));
    assert.deepEqual(cluster.keys, [key]);
    cluster.setNodePortRanges('203.0.113.0/24');
    assert.deepEqual(cluster.frontends(key), ['HostPort 0.0.0.0:80']);
    cluster.apply(node('here', ['203.0.113.7']));
    assert.deepEqual(cluster.frontends(key), ['HostPort 203.0.113.7:80', 'HostPort 0.0.0.0:80']);
  });

  test('exists only on the pod’s node and while the pod exists', () => {
    const cluster = new ModelCluster(
      pod('web', '10.244.0.1'),
      pod('far', '10.244.1.1', { node: 'b' }),
    );
    assert.deepEqual(cluster.keys, [key]);
    cluster.apply(pod('web', '10.244.0.9'));
    assert.deepEqual(cluster.active(key), ['10.244.0.9:8080']);
    assert.deepEqual(cluster.delete('pod', 'default/web').removed, [key]);
    assert.deepEqual(cluster.delete('pod', 'default/web'), { removed: [], upserted: [] });
  });

  test('a hostPort does not exist without a node name', () => {
    const cluster = new ModelCluster(pod('web', '10.244.0.1', { node: 'elsewhere' }));
    assert.deepEqual(cluster.keys, []);
  });

  test('a hostPort with hostIP 0.0.0.0 or :: has frontends at all addresses of that family', () => {
    const ips = ['10.244.0.1', 'fd00:244::1'];
    const four = new ModelCluster(pod('web', ips, at('0.0.0.0')));
    assert.deepEqual(all(four), {
      'default/pod/web:0.0.0.0:80/TCP/IPv4': ['HostPort 192.0.2.1:80', 'HostPort 0.0.0.0:80'],
    });
    const six = new ModelCluster(pod('web', ips, at('::')));
    assert.deepEqual(all(six), {
      'default/pod/web:[::]:80/TCP/IPv6': ['HostPort fd00::1:80', 'HostPort :::80'],
    });
  });

  test('a hostPort with a hostIP has a frontend only there, independent of the NodePort ranges', () => {
    const cluster = new ModelCluster(pod('web', '10.244.0.1', at('192.0.2.1')));
    const only = 'default/pod/web:192.0.2.1:80/TCP/IPv4';
    assert.deepEqual(all(cluster), { [only]: ['HostPort 192.0.2.1:80'] });
    assert.deepEqual(cluster.setNodePortRanges('203.0.113.0/24'), { upserted: [], removed: [] });
    for (const loopback of ['127.0.0.1', '127.9.9.9']) {
      cluster.apply(pod('web', '10.244.0.1', at(loopback)));
      const row = `default/pod/web:${loopback}:80/TCP/IPv4`;
      assert.deepEqual(all(cluster), { [row]: [`HostPort ${loopback}:80`] });
    }
  });

  test('a hostPort with a hostIP that is no address of the node is refused until it becomes one', () => {
    const cluster = new ModelCluster(pod('web', '10.244.0.1', at('203.0.113.5')));
    const row = 'default/pod/web:203.0.113.5:80/TCP/IPv4';
    assert.deepEqual(cluster.frontends(row), []);
    assert.deepEqual(cluster.problems(row), [
      'hostIP 203.0.113.5 is refused: this node has no such address',
    ]);
    cluster.apply(node('here', ['203.0.113.5']));
    assert.deepEqual(cluster.frontends(row), ['HostPort 203.0.113.5:80']);
    assert.deepEqual(cluster.problems(row), []);
  });

  test('may have the same number with another hostIP or protocol (as in the Kubernetes e2e suite)', () => {
    const cluster = new ModelCluster(
      pod('one', '10.244.0.1', at('127.0.0.1')),
      pod('two', '10.244.0.2', at('192.0.2.1')),
      pod('three', '10.244.0.3', at('192.0.2.1', { protocol: 'UDP' })),
      pod('four', '10.244.0.4', at('127.0.0.2')),
    );
    assert.deepEqual(all(cluster), {
      'default/pod/four:127.0.0.2:80/TCP/IPv4': ['HostPort 127.0.0.2:80'],
      'default/pod/one:127.0.0.1:80/TCP/IPv4': ['HostPort 127.0.0.1:80'],
      'default/pod/three:192.0.2.1:80/UDP/IPv4': ['HostPort 192.0.2.1:80'],
      'default/pod/two:192.0.2.1:80/TCP/IPv4': ['HostPort 192.0.2.1:80'],
    });
    for (const each of cluster.keys) assert.deepEqual(cluster.problems(each), []);
  });

  test('of two containers of a pod at one address belongs to the first', () => {
    const ports = [
      { containerPort: 8080, hostPort: 80 },
      { containerPort: 9090, hostPort: 80, hostIP: '192.0.2.1' },
      { containerPort: 7070, hostPort: 80 },
    ];
    const cluster = new ModelCluster(pod('web', '10.244.0.1', { ports }));
    const other = 'default/pod/web:192.0.2.1:80/TCP/IPv4';
    assert.deepEqual(cluster.keys, [other, key].sort());
    assert.deepEqual(cluster.active(key), ['10.244.0.1:8080']);
    assert.deepEqual(cluster.problems(other), [
      'HostPort 192.0.2.1:80/TCP is taken: another port of this pod has it',
    ]);
  });
});

describe('a hostPort of several objects', () => {
  const nodePort = { type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] };

  test('belongs to the older service or pod, and the other has a problem', () => {
    for (const [podAge, serviceAge] of [
      [old, young],
      [young, old],
    ]) {
      const cluster = new ModelCluster(
        service('web', '10.96.0.1', { ...nodePort, ...serviceAge }),
        pod('web', '10.244.0.1', podAge),
      );
      const [winner, loser, name] =
        podAge === old
          ? [key, 'default/web:80/TCP/IPv4', 'Pod default/web']
          : ['default/web:80/TCP/IPv4', key, 'Service default/web'];
      assert.deepEqual(cluster.problems(winner), []);
      const kind = podAge === old ? 'NodePort' : 'HostPort';
      assert.deepEqual(cluster.problems(loser), [
        `${kind} 192.0.2.1:80/TCP is taken: ${name} has it`,
        `${kind} 0.0.0.0:80/TCP is taken: ${name} has it`,
      ]);
      if (podAge === young) assert.deepEqual(cluster.active(key), [], 'it gets nothing new');
    }
  });

  test('in conflict at one address keeps its other addresses', () => {
    const cluster = new ModelCluster(
      pod('one', '10.244.0.1', { ...at('192.0.2.1'), ...old }),
      pod('web', ['10.244.0.2'], young),
    );
    assert.deepEqual(cluster.frontends(key), ['HostPort 0.0.0.0:80']);
    cluster.delete('pod', 'default/one');
    assert.equal(cluster.frontends(key).length, 2);
  });

  test('at a loopback address conflicts with a frontend for all of loopback', () => {
    const local = 'default/pod/local:127.0.0.1:80/TCP/IPv4';
    const cluster = new ModelCluster(
      pod('local', '10.244.0.2', { ...at('127.0.0.1'), ...young }),
      pod('other', '10.244.0.3', { ...at('127.0.0.2'), ...young }),
    );
    assert.equal(cluster.frontends(local).length, 1);
    for (const rival of [
      pod('web', '10.244.0.1', old),
      service('web', '10.96.0.1', { ...nodePort, ...old }),
    ]) {
      cluster.apply(rival);
      assert.deepEqual(cluster.problems(local), [
        `HostPort 127.0.0.1:80/TCP is taken: ${rival.kind} default/web has it`,
      ]);
      cluster.delete(rival.kind === 'Pod' ? 'pod' : 'service', 'default/web');
      assert.deepEqual(cluster.frontends(local), ['HostPort 127.0.0.1:80']);
    }
    // The younger pod has the rest of loopback.
    cluster.apply(pod('web', '10.244.0.1', { created: '2025-01-01T00:00:00Z' }));
    assert.deepEqual(cluster.problems(local), []);
    assert.equal(cluster.frontends(key).length, 2);
  });

  test('of a terminating pod is served until another object asks for it, then drains', () => {
    const going = { ...old, deleted: '2025-01-01T00:00:00Z' };
    const cluster = new ModelCluster(pod('web', '10.244.0.1', going));
    assert.deepEqual(cluster.active(key), ['10.244.0.1:8080']);
    cluster.apply(pod('next', '10.244.0.2', young));
    assert.deepEqual(cluster.draining(key), ['10.244.0.1:8080']);
    assert.deepEqual(cluster.frontends(key), []);
    assert.deepEqual(cluster.problems('default/pod/next:80/TCP/IPv4'), []);
    cluster.delete('pod', 'default/next');
    assert.deepEqual(cluster.active(key), ['10.244.0.1:8080']);
  });
});

test('a pod and a service of one name have separate rows and problems', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', { ports: [{ port: 80 }] }),
    pod('web', '10.244.0.1'),
  );
  assert.deepEqual(cluster.keys, [key, 'default/web:80/TCP/IPv4'].sort());
  assert.equal(cluster.row(key).name, 'pod/web');
  cluster.apply(pod('web', '10.244.0.1', at('nonsense')));
  assert.equal(cluster.model.problemOf('default/web'), undefined);
  assert.match(cluster.model.problemOf('default/pod/web')!.reason, /^Pod default\/web: spec\.cont/);
  assert.deepEqual(
    cluster.active(key),
    ['10.244.0.1:8080'],
    'the last good version stays programmed',
  );
  cluster.apply(pod('web', '10.244.0.1'));
  assert.equal(cluster.model.problemOf('default/pod/web'), undefined);
});
