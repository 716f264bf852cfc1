import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { exitCodes } from '@heddle/control/failure';
import { FlowObserver, HealthState, observerHealthName, party, RpcServer } from '@heddle/hubble';
import {
  Observer,
  PolicyDecision_Relation,
  TraceObservationPoint,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import { flowRecord, testNode } from '@heddle/hubble/testing/flows';
import { parseIp } from '@heddle/sys';
import { heddle, startHeddle } from '../../testing/heddle.ts';
import { filtersOf, sinceOf } from './flow-observe.ts';

const base = { observer: '/nowhere', output: 'table' } as const;

describe('heddle flow observe', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-observe-'));
  const socket = join(folder, 'hubble.sock');
  const observer = new FlowObserver({ node: testNode, version: 'test' });
  const server = new RpcServer({
    services: [Observer],
    health: new HealthState([observerHealthName]),
    routes: (router) => void router.service(Observer, observer.service()),
  });
  before(async () => {
    await server.listen({ unix: socket });
    const now = Date.now();
    observer.add(
      flowRecord({ time: now - 86_400_000, observationPoint: TraceObservationPoint.TO_NETWORK }),
    );
    observer.add(
      flowRecord({
        ...{ time: now, verdict: Verdict.DROPPED, dropReason: 133, eventType: 1 },
        ...{ destination: parseIp('10.0.0.9')!, direction: TrafficDirection.INGRESS },
        destinationParty: party({
          ...{ namespace: 'shop', podName: 'db-0', labels: ['k8s:app=db\u001b[2J'] },
        }),
        decisions: [
          {
            ...{ direction: TrafficDirection.INGRESS, verdict: Verdict.DROPPED, rule: 0 },
            ...{ relation: PolicyDecision_Relation.ISOLATES, ruleName: '' },
            policy: { kind: 'NetworkPolicy', namespace: 'shop', name: 'db' },
          },
          {
            ...{ direction: TrafficDirection.INGRESS, verdict: Verdict.FORWARDED, rule: 2 },
            ...{ relation: PolicyDecision_Relation.NEAREST, ruleName: '' },
            policy: { kind: 'NetworkPolicy', namespace: 'shop', name: 'db' },
          },
        ],
      }),
    );
  });
  after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const observe = (...args: string[]) => heddle(['flow', 'observe', '--observer', socket, ...args]);
  const lines = async (...args: string[]) => {
    const { code, stdout, stderr } = await observe(...args);
    assert.deepEqual([code, stderr], [0, '']);
    return stdout.split('\n').slice(0, -1);
  };

  it('prints a line for each flow, with names and reasons', async () => {
    const [forwarded, dropped, ...more] = await lines();
    assert.deepEqual(more, []);
    assert.match(
      forwarded!,
      /^20.*Z {2}FORWARDED {2}shop\/cart-1:40000 -> 192\.0\.2\.1:443 \(api\.example\.org\) {2}TCP SYN {2}to-network$/,
    );
    assert.match(
      dropped!,
      /DROPPED .*-> shop\/db-0:443 {2}TCP SYN {2}drop {2}policy denied: isolated by NetworkPolicy shop\/db, nearest ingress\[1\] of NetworkPolicy shop\/db$/,
    );
  });

  it('selects by each filter, and by all together', async () => {
    const count = async (...args: string[]) => (await lines(...args)).length;
    assert.equal(await count('--verdict', 'dropped', '--protocol', 'tcp'), 1);
    assert.equal(await count('--pod', 'cart', '-n', 'shop', '--port', '443'), 2);
    assert.equal(await count('--ip', '192.0.2.0/24', '-n', 'shop'), 1);
    assert.equal(await count('--ip', '10.0.0.1', '--port', '443', '--pod', 'shop/db'), 1);
    assert.equal(await count('--port', '80'), 0);
    assert.equal(await count('--since', '12h'), 1);
  });

  it('prints JSON as the exporter of Hubble does, one object in each line', async () => {
    const [line] = await lines('-o', 'json', '--last', '1');
    const { flow, node_name } = JSON.parse(line!);
    assert.deepEqual(
      [flow.verdict, flow.destination.pod_name, node_name],
      ['DROPPED', 'db-0', 'n1'],
    );
    assert.ok(!line!.includes('\u001b'));
  });

  it('follows', async () => {
    const child = startHeddle(['flow', 'observe', '--observer', socket, '-f', '--last', '1'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
      assert.match((await lines.next()).value!, /DROPPED/);
      observer.add(flowRecord({ time: Date.now(), sourcePort: 41_234 }));
      assert.match((await lines.next()).value!, /shop\/cart-1:41234/);
    } finally {
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    }
  });

  it('names what it cannot use', async () => {
    for (const [args, code, message] of [
      [
        ['--verdict', 'nice'],
        exitCodes.usage,
        /--verdict nice: there is no such verdict \(.*dropped/,
      ],
      [['--since', 'noon'], exitCodes.usage, /--since noon: it is no time/],
      [['--ip', 'web'], exitCodes.usage, /observe flows: .*web/],
      [['--protocol', 'carrier pigeon'], exitCodes.usage, /observe flows: .*pigeon/],
      [['--pod', 'a/b', '-n', 'c'], exitCodes.usage, /--pod a\/b is in another namespace/],
      [
        ['--observer', '/nowhere'],
        exitCodes.unreachable,
        /reach observer: none answers on \/nowhere/,
      ],
    ] as const) {
      const { code: ended, stderr } = await observe(...args);
      assert.match(stderr, message);
      assert.equal(ended, code);
    }
  });

  it('has a filter for each choice of ends', () => {
    assert.deepEqual(filtersOf(base), []);
    assert.deepEqual(filtersOf({ ...base, protocol: 'tcp' }), [{ protocol: ['tcp'] }]);
    assert.equal(filtersOf({ ...base, pod: 'a/b', port: 80, ip: '::1' }).length, 8);
    assert.equal(sinceOf('2h', 7_200_000), 0);
    assert.equal(sinceOf('1970-01-01T00:00:01Z', 0), 1000);
  });
});
