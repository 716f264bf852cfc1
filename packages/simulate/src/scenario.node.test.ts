import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Failure } from '@heddle/control/failure';
import { runScenario, webService } from '../testing/run-scenario.ts';
import { readScenario } from './scenario.ts';

const read = (text: string) => readScenario('s.yaml', text);

test('fields that are left out have defaults', () => {
  const { seed, nodes, sizes, steps } = read(
    'nodes: 5\nsteps: [{ traffic: { to: web, connections: 9 } }]',
  );
  assert.deepEqual([seed, nodes], [1, { count: 5, zones: [] }]);
  assert.equal(sizes.services, 65_536);
  assert.deepEqual(steps[0]?.traffic, {
    ...{ to: 'default/web', from: 'outside', connections: 9, via: 'ecmp', keep: false, over: 1000 },
  });
});

test('durations have the unit ms, s, m or h, or are seconds', () => {
  const times = ['500ms', '2s', '3m', '1h', '1.5'];
  const { steps } = read(`steps: [${times.map((at) => `{ at: ${at} }`).join(', ')}]`);
  assert.deepEqual(
    steps.map(({ at }) => at),
    [500, 2000, 180_000, 3_600_000, 1500],
  );
});

/** Returns the message of the Failure that `work` throws, or `none`. */
function failureOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
  return 'none';
}

describe('an invalid scenario gives a message with the file, the field, the value and the remedy', () => {
  for (const [text, sentence] of [
    ['steps: [', /^read scenario s\.yaml: not YAML in line 1: /],
    [
      '',
      'read scenario s.yaml: the file is null; write a mapping of the fields seed, nodes, sizes, services, steps',
    ],
    ['seed: 1', 'read scenario s.yaml: steps is missing; write a list of steps'],
    ['steps: []', 'read scenario s.yaml: steps is []; write at least one step'],
    [
      'seed: x\nsteps: [{}]',
      'read scenario s.yaml: seed is "x"; write a whole number from 0 to 4294967295',
    ],
    [
      'steps: [{ trafic: {} }]',
      'read scenario s.yaml: steps[0].trafic: there is no such field; use name, at, traffic, backends, fail, heal, close, restart',
    ],
    [
      'steps: [{ at: 5x }]',
      'read scenario s.yaml: steps[0].at is "5x"; write a time such as 500ms, 10s, 5m or 2h',
    ],
    [
      'steps: [{ at: 721h }]',
      'read scenario s.yaml: steps[0].at is 2595600000; write at most 720h',
    ],
    [
      'steps: [{ traffic: { to: web } }]',
      'read scenario s.yaml: steps[0].traffic.connections is missing; write a whole number from 1 to 10000000',
    ],
    [
      'steps: [{ fail: { nodes: 0 } }]',
      'read scenario s.yaml: steps[0].fail.nodes is 0; write how many nodes, a list of their names, or all',
    ],
    [
      'sizes: { flow: 3 }\nsteps: [{}]',
      'read scenario s.yaml: sizes.flow: there is no such field; use services, servicesMax, backends, slots, affinity, flows, policySubjects, policyPeers, policyRanges, policyPeerClasses, policyPortClasses, policyNames, policyGrants',
    ],
    [
      'steps: [{ fail: { nodes: 1 }, heal: { nodes: 1 } }]',
      'read scenario s.yaml: steps[0] has fail and heal; write a step for each',
    ],
    [
      'steps: [{ at: 1 }, { traffic: { to: web, connections: 1, from: mars } }]',
      'read scenario s.yaml: steps[1].traffic.from is "mars"; write outside, pod or node',
    ],
  ] as const) {
    test(text || 'an empty file', () => {
      const found = failureOf(() => read(text));
      if (typeof sentence === 'string') assert.equal(found, sentence);
      else assert.match(found, sentence);
    });
  }

  test('the message names all invalid fields at once', () => {
    const found = failureOf(() => read('seed: x\nsteps: [{ at: y }, { fail: 3 }]'));
    assert.deepEqual(found.split('\n').length, 3);
  });
});

describe('an impossible step gives a message with the step and the remedy', () => {
  for (const [steps, sentence] of [
    [
      '[{ traffic: { to: wep, connections: 1 } }]',
      'simulate: steps[0].traffic.to: there is no service default/wep (there are default/web)',
    ],
    ['[{ fail: { nodes: 4 } }]', 'simulate: steps[0].fail.nodes is 4; 3 nodes are up'],
    [
      '[{ fail: { nodes: [node1] } }, { fail: { nodes: [node1] } }]',
      'simulate: steps[1].fail.nodes has node1, which is none of the 2 nodes that are up',
    ],
    [
      '[{ backends: { service: web, add: 1 } }, { backends: { service: web, remove: 2 } }]',
      'simulate: steps[1].backends.remove is 2; default/web has 1 ready pod then',
    ],
    [
      '[{ traffic: { to: web, connections: 1, over: 10s } }, { at: 5s }]',
      'simulate: steps[1].at is 5s; the step before lasts until 10s (write a later time, or omit at)',
    ],
    [
      '[{ traffic: { to: web, connections: 1, via: node9 } }]',
      'simulate: steps[0].traffic.via is node9; write ecmp, resilient or the name of a node',
    ],
    [
      '[{ traffic: { to: web, connections: 1, port: dns } }]',
      'simulate: traffic to default/web: it has no such port (it has http/tcp, quic/udp)',
    ],
    [
      '[{ traffic: { to: web, connections: 1, frontend: ExternalIP } }]',
      'simulate: traffic to default/web: it has no ExternalIP address',
    ],
    [
      '[{ traffic: { to: web, connections: 1, from: pod, frontend: NodePort } }]',
      'simulate: traffic to default/web: simulated NodePorts take external traffic only (write frontend: ClusterIP)',
    ],
  ] as const) {
    test(sentence, () => {
      const found = failureOf(() => runScenario(webService(), `nodes: 3\nsteps: ${steps}`));
      assert.equal(found, sentence);
    });
  }

  test('an endpoint on an unknown node and fewer nodes than Node manifests are refused', () => {
    const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.1.1.1], nodeName: worker-7 }]
`;
    const node = (name: string, address: string) =>
      `---\napiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\nstatus: { addresses: [{ type: InternalIP, address: ${address} }] }\n`;
    const nodes = node('worker-7', '192.0.2.7') + node('worker-8', '192.0.2.8');
    const traffic = 'steps: [{ traffic: { to: web, connections: 1 } }]';
    assert.match(
      failureOf(() => runScenario(`${webService()}---${slice}`, traffic)),
      /endpoint 10\.1\.1\.1 of EndpointSlice default\/web-1 is on node worker-7, which does not exist \(add a manifest/,
    );
    assert.match(
      failureOf(() => runScenario(`${webService()}---${slice}${nodes}`, `nodes: 1\n${traffic}`)),
      /the manifests have 2 Nodes, and 1 is requested/,
    );
    const report = runScenario(`${webService()}---${slice}${nodes}`, traffic);
    assert.deepEqual([report.nodes, report.steps[0]?.traffic?.connected], [2, 1]);
  });
});
