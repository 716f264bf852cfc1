import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askTcp, type LabHost, startBackend } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import { formatSocketAddress } from '@heddle/sys/net';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
const port = 31_000;
const spec = {
  ...{ type: 'LoadBalancer', ipFamilyPolicy: 'RequireDualStack', healthCheckNodePort: port },
  ...{ externalTrafficPolicy: 'Local', ports: [{ port: 80, nodePort: 30_080 }] },
};
const web = (more: object = {}) =>
  service('web', ['10.96.0.1', 'fd00:96::1'], { ...spec, ...more });

/** Returns the response to a load balancer's probe (status, weight and body) or the error code. */
function probe(from: LabHost, address: string, at = port): string {
  const to = { address, port: at };
  try {
    const host = formatSocketAddress(to);
    const answer = askTcp(
      from,
      to,
      `GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    const [head, body] = answer.split('\r\n\r\n') as [string, string];
    const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1];
    const weight = /\r\nX-Load-Balancing-Endpoint-Weight: (\d+)\r\n/.exec(head)?.[1];
    return `${status}, weight ${weight}: ${body.trim()}`;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

const response = (status: number, localEndpoints: number) =>
  `${status}, weight ${localEndpoints}: {"service":{"namespace":"default","name":"web"},"localEndpoints":${localEndpoints},"serviceProxyHealthy":true}`;

describe('healthCheckNodePort', () => {
  let agentLab: ManifestLab;
  let client: LabHost;
  before(async () => {
    agentLab = new ManifestLab('health', { nodes: 2, podsPerNode: 2, outside: 1 });
    client = agentLab.lab.outside[0]!;
    await Promise.all(agentLab.lab.pods.map((pod) => startBackend(pod, { tcp: [8080] })));
    await agentLab.start();
  });
  after(() => agentLab?.[Symbol.dispose]());

  /** Returns slices of both families for pods by number; 0 and 1 are on the agent's node. */
  const pods = (numbers: readonly number[], conditions = {}) =>
    ipVersions.map((end) => {
      const endpoints = numbers.map((number) => {
        const pod = agentLab.lab.pods[number]!;
        return endpoint(pod.addresses[end], conditions, { nodeName: pod.node.name });
      });
      return slice('web', endpoints, {
        name: `web-${end}`,
        addressType: { v4: 'IPv4', v6: 'IPv6' }[end],
      });
    });
  /** Returns the response, which must be the same at both of the node's addresses. */
  const assertResponse = (expected: string, at = port) => {
    for (const end of ipVersions)
      assert.equal(probe(client, agentLab.node.addresses[end], at), expected);
  };
  const served = (end: 'v4' | 'v6') =>
    askTcp(client, { address: agentLab.node.addresses[end], port: 30_080 }, 'who?', 500).split(
      ' ',
    )[0]!;

  test('a health check reports the number of ready endpoints on the node', async () => {
    assertResponse('ECONNREFUSED');
    await agentLab.apply('web.yaml', web());
    assertResponse(response(503, 0));
    await agentLab.apply('web.yaml', web(), ...pods([0, 1, 2]));
    assertResponse(response(200, 2));
    await agentLab.apply('web.yaml', web(), ...pods([1, 2]));
    assertResponse(response(200, 1));
    await agentLab.apply('web.yaml', web(), ...pods([2, 3]));
    assertResponse(response(503, 0));
    await agentLab.apply('web.yaml', web(), ...pods([0], { ready: false }));
    assertResponse(response(503, 0));
  });

  test('a health check fails while endpoints of the node only terminate, which still serve', async () => {
    const going = { ready: false, serving: true, terminating: true };
    await agentLab.apply('web.yaml', web(), ...pods([0], going));
    assertResponse(response(503, 0));
    for (const end of ipVersions) assert.equal(served(end), agentLab.pod(0).name);
    await agentLab.apply('web.yaml', web(), ...pods([0]));
    assertResponse(response(200, 1));
    for (const end of ipVersions) assert.equal(served(end), agentLab.pod(0).name);
  });

  test('a health check is shown by heddle service get', async () => {
    await agentLab.apply('web.yaml', web(), ...pods([0, 1]));
    const [first, ...others] = (await agentLab.service('web')).filter((row) => row.healthCheck);
    assert.deepEqual(first?.healthCheck, { port, localEndpoints: 2, listening: true });
    assert.deepEqual(others, []);
    assert.deepEqual((await agentLab.status()).healthChecks, { listening: 1, failed: 0 });
  });

  test('follows the port, and ends with the policy and with the service', async () => {
    await agentLab.apply('web.yaml', web({ healthCheckNodePort: port + 1 }), ...pods([0]));
    assertResponse('ECONNREFUSED');
    assertResponse(response(200, 1), port + 1);
    const cluster = { externalTrafficPolicy: 'Cluster', healthCheckNodePort: undefined };
    await agentLab.apply('web.yaml', web(cluster), ...pods([0]));
    assertResponse('ECONNREFUSED', port + 1);
    await agentLab.apply('web.yaml', web(), ...pods([0]));
    assertResponse(response(200, 1));
    await agentLab.apply('web.yaml');
    assertResponse('ECONNREFUSED');
  });

  test('a health check refuses connections while no agent runs, and returns with the agent', async () => {
    await agentLab.apply('web.yaml', web(), ...pods([0]));
    await agentLab.kill();
    assertResponse('ECONNREFUSED');
    for (const end of ipVersions) assert.equal(served(end), agentLab.pod(0).name);
    await agentLab.start();
    assertResponse(response(200, 1));
  });

  test('a health check is served as soon as a process of the node releases its port', async () => {
    const taken = port + 2;
    await startBackend(agentLab.node, { tcp: [taken] });
    await agentLab.apply('web.yaml', web({ healthCheckNodePort: taken }), ...pods([0]));
    const [row] = (await agentLab.service('web')).filter((each) => each.healthCheck);
    assert.equal(row?.healthCheck?.listening, false);
    assert.match(row?.healthCheck?.problem ?? '', /listen on :31002: .*EADDRINUSE/);
    assert.equal(row?.status, 'done', 'the service itself is programmed');
    for (const end of ipVersions) assert.equal(served(end), agentLab.pod(0).name);
    await agentLab.apply('web.yaml', web(), ...pods([0]));
    assertResponse(response(200, 1));
  });
});
