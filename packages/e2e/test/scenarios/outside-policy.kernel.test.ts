import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askHttp, connectTcp, type LabHost, startBackend } from '@heddle/lab';
import {
  answers,
  clientSeen,
  draining,
  type End,
  type Exposed,
  ends,
  Front,
  namesOf,
  protocols,
  refused,
  silence,
  starting,
  type Wanted,
} from '../../testing/front.ts';

const tries = 30;
const local = { externalTrafficPolicy: 'Local' };
const healthPort = 32_000;

describe('traffic policies, for clients outside and inside', () => {
  let front: Front;
  before(async () => {
    front = await Front.open('outside-policy');
  });
  after(() => front?.[Symbol.dispose]());

  /** Asks at every way in, by both protocols and families. */
  function assertAnswers(
    web: Exposed,
    from: LabHost,
    expected: readonly string[],
    { ways = ['NodePort', 'load balancer'], family }: { ways?: string[]; family?: End } = {},
  ): void {
    const count = expected === silence ? 1 : tries;
    for (const end of family ? [family] : ends) {
      for (const protocol of protocols) {
        for (const { way, to } of web.waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
          if (!ways.includes(way)) continue;
          const message = `${from.name} at the ${way} by ${protocol} over IP${end}`;
          assert.deepEqual(answers(from, protocol, to, count), expected, message);
        }
      }
    }
  }

  test('Local: pods of the node serve, and see the client', async () => {
    const { here, there, client } = front;
    const web = front.expose('local');
    await web.write([here[0]!, here[1]!, there[0]!], { spec: local });
    assertAnswers(web, client, namesOf(here[0]!, here[1]!));
    for (const end of ends) {
      for (const { way, to } of web.waysIn(end, 'http')) {
        assert.equal(clientSeen(client, to), client.addresses[end], way);
      }
    }
    await web.remove();
  });

  test('Local without a pod of the node: silent to clients outside and to other nodes, served on the node itself', async () => {
    const { here, there, client, node, elsewhere } = front;
    const web = front.expose('absent');
    await web.write([there[0]!, there[1]!], { spec: local });
    // The pods of other nodes, too, come from outside of this one.
    for (const from of [client, elsewhere, there[0]!, there[2]!]) {
      assertAnswers(web, from, silence, { ways: ['NodePort'] });
    }
    assertAnswers(web, client, silence, { ways: ['load balancer'] });
    for (const from of [node, here[0]!]) assertAnswers(web, from, namesOf(there[0]!, there[1]!));
    await web.remove();
  });

  test('Local without any endpoint: refused, as there is nothing to be silent for', async () => {
    const { here, client, node } = front;
    const web = front.expose('nobody');
    await web.write([], { spec: local });
    for (const from of [client, node, here[0]!]) assertAnswers(web, from, refused);
    await web.remove();
  });

  test('Local with endpoints on the host network', async () => {
    const { client, node, elsewhere, here } = front;
    for (const each of [node, elsewhere]) {
      await startBackend(each, { tcp: [8080], udp: [8080], http: [8082] });
    }
    const web = front.expose('host');
    await web.write([node, elsewhere], { spec: local });
    assertAnswers(web, client, namesOf(node));
    for (const end of ends) {
      assert.equal(clientSeen(client, web.onNode(end, 'http')), client.addresses[end]);
    }
    assertAnswers(web, here[0]!, namesOf(node, elsewhere));
    await web.write([elsewhere], { spec: local });
    assertAnswers(web, client, silence);
    await web.remove();
  });

  test('the policy is switched while it serves; connections go on', async () => {
    const { here, there, client } = front;
    const web = front.expose('switched');
    const pods = [here[0]!, there[0]!];
    await web.write(pods);
    assertAnswers(web, client, namesOf(...pods));
    // Some to each pod, with all that is between them and the client.
    const sockets = ends.flatMap((end) =>
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
        for (const end of ends) {
          assert.equal(clientSeen(client, web.onNode(end, 'http')), client.addresses[end]);
        }
        await web.write(pods);
        exchange('while it is Cluster again');
        assertAnswers(web, client, namesOf(...pods));
      }
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
    // With its only pod elsewhere the node falls silent, and speaks again.
    await web.write([there[0]!], { spec: local });
    assertAnswers(web, client, silence);
    await web.write([there[0]!]);
    assertAnswers(web, client, namesOf(there[0]!));
    await web.remove();
  });

  test('internalTrafficPolicy Local is not about clients outside', async () => {
    const { here, there, client, node } = front;
    const web = front.expose('internal');
    await web.write([there[0]!], { spec: { internalTrafficPolicy: 'Local' } });
    assertAnswers(web, client, namesOf(there[0]!));
    for (const end of ends) {
      const to = web.at(web.clusterIP(end), 'tcp');
      for (const from of [node, here[0]!]) assert.deepEqual(answers(from, 'TCP', to), refused);
    }
    await web.remove();
  });

  describe('without ready endpoints the terminating ones serve', () => {
    for (const internal of ['Cluster', 'Local']) {
      for (const external of ['Cluster', 'Local']) {
        test(`internalTrafficPolicy ${internal}, externalTrafficPolicy ${external}`, async () => {
          const { here, there, client, node } = front;
          const web = front.expose(`fallback-${internal}-${external}`.toLowerCase());
          const write = async (...wanted: readonly Wanted[]) => {
            const check = external === 'Local' ? { healthCheckNodePort: healthPort } : {};
            const policies = { internalTrafficPolicy: internal, externalTrafficPolicy: external };
            await web.write(wanted, { spec: { ...policies, ...check } });
          };
          /** Who serves clients outside, and a pod that asks at the ClusterIP; what load balancers hear. */
          const assertServed = (
            outside: readonly string[],
            inside: readonly string[],
            code: number,
          ) => {
            assertAnswers(web, client, outside);
            for (const end of ends) {
              const to = web.at(web.clusterIP(end), 'tcp');
              assert.deepEqual(answers(here[2]!, 'TCP', to, tries), inside, `ClusterIP IP${end}`);
              assert.deepEqual(answers(node, 'TCP', to, tries), inside, `ClusterIP IP${end}`);
              if (external === 'Local') assert.equal(health(end), code);
            }
          };
          const health = (end: End) => {
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
          // All of them are ending: they serve, but a load balancer shall send no more here.
          await write([h, draining], [t, draining]);
          assertServed(
            isLocal.outside ? namesOf(h) : namesOf(h, t),
            isLocal.inside ? namesOf(h) : namesOf(h, t),
            503,
          );
          // One that is ready elsewhere is who the policy Cluster has; Local falls back to the own ones.
          await write([h, draining], t);
          assertServed(
            isLocal.outside ? namesOf(h) : namesOf(t),
            isLocal.inside ? namesOf(h) : namesOf(t),
            503,
          );
          // A ready one of the node ends it.
          await write([h, draining], here[1]!, t);
          assertServed(
            isLocal.outside ? namesOf(here[1]!) : namesOf(here[1]!, t),
            isLocal.inside ? namesOf(here[1]!) : namesOf(here[1]!, t),
            200,
          );
          // Those that don't serve any more are nobody.
          await write([h, { ...draining, serving: false }], [t, starting]);
          assertServed(refused, refused, 503);
          await web.remove();
        });
      }
    }
  });
});
