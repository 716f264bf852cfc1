import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { FlowItem } from '@heddle/agent';
import {
  askUdp,
  connectTcp,
  connectUdp,
  echoBytes,
  Packet,
  startBackend,
  startHttpClient,
  Tap,
} from '@heddle/lab';
import {
  answers,
  clientSeen,
  draining,
  ends,
  Front,
  namesOf,
  protocols,
  refused,
  silence,
} from '../../testing/front.ts';

const over = ['closed', 'closed by the backend', 'reset'];
// One of four pods is missed by chance once in 25,000 times.
const tries = 40;

describe('traffic from outside the cluster', () => {
  let front: Front;
  before(async () => {
    front = await Front.open('outside-traffic');
  });
  after(() => front?.[Symbol.dispose]());

  test('a NodePort and a load balancer’s address lead to pods of any node; endpoints come and go', async () => {
    const { here, there, client } = front;
    const web = front.expose('web');
    for (const pods of [[here[0]!, there[0]!], [there[0]!], [here[0]!, here[1]!, there[1]!]]) {
      await web.write(pods);
      for (const end of ends) {
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          for (const { way, to } of web.waysIn(end, port)) {
            const message = `${way}, ${protocol} over IP${end}`;
            assert.deepEqual(answers(client, protocol, to, tries), namesOf(...pods), message);
          }
        }
      }
    }
    await web.remove();
  });

  test('large requests come back whole', async () => {
    const { here, there, client } = front;
    const web = front.expose('large');
    for (const pod of [here[0]!, there[0]!]) {
      await web.write([pod]);
      for (const end of ends) {
        for (const { to } of web.waysIn(end, 'echo')) echoBytes(client, to, 2_000_000);
        const text = 'x'.repeat(60_000);
        for (const { to } of web.waysIn(end, 'udp')) {
          assert.equal(askUdp(client, to, text), `${pod.name} ${text}`);
        }
      }
    }
    await web.remove();
  });

  test('without endpoints clients are refused, as those of a service whose pods were evicted', async () => {
    const { here, there, client } = front;
    const web = front.expose('empty');
    for (const pods of [[], [there[0]!], [], [here[0]!], []]) {
      await web.write(pods);
      for (const end of ends) {
        for (const protocol of protocols) {
          for (const { way, to } of web.waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            const expected = pods.length > 0 ? namesOf(...pods) : refused;
            assert.deepEqual(answers(client, protocol, to), expected, `${way}, ${protocol}`);
          }
        }
      }
    }
    await web.remove();
  });

  test('one NodePort number for TCP and UDP, which come and go on their own', async () => {
    const { here, client } = front;
    const web = front.expose('both');
    for (const ports of [
      { tcp: undefined },
      { tcp: undefined, udp: undefined },
      { udp: undefined },
    ]) {
      await web.write([here[0]!], { ports });
      for (const end of ends) {
        for (const { to } of web.waysIn(end, 'tcp')) {
          for (const protocol of protocols) {
            const has = protocol.toLowerCase() in ports;
            // At the node's own address the node itself answers for what is no NodePort.
            const not = to.port === web.nodePort('tcp') ? refused : silence;
            assert.deepEqual(answers(client, protocol, to), has ? namesOf(here[0]!) : not);
          }
        }
      }
    }
    await web.remove();
  });

  test('type and ports change while it serves', async () => {
    const { here, there, client } = front;
    const web = front.expose('changing');
    const pods = [here[0]!, there[0]!];
    const nodePort = { tcp: 31_001, udp: 31_001 };
    const isAt = (at: { nodePort?: number; balanced: boolean }) => {
      for (const end of ends) {
        for (const protocol of protocols) {
          const ask = (to: { address: string; port: number }) =>
            answers(client, protocol, to, tries);
          const address = front.node.addresses[end];
          for (const port of [web.nodePort('tcp'), 31_001]) {
            const expected = port === at.nodePort ? namesOf(...pods) : refused;
            assert.deepEqual(ask({ address, port }), expected, `${protocol} at port ${port}`);
          }
          const [balanced] = answers(client, protocol, web.at(web.balancer(end), 'tcp'));
          if (at.balanced) assert.match(balanced!, /^pod-/);
          // Nobody has the address then: the router hears of it from the node, and is told so.
          else assert.doesNotMatch(balanced!, /^pod-/);
        }
      }
    };
    const ports = { tcp: undefined, udp: undefined };
    await web.write(pods, { ports, type: 'ClusterIP' });
    isAt({ balanced: false });
    await web.write(pods, { ports, type: 'NodePort' });
    isAt({ nodePort: web.nodePort('tcp'), balanced: false });
    await web.write(pods, { ports: nodePort, type: 'NodePort' });
    isAt({ nodePort: 31_001, balanced: false });
    await web.write(pods, { ports: nodePort });
    isAt({ nodePort: 31_001, balanced: true });
    await web.write(pods, { ports });
    isAt({ nodePort: web.nodePort('tcp'), balanced: true });
    await web.write(pods, { ports, type: 'ClusterIP' });
    isAt({ balanced: false });
    await web.remove();
  });

  test('a load balancer’s service without NodePorts, which it gets later', async () => {
    const { here, there, client } = front;
    const web = front.expose('portless');
    const pods = [here[0]!, there[0]!];
    const without = { allocateLoadBalancerNodePorts: false };
    const write = (has: boolean) =>
      web.write(pods, has ? {} : { spec: without, ports: { tcp: 0, udp: 0 } });
    for (const has of [false, true, false]) {
      await write(has);
      for (const end of ends) {
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          const [onNode, balanced] = web.waysIn(end, port);
          const ask = ({ to }: typeof onNode & {}) => answers(client, protocol, to, tries);
          assert.deepEqual(ask(balanced!), namesOf(...pods));
          assert.deepEqual(ask(onNode!), has ? namesOf(...pods) : refused);
        }
      }
    }
    await web.remove();
  });

  test('loadBalancerSourceRanges: who is in none of them is not answered at the load balancer’s address', async () => {
    const { here, there, client, other, node } = front;
    const web = front.expose('ranges');
    const range = (who: typeof client) => [`${who.addresses.v4}/32`, `${who.addresses.v6}/128`];
    const local = { externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };
    for (const [pod, policies] of [
      [here[0]!, {}],
      [there[0]!, {}],
      [here[0]!, local],
      [here[0]!, { ...local, internalTrafficPolicy: 'Local' }],
    ] as const) {
      for (const [ranges, allowed] of [
        [range(client), [client]],
        [
          [...range(client), '203.0.113.0/24', 'fd00:203:0:113::/64'],
          [client, other],
        ],
        [range(other), [other]],
        [undefined, [client, other]],
      ] as const) {
        await web.write([pod], { spec: { ...policies, loadBalancerSourceRanges: ranges } });
        for (const end of ends) {
          for (const protocol of protocols) {
            const [onNode, balanced] = web.waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp');
            for (const from of [client, other]) {
              const expected = allowed.includes(from as never) ? namesOf(pod) : silence;
              assert.deepEqual(answers(from, protocol, balanced!.to), expected, from.name);
              // They are about the load balancer's address only.
              assert.deepEqual(answers(from, protocol, onNode!.to), namesOf(pod));
            }
            // Pods and the node are clients like others, at the load balancer's address.
            for (const from of [here[1]!, node]) {
              const expected = ranges === undefined ? namesOf(pod) : ['EPERM'];
              assert.deepEqual(answers(from, protocol, balanced!.to), expected, from.name);
              assert.deepEqual(answers(from, protocol, onNode!.to), namesOf(pod), from.name);
            }
          }
        }
      }
    }
    await web.remove();
  });

  test('an external address that no node has', async () => {
    const { here, there, client, node } = front;
    const web = front.expose('external');
    const externalIPs = ends.map((end) => web.external(end));
    for (const pods of [[here[0]!, there[0]!], []]) {
      await web.write(pods, { type: 'ClusterIP', spec: { externalIPs } });
      for (const end of ends) {
        for (const protocol of protocols) {
          const to = web.at(web.external(end), protocol === 'TCP' ? 'tcp' : 'udp');
          for (const from of [client, here[1]!, node]) {
            const expected = pods.length > 0 ? namesOf(...pods) : refused;
            assert.deepEqual(answers(from, protocol, to, tries), expected, from.name);
          }
        }
      }
    }
    await web.remove();
  });

  test('the client’s address is kept for a pod of the node; one of another node sees this node', async () => {
    const { here, there, client, node } = front;
    const web = front.expose('source');
    for (const [pod, seen] of [
      [here[0]!, client],
      [there[0]!, node],
    ] as const) {
      await web.write([pod]);
      for (const end of ends) {
        for (const { way, to } of web.waysIn(end, 'http')) {
          assert.equal(clientSeen(client, to), seen.addresses[end], way);
        }
      }
    }
    await web.remove();
  });

  test('endpoints on the host network are served like pods', async () => {
    const { client, node, elsewhere } = front;
    for (const each of [node, elsewhere]) await startBackend(each, { tcp: [8080], udp: [8080] });
    const web = front.expose('host');
    for (const nodes of [[node], [elsewhere], [node, elsewhere]]) {
      await web.write(nodes, { ports: { tcp: undefined, udp: undefined } });
      for (const end of ends) {
        for (const protocol of protocols) {
          for (const { way, to } of web.waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            assert.deepEqual(answers(client, protocol, to, tries), namesOf(...nodes), way);
          }
        }
      }
    }
    await web.remove();
  });

  test('a packet that lost its place does not end the connection', async () => {
    const { here, there, client } = front;
    const web = front.expose('stray');
    for (const pod of [here[0]!, there[0]!]) {
      await web.write([pod]);
      for (const end of ends) {
        using tap = Tap.open(pod, 'eth0');
        using socket = connectTcp(client, web.onNode(end, 'echo'));
        const exchange = (word: string) => {
          socket.send(word);
          assert.equal(new TextDecoder().decode(socket.receive()), word);
        };
        exchange('before');
        const syn = tap.find('SYN and ACK', ({ packet }) => `${packet}`.includes('SYN+ACK'));
        const { checksum: _, ...answer } = syn.packet.layer('tcp')!;
        const outer = syn.packet.layers.slice(0, 2);
        // Far beyond the client's window, as of a server that answers for a connection that is over.
        // Untranslated it would come from an address that the client knows nothing of, which then
        // would tell the pod to end the connection.
        for (const syn of [false, true]) {
          const seq = (answer.seq! + 0x40000000) >>> 0;
          tap.send(new Packet({ layers: [...outer, { ...answer, syn, seq }] }));
          exchange('after');
        }
        const ended = tap.drain().some(({ packet }) => packet.layer('tcp')?.rst);
        assert.ok(!ended, 'nobody ended it');
      }
    }
    await web.remove();
  });

  test('several services before the same pods', async () => {
    const { here, there, client } = front;
    const [one, two] = [front.expose('one'), front.expose('two')];
    for (const pod of [here[0]!, there[0]!]) {
      for (const web of [one, two]) await web.write([pod]);
      for (const end of ends) {
        for (const protocol of protocols) {
          for (const web of [one, two, one]) {
            const to = web.onNode(end, protocol === 'TCP' ? 'tcp' : 'udp');
            assert.deepEqual(answers(client, protocol, to, 5), namesOf(pod));
          }
        }
      }
    }
    await one.remove();
    for (const end of ends) {
      assert.deepEqual(answers(client, 'TCP', one.onNode(end, 'tcp')), refused);
      assert.deepEqual(answers(client, 'TCP', two.onNode(end, 'tcp')), namesOf(there[0]!));
    }
    await two.remove();
  });

  test('a client that goes on sending from one UDP socket follows the service’s pods', async () => {
    const { here, there, client } = front;
    const web = front.expose('moving');
    for (const end of ends) {
      await web.write([here[0]!]);
      for (const { way, to } of web.waysIn(end, 'udp')) {
        using socket = connectUdp(client, to);
        const ask = () => {
          socket.send('who?');
          return new TextDecoder().decode(socket.receive()).split(' ')[0];
        };
        // To another pod of the node, to another node and back, with a time without any between.
        for (const pods of [[here[0]!], [here[1]!], [there[0]!], [there[1]!], [], [here[0]!]]) {
          await web.write(pods);
          if (pods.length > 0) assert.equal(ask(), pods[0]!.name, way);
          else assert.throws(ask, { code: 'ECONNREFUSED' }, way);
        }
      }
    }
    await web.remove();
  });

  test('the agent ends and comes back: connections go on, new ones are served all the time', async () => {
    const { here, there, client, product } = front;
    const web = front.expose('restart');
    await web.write([here[0]!, there[0]!]);
    const sockets = ends.flatMap((end) =>
      Array.from({ length: 10 }, () => connectTcp(client, web.onNode(end, 'echo'))),
    );
    const exchange = (word: string) => {
      for (const socket of sockets) {
        socket.send(word);
        assert.equal(new TextDecoder().decode(socket.receive()), word);
      }
    };
    const served = () => {
      for (const end of ends) {
        for (const protocol of protocols) {
          for (const { way, to } of web.waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            const names = namesOf(here[0]!, there[0]!);
            assert.deepEqual(answers(client, protocol, to, tries), names, way);
          }
        }
      }
    };
    try {
      exchange('before');
      await product.kill();
      exchange('without an agent');
      served();
      await product.start();
      exchange('with another one');
      served();
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
    await web.remove();
  });

  for (const externalTrafficPolicy of ['Cluster', 'Local']) {
    test(`a rolling update fails no connection: externalTrafficPolicy ${externalTrafficPolicy}`, async () => {
      const { here, there, client } = front;
      const web = front.expose(`rolling-${externalTrafficPolicy.toLowerCase()}`);
      const all = [here[0]!, there[0]!, here[1]!, there[1]!, here[2]!];
      const write = (
        pods: readonly (typeof all)[number][],
        going: readonly (typeof pods)[number][] = [],
      ) =>
        web.write([...going.map((pod) => [pod, draining] as const), ...pods], {
          spec: { externalTrafficPolicy },
        });
      await write([all[0]!, all[1]!]);
      const load = startHttpClient(client, {
        rate: 300,
        targets: Object.fromEntries(
          ends.map((end) => {
            const { address } = web.onNode(end, 'http');
            const port = web.nodePort('http');
            return [end, [end === 'v4' ? `${address}:${port}` : `[${address}]:${port}`]];
          }),
        ),
      });
      await load.started;
      // A node of a load balancer keeps an endpoint all the time: every other pod is one of this node.
      for (let step = 0; step < all.length; step++) {
        const [old, kept, next] = [0, 1, 2].map((i) => all[(step + i) % all.length]!);
        await write([old!, kept!, next!]);
        await write([kept!, next!], [old!]);
        // A graceful pod ends when its connections have.
        await front.product.until('connections to end', async () => {
          const list = await front.product.heddle('flow', 'list', '-s', web.name);
          const addresses = ends.map((end) => old!.addresses[end]);
          return (list as { flows: FlowItem[] }).flows.every(
            ({ backend, state }) => !addresses.includes(backend) || over.includes(state),
          );
        });
        await write([kept!, next!]);
      }
      const { targets } = await load.stop();
      for (const end of ends) {
        assert.deepEqual(targets[end]!.failures, {}, end);
        assert.ok(targets[end]!.requests > 50, `${targets[end]!.requests} requests`);
      }
      await web.remove();
    });
  }
});
