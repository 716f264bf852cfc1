import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runScenario, webService } from '../testing/run-scenario.ts';
import type { Disruption } from './measures.ts';
import type { SimulationReport, StepReport } from './report.ts';

const maglev = webService({ algorithm: 'maglev' });
const random = webService();

/** Returns the n-th step, from 1. */
function step(report: SimulationReport, number: number): StepReport {
  return report.steps[number - 1]!;
}

function disruption(report: SimulationReport, number: number): Disruption {
  const found = step(report, number).disruption;
  assert.ok(found, `step ${number} has no disruption`);
  return found;
}

const dropped = ({ drops }: StepReport) =>
  Object.fromEntries(drops.map(({ reason, count }) => [reason, count]));

describe('a simulation', () => {
  const scenario = (seed: number) => `
seed: ${seed}
nodes: { count: 6, zones: [a, b] }
steps:
  - backends: { service: web, add: 6 }
  - traffic: { to: web, connections: 60, keep: true }
  - traffic: { to: web, from: pod, port: quic, connections: 40, keep: true }
  - fail: { nodes: 2, noticed: 10s }
  - at: 1m
  - heal: { nodes: all }
  - restart: { nodes: 3, down: 5s }
  - backends: { service: web, remove: 1, drain: 1 }
`;

  test('a simulation has the same result with the same seed and another one with another seed', () => {
    const [first, again, other] = [7, 7, 8].map((seed) =>
      JSON.stringify(runScenario(random, scenario(seed))),
    );
    assert.equal(again, first);
    assert.notEqual(other, first);
  });

  test('a simulation has the same result whether nodes share a machine or each has its own', () => {
    const shared = (nodes: string) => `
seed: 5
nodes: 4
steps:
  - backends: { service: web, add: 5 }
  - traffic: { to: web, connections: 100, keep: true }
  - traffic: { to: web, frontend: NodePort, port: quic, connections: 100, keep: true }
  - backends: { service: web, remove: [web-2] }
  - at: 1h
  - restart: { nodes: ${nodes}, down: 0s }
`;
    // Nodes whose agents restart separately have separate classes.
    const apart = [1, 2, 3, 4]
      .map((i) => `  - restart: { nodes: [node${i}], down: 0s }\n`)
      .join('');
    const together = runScenario(maglev, shared('all'));
    const each = runScenario(maglev, shared('all') + apart);
    assert.deepEqual([together.classes, each.classes], [1, 4]);
    for (let i = 1; i <= 5; i++) {
      assert.deepEqual(step(each, i).traffic, step(together, i).traffic, `step ${i}`);
      assert.deepEqual(step(each, i).disruption, step(together, i).disruption, `step ${i}`);
      assert.deepEqual(step(each, i).drops, step(together, i).drops, `step ${i}`);
      assert.deepEqual(step(each, i).maps, step(together, i).maps, `step ${i}`);
    }
    assert.equal(step(together, 3).traffic?.connected, 100);
  });
});

describe('failed nodes', () => {
  /** A hundredth of the nodes fails; packets of nearly all clients then enter another node. */
  const scenario = (nodes: number, connections: number) => `
seed: 11
nodes: ${nodes}
sizes: { slots: 524288 }
steps:
  - backends: { service: web, add: 150 }
  - traffic: { to: web, port: quic, connections: ${connections}, keep: true }
  - fail: { nodes: ${nodes / 100} }
`;

  test('with maglev on 1,000 nodes little more than the ideal share of clients changes backend', () => {
    const report = runScenario(maglev, scenario(1000, 1500));
    const { open, kept, pathGone, changedShare, idealShare } = disruption(report, 3);
    assert.equal(open, 1500);
    // Only connections through a failed node had to enter another one.
    assert.ok(pathGone < 50, `${pathGone}`);
    assert.ok(kept > 1400, `${kept}`);
    assert.ok(changedShare >= idealShare);
    assert.ok(changedShare - idealShare < 0.02, `${changedShare} is not close to ${idealShare}`);
    assert.equal(step(report, 2).traffic?.connected, 1500);
  });

  test('with random nearly every client changes backend', () => {
    const { changedShare, idealShare } = disruption(runScenario(random, scenario(100, 400)), 3);
    assert.ok(changedShare > 0.9, `${changedShare}`);
    assert.ok(idealShare < 0.1, `${idealShare}`);
  });

  test('a node without state resets a TCP connection, and maglev chooses the same backend again', () => {
    const tcp = scenario(100, 400).replace('port: quic', 'port: http');
    const { reset, resetToSame, kept, moved } = disruption(runScenario(maglev, tcp), 3);
    assert.ok(reset > 350, `${reset}`);
    assert.ok(resetToSame > 0.9 * reset, `${resetToSame} of ${reset}`);
    assert.equal(moved, 0);
    // With consistent hashing in the network the other connections are kept.
    const resilient = tcp.replace('keep: true', 'keep: true, via: resilient');
    assert.ok(disruption(runScenario(maglev, resilient), 3).kept > 350);
    assert.ok(kept < 50);
  });

  test('backends on a failed node do not reply until the failure is detected; a returned node has no state', () => {
    const report = runScenario(
      maglev,
      `
nodes: 4
steps:
  - backends: { service: web, add: 8 }
  - traffic: { to: web, connections: 80, keep: true, via: node1 }
  - fail: { nodes: [node2], noticed: 40s }
  - traffic: { to: web, connections: 80, via: node1 }
  - at: 50s
    traffic: { to: web, connections: 80, via: node1 }
  - heal: { nodes: all }
  - fail: { nodes: [node1] }
  - heal: { nodes: [node1] }
  - traffic: { to: web, connections: 5, via: node1 }
`,
    );
    const lost = disruption(report, 3);
    assert.ok(lost.backendGone > 0);
    assert.deepEqual([lost.reset, lost.resetToNone], [lost.backendGone, lost.backendGone]);
    assert.ok(step(report, 4).traffic!.unanswered > 0);
    assert.match(
      step(report, 5).events.join(),
      /^42 s: the failure is detected: \d+ endpoints? removed$/,
    );
    assert.equal(step(report, 5).traffic!.unanswered, 0);
    assert.equal(disruption(report, 7).reset, disruption(report, 7).open);
    assert.equal(step(report, 9).traffic?.connected, 5);
  });
});

describe('added and removed pods', () => {
  const scenario = (port: string, from: string) => `
nodes: 3
steps:
  - backends: { service: web, add: 10 }
  - traffic: { to: web, port: ${port}, from: ${from}, connections: 200, keep: true }
  - backends: { service: web, remove: 2 }
  - backends: { service: web, drain: 3 }
  - traffic: { to: web, port: ${port}, from: ${from}, connections: 100 }
  - backends: { service: web, add: 4 }
`;

  for (const [port, from] of [
    ['http', 'outside'],
    ['quic', 'outside'],
    ['http', 'pod'],
    ['quic', 'pod'],
    ['http', 'node'],
  ] as const) {
    test(`${port} from ${from}: only connections whose backend is gone change backend`, () => {
      const report = runScenario(random, scenario(port, from));
      const removed = disruption(report, 3);
      assert.ok(removed.backendGone > 0);
      assert.equal(removed.changedShare, removed.idealShare);
      assert.equal(removed.kept, removed.open - removed.backendGone);
      assert.equal(removed.resetToNone, 0);
      const drained = disruption(report, 4);
      assert.equal(drained.kept, drained.open);
      // Draining pods get no new connections.
      assert.equal(step(report, 5).traffic!.distribution!.backends, 5);
      const added = disruption(report, 6);
      assert.equal(added.kept, added.open);
    });
  }

  test('stopped agents apply changes after they start again', () => {
    const report = runScenario(
      random,
      `
nodes: 2
steps:
  - backends: { service: web, add: 6 }
  - traffic: { to: web, connections: 60, keep: true, via: node1 }
  - restart: { nodes: [node1], down: 20s }
  - backends: { service: web, remove: 3 }
  - at: 15s
  - at: 30s
  - traffic: { to: web, connections: 60, via: node1 }
`,
    );
    assert.equal(disruption(report, 3).kept, 60);
    assert.ok(disruption(report, 4).resetToNone > 0);
    assert.match(step(report, 6).events.join('\n'), /^22 s: 1 agent starts again$/m);
    assert.equal(step(report, 7).traffic?.connected, 60);
    assert.equal(step(report, 7).traffic?.distribution?.backends, 3);
    assert.deepEqual(step(report, 7).drops, []);
  });

  test('flows end after their timeout', () => {
    const idle = (at: string) =>
      runScenario(
        random,
        `
nodes: 2
steps:
  - backends: { service: web, add: 2 }
  - traffic: { to: web, connections: 20, keep: true }
  - at: ${at}
`,
      );
    assert.equal(disruption(idle('2h'), 3).kept, 20);
    const { reset, resetToNone } = disruption(idle('3h'), 3);
    assert.deepEqual([reset, resetToNone], [20, 0]);
  });
});

describe('distribution', () => {
  const spread = (algorithm: string, more = '') =>
    step(
      runScenario(
        webService({ algorithm, spec: more }),
        `
nodes: 2
steps:
  - backends: { service: web, add: 5 }
  - traffic: { to: web, from: pod, clients: 400, connections: 400, keep: true }
`,
      ),
      2,
    ).traffic!.distribution!;

  test('round robin and least connections are even on each node', () => {
    for (const algorithm of ['round-robin', 'least-connections']) {
      const { least, most, mean } = spread(algorithm);
      assert.deepEqual([mean, most - least <= 2], [80, true], algorithm);
    }
  });

  test('random and maglev are within the chi-squared limit (one false alarm in a million)', () => {
    for (const algorithm of ['random', 'maglev']) {
      const { chiSquared, degreesOfFreedom, connections } = spread(algorithm);
      assert.deepEqual([degreesOfFreedom, connections], [4, 400]);
      assert.ok(chiSquared > 0 && chiSquared < 33.4, `${algorithm}: ${chiSquared}`);
    }
  });

  test('with session affinity an external client keeps its backend', () => {
    const report = runScenario(
      webService({ spec: 'sessionAffinity: ClientIP' }),
      `
nodes: 1
steps:
  - backends: { service: web, add: 50 }
  - traffic: { to: web, clients: 1, connections: 30 }
`,
    );
    assert.equal(step(report, 2).traffic!.distribution!.most, 30);
    assert.equal(step(report, 2).maps.find(({ name }) => name === 'affinity')!.most, 1);
  });
});

describe('drops by reason', () => {
  test('a service without endpoints and a client outside the source ranges are counted', () => {
    const guarded = webService({ spec: 'loadBalancerSourceRanges: [198.18.0.0/24]' });
    const report = runScenario(
      guarded,
      `
nodes: 2
steps:
  - traffic: { to: web, connections: 20 }
  - traffic: { to: web, connections: 10, from: pod }
  - backends: { service: web, add: 2 }
  - traffic: { to: web, connections: 512, clients: 512 }
`,
    );
    assert.deepEqual(step(report, 1).traffic?.refused, 20);
    assert.deepEqual(dropped(step(report, 1)), { 'no endpoints': 20 });
    assert.deepEqual(dropped(step(report, 2)), { 'socket: no endpoints': 10 });
    assert.deepEqual(dropped(step(report, 4)), {
      'the client is not in loadBalancerSourceRanges': 256,
    });
    assert.deepEqual(
      [step(report, 4).traffic?.connected, step(report, 4).traffic?.unanswered],
      [256, 256],
    );
    assert.equal(
      report.total.drops.reduce((sum, { count }) => sum + count, 0),
      286,
    );
  });

  test('source ranges restrict pods and nodes by their addresses', () => {
    // Client pods have addresses of 10.64.0.0/16, nodes of 172.16.0.0/12.
    for (const [range, pods, nodes] of [
      ['10.64.0.0/16', 10, 0],
      ['172.16.0.0/12', 0, 10],
      ['198.18.0.0/15', 0, 0],
    ] as const) {
      const report = runScenario(
        webService({ spec: `loadBalancerSourceRanges: [${range}]` }),
        `
nodes: 2
steps:
  - backends: { service: web, add: 2 }
  - traffic: { to: web, connections: 10, from: pod, frontend: LoadBalancer }
  - traffic: { to: web, connections: 10, from: node, frontend: LoadBalancer }
  - traffic: { to: web, connections: 10, from: pod }
`,
      );
      const connected = [2, 3, 4].map((number) => step(report, number).traffic?.connected);
      assert.deepEqual(connected, [pods, nodes, 10], range);
      const refused = 20 - pods - nodes;
      assert.deepEqual(
        report.total.drops.map(({ reason, count }) => [reason, count]),
        [['socket: the client is not in loadBalancerSourceRanges', refused]],
      );
    }
  });

  test('with externalTrafficPolicy Local nodes with endpoints have separate classes', () => {
    const report = runScenario(
      webService({ spec: 'externalTrafficPolicy: Local' }),
      `
nodes: 20
steps:
  - backends: { service: web, add: 1 }
  - traffic: { to: web, connections: 200 }
`,
    );
    assert.equal(report.classes, 2);
    const { connected, unanswered } = step(report, 2).traffic!;
    assert.ok(connected > 0 && connected < 50, `${connected}`);
    assert.deepEqual(dropped(step(report, 2)), {
      'no endpoint on this node, and externalTrafficPolicy is Local': unanswered,
    });
  });

  test('flows without a reply use at most half of the table, and the oldest are evicted', () => {
    const report = runScenario(
      random,
      `
nodes: 2
sizes: { flows: 400 }
steps:
  - backends: { service: web, add: 20 }
  - fail: { nodes: [node2], noticed: 1h }
  - traffic: { to: web, port: quic, connections: 380, keep: true, via: node1 }
`,
    );
    const { connected, unanswered } = step(report, 3).traffic!;
    assert.ok(unanswered > 100 && connected > 100, `${connected} and ${unanswered}`);
    assert.deepEqual(dropped(step(report, 3)), {});
    const flows = step(report, 3).maps.find(({ name }) => name === 'nat_flows')!;
    assert.equal(flows.maxEntries, 399);
    assert.ok(flows.most < 380 && flows.most >= 199, `${flows.most} flows`);
  });
});

describe('frontends and families', () => {
  for (const traffic of [
    'family: IPv6, port: http',
    'family: IPv6, port: quic',
    'frontend: NodePort, port: http',
    'frontend: NodePort, family: IPv6, port: quic',
    'frontend: ClusterIP, port: 80, protocol: tcp',
    'from: pod, family: IPv6, port: quic',
  ]) {
    test(traffic, () => {
      const report = runScenario(
        random,
        `
nodes: 3
steps:
  - backends: { service: web, add: 3 }
  - traffic: { to: web, connections: 30, keep: true, ${traffic} }
  - at: 20s
  - fail: { nodes: 1 }
`,
      );
      assert.equal(step(report, 2).traffic?.connected, 30);
      assert.equal(disruption(report, 3).kept, 30);
      assert.equal(disruption(report, 4).resetToNone, 0);
      assert.equal(report.classes, 1);
    });
  }
});

test('100,000 services are programmed on 1,000 nodes', () => {
  const report = runScenario(
    '',
    `
nodes: 1000
sizes: { services: 131072, backends: 131072 }
services: { count: 100000 }
steps:
  - traffic: { to: simulated/*, connections: 300, keep: true }
  - traffic: { to: simulated/service-99999, connections: 3, from: pod }
`,
  );
  assert.equal(step(report, 1).traffic?.connected, 300);
  assert.equal(step(report, 2).traffic?.connected, 3);
  const services = step(report, 1).maps.find(({ name }) => name === 'services')!;
  assert.deepEqual([services.least, services.most], [100_000, 100_000]);
  assert.deepEqual(step(report, 2).failures, []);
});

test('a map that is too small is reported with the setting to raise', () => {
  const report = runScenario(
    '',
    `
nodes: 1
sizes: { services: 5, servicesMax: 5 }
services: { count: 8 }
steps:
  - traffic: { to: simulated/*, connections: 20 }
`,
  );
  const [failure] = step(report, 1).failures;
  // The map has room for an eighth more than servicesMax, for frontends that are being replaced.
  assert.equal(failure?.count, 2);
  assert.match(failure!.reason, /raise sizes.servicesMax/);
  assert.ok(step(report, 1).traffic!.connected < 20);
});
