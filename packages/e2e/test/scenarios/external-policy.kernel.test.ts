import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askHttp, connectTcp, type LabHost, startBackend } from '@heddle/lab';
import {
  answers,
  draining,
  type EndpointSpec,
  type ExposedService,
  ExternalLab,
  type IpVersion,
  ipVersions,
  namesOf,
  noReply,
  observedClient,
  protocols,
  refused,
  starting,
} from '../../testing/external-lab.ts';

const tries = 30;
const local = { externalTrafficPolicy: 'Local' };
const healthPort = 32_000;

describe('traffic policies, for external and internal clients', () => {
  let setup: ExternalLab;
  before(async () => {
    setup = await ExternalLab.open('outside-policy');
  });
  after(() => setup?.[Symbol.dispose]());

  /** Asks at every way in, by both protocols and families. */
  function assertAnswers(
    web: ExposedService,
    from: LabHost,
    expected: readonly string[],
    {
      paths = ['NodePort', 'load balancer'],
      family,
    }: { paths?: string[]; family?: IpVersion } = {},
  ): void {
    const count = expected === noReply ? 1 : tries;
    for (const end of family ? [family] : ipVersions) {
      for (const protocol of protocols) {
        for (const { path, to } of web.externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
          if (!paths.includes(path)) continue;
          const message = `${from.name} at the ${path} by ${protocol} over IP${end}`;
          assert.deepEqual(answers(from, protocol, to, count), expected, message);
        }
      }
    }
  }

  test('Local: pods of the node serve and observe the client’s address', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('local');
    await web.write([here[0]!, here[1]!, there[0]!], { spec: local });
    assertAnswers(web, client, namesOf(here[0]!, here[1]!));
    for (const end of ipVersions) {
      for (const { path, to } of web.externalPaths(end, 'http')) {
        assert.equal(observedClient(client, to), client.addresses[end], path);
      }
    }
    await web.remove();
  });

  test('Local without a pod of the node: dropped for external clients and other nodes, served on the node itself', async () => {
    const { here, there, client, node, elsewhere } = setup;
    const web = setup.expose('absent');
    await web.write([there[0]!, there[1]!], { spec: local });
    // Pods of other nodes are external to this node too.
    for (const from of [client, elsewhere, there[0]!, there[2]!]) {
      assertAnswers(web, from, noReply, { paths: ['NodePort'] });
    }
    assertAnswers(web, client, noReply, { paths: ['load balancer'] });
    for (const from of [node, here[0]!]) assertAnswers(web, from, namesOf(there[0]!, there[1]!));
    await web.remove();
  });

  test('Local without any endpoint: refused, because no other node has endpoints', async () => {
    const { here, client, node } = setup;
    const web = setup.expose('nobody');
    await web.write([], { spec: local });
    for (const from of [client, node, here[0]!]) assertAnswers(web, from, refused);
    await web.remove();
  });

  test('Local with endpoints on the host network: they are served like pods', async () => {
    const { client, node, elsewhere, here } = setup;
    for (const each of [node, elsewhere]) {
      await startBackend(each, { tcp: [8080], udp: [8080], http: [8082] });
    }
    const web = setup.expose('host');
    await web.write([node, elsewhere], { spec: local });
    assertAnswers(web, client, namesOf(node));
    for (const end of ipVersions) {
      assert.equal(observedClient(client, web.onNode(end, 'http')), client.addresses[end]);
    }
    assertAnswers(web, here[0]!, namesOf(node, elsewhere));
    await web.write([elsewhere], { spec: local });
    assertAnswers(web, client, noReply);
    await web.remove();
  });

  test('connections continue when the policy is switched', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('switched');
    const pods = [here[0]!, there[0]!];
    await web.write(pods);
    assertAnswers(web, client, namesOf(...pods));
    // Some connections to each pod, through each external address.
    const sockets = ipVersions.flatMap((end) =>
      Array.from({ length: 12 }, () => connectTcp(client, web.onNode(end, 'echo'))),
    );
    const exchange = (word: string) => {
      for (const socket of sockets) {
        socket.send(word);
        assert.equal(new TextDecoder().decode(socket.receive()), word);
      }
    };
    try {
      exchange('while it is Cluster');
      for (let round = 0; round < 2; round++) {
        await web.write(pods, { spec: local });
        exchange('while it is Local');
        assertAnswers(web, client, namesOf(here[0]!));
        for (const end of ipVersions) {
          assert.equal(observedClient(client, web.onNode(end, 'http')), client.addresses[end]);
        }
        await web.write(pods);
        exchange('while it is Cluster again');
        assertAnswers(web, client, namesOf(...pods));
      }
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
    // While its only pod is on another node, the node drops packets.
    await web.write([there[0]!], { spec: local });
    assertAnswers(web, client, noReply);
    await web.write([there[0]!]);
    assertAnswers(web, client, namesOf(there[0]!));
    await web.remove();
  });

  test('internalTrafficPolicy Local does not apply to external clients', async () => {
    const { here, there, client, node } = setup;
    const web = setup.expose('internal');
    await web.write([there[0]!], { spec: { internalTrafficPolicy: 'Local' } });
    assertAnswers(web, client, namesOf(there[0]!));
    for (const end of ipVersions) {
      const to = web.at(web.clusterIP(end), 'tcp');
      for (const from of [node, here[0]!]) assert.deepEqual(answers(from, 'TCP', to), refused);
    }
    await web.remove();
  });

  describe('terminating endpoints serve while none is ready', () => {
    for (const internal of ['Cluster', 'Local']) {
      for (const external of ['Cluster', 'Local']) {
        test(`internalTrafficPolicy ${internal}, externalTrafficPolicy ${external}`, async () => {
          const { here, there, client, node } = setup;
          const web = setup.expose(`fallback-${internal}-${external}`.toLowerCase());
          const write = async (...wanted: readonly EndpointSpec[]) => {
            const check = external === 'Local' ? { healthCheckNodePort: healthPort } : {};
            const policies = { internalTrafficPolicy: internal, externalTrafficPolicy: external };
            await web.write(wanted, { spec: { ...policies, ...check } });
          };
          /**
           * Checks the pods that serve external clients and a pod at the ClusterIP, and the health
           * check's response.
           */
          const assertServed = (
            outside: readonly string[],
            inside: readonly string[],
            code: number,
          ) => {
            assertAnswers(web, client, outside);
            for (const end of ipVersions) {
              const to = web.at(web.clusterIP(end), 'tcp');
              assert.deepEqual(answers(here[2]!, 'TCP', to, tries), inside, `ClusterIP IP${end}`);
              assert.deepEqual(answers(node, 'TCP', to, tries), inside, `ClusterIP IP${end}`);
              if (external === 'Local') assert.equal(health(end), code);
            }
          };
          const health = (end: IpVersion) => {
            try {
              const to = { address: node.addresses[end], port: healthPort };
              askHttp(client, to, '/healthz');
              return 200;
            } catch (error) {
              return Number(/HTTP\/1\.1 (\d+)/.exec((error as Error).message)?.[1]);
            }
          };
          const [h, t] = [here[0]!, there[0]!];
          const isLocal = { outside: external === 'Local', inside: internal === 'Local' };

          await write(h, t);
          assertServed(
            isLocal.outside ? namesOf(h) : namesOf(h, t),
            isLocal.inside ? namesOf(h) : namesOf(h, t),
            200,
          );
          // All endpoints terminate: they serve, but the health check fails.
          await write([h, draining], [t, draining]);
          assertServed(
            isLocal.outside ? namesOf(h) : namesOf(h, t),
            isLocal.inside ? namesOf(h) : namesOf(h, t),
            503,
          );
          // The policy Cluster uses the ready endpoint of another node; Local falls back to the
          // node's own.
          await write([h, draining], t);
          assertServed(
            isLocal.outside ? namesOf(h) : namesOf(t),
            isLocal.inside ? namesOf(h) : namesOf(t),
            503,
          );
          // A ready endpoint of the node ends the fallback.
          await write([h, draining], here[1]!, t);
          assertServed(
            isLocal.outside ? namesOf(here[1]!) : namesOf(here[1]!, t),
            isLocal.inside ? namesOf(here[1]!) : namesOf(here[1]!, t),
            200,
          );
          // Endpoints that no longer serve are not used.
          await write([h, { ...draining, serving: false }], [t, starting]);
          assertServed(refused, refused, 503);
          await web.remove();
        });
      }
    }
  });
});
