import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pod, service } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

test('only an SCTP service or hostPort has the problem that sockets do not reach it', () => {
  const ports = (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({
    ...{ name: protocol.toLowerCase(), protocol, port: 80 },
  }));
  const cluster = new ModelCluster(
    service('web', ['10.96.0.1', 'fd00:96::1'], { ports }),
    pod('web', '10.244.0.1', { ports: [{ containerPort: 80, hostPort: 80, protocol: 'SCTP' }] }),
  );
  for (const key of cluster.keys) {
    const [problem, ...others] = cluster.problems(key);
    if (key.includes('SCTP'))
      assert.match(problem!, /^SCTP is programmed for external traffic and/);
    else assert.equal(problem, undefined, key);
    assert.deepEqual(others, []);
  }
  assert.equal(cluster.keys.filter((key) => key.includes('SCTP')).length, 3);
});
