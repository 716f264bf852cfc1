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
  draining,
  ExternalLab,
  ipVersions,
  namesOf,
  noReply,
  observedClient,
  protocols,
  refused,
} from '../../testing/external-lab.ts';

const over = ['closed', 'closed by the backend', 'reset'];
// Enough that one of four pods is missed once in 25,000 runs.
const tries = 40;

describe('external traffic', () => {
  let setup: ExternalLab;
  before(async () => {
    setup = await ExternalLab.open('outside-traffic');
  });
  after(() => setup?.[Symbol.dispose]());

  test('a NodePort and a load balancer’s address reach pods of any node while endpoints change', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('web');
    for (const pods of [[here[0]!, there[0]!], [there[0]!], [here[0]!, here[1]!, there[1]!]]) {
      await web.write(pods);
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          for (const { path, to } of web.externalPaths(end, port)) {
            const message = `${path}, ${protocol} over IP${end}`;
            assert.deepEqual(answers(client, protocol, to, tries), namesOf(...pods), message);
          }
        }
      }
    }
    await web.remove();
  });

  test('large requests are echoed unchanged', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('large');
    for (const pod of [here[0]!, there[0]!]) {
      await web.write([pod]);
      for (const end of ipVersions) {
        for (const { to } of web.externalPaths(end, 'echo')) echoBytes(client, to, 2_000_000);
        const text = 'x'.repeat(60_000);
        for (const { to } of web.externalPaths(end, 'udp')) {
          assert.equal(askUdp(client, to, text), `${pod.name} ${text}`);
        }
      }
    }
    await web.remove();
  });

  test('clients of a service without endpoints, also after eviction, are refused', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('empty');
    for (const pods of [[], [there[0]!], [], [here[0]!], []]) {
      await web.write(pods);
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          for (const { path, to } of web.externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            const expected = pods.length > 0 ? namesOf(...pods) : refused;
            assert.deepEqual(answers(client, protocol, to), expected, `${path}, ${protocol}`);
          }
        }
      }
    }
    await web.remove();
  });

  test('one NodePort number for TCP and UDP is added and removed independently', async () => {
    const { here, client } = setup;
    const web = setup.expose('both');
    for (const ports of [
      { tcp: undefined },
      { tcp: undefined, udp: undefined },
      { udp: undefined },
    ]) {
      await web.write([here[0]!], { ports });
      for (const end of ipVersions) {
        for (const { to } of web.externalPaths(end, 'tcp')) {
          for (const protocol of protocols) {
            const has = protocol.toLowerCase() in ports;
            // At the node's address the node's own stack replies for ports that are no NodePorts.
            const not = to.port === web.nodePort('tcp') ? refused : noReply;
            assert.deepEqual(answers(client, protocol, to), has ? namesOf(here[0]!) : not);
          }
        }
      }
    }
    await web.remove();
  });

  test('a service is served while its type and ports change', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('changing');
    const pods = [here[0]!, there[0]!];
    const nodePort = { tcp: 31_001, udp: 31_001 };
    const isAt = (at: { nodePort?: number; balanced: boolean }) => {
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          const ask = (to: { address: string; port: number }) =>
            answers(client, protocol, to, tries);
          const address = setup.node.addresses[end];
          for (const port of [web.nodePort('tcp'), 31_001]) {
            const expected = port === at.nodePort ? namesOf(...pods) : refused;
            assert.deepEqual(ask({ address, port }), expected, `${protocol} at port ${port}`);
          }
          const [balanced] = answers(client, protocol, web.at(web.balancer(end), 'tcp'));
          if (at.balanced) assert.match(balanced!, /^pod-/);
          // No host has the address then: the router gets no neighbour entry and reports that.
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

  test('a LoadBalancer service is served without NodePorts, and with those that it gets later', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('portless');
    const pods = [here[0]!, there[0]!];
    const without = { allocateLoadBalancerNodePorts: false };
    const write = (has: boolean) =>
      web.write(pods, has ? {} : { spec: without, ports: { tcp: 0, udp: 0 } });
    for (const has of [false, true, false]) {
      await write(has);
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          const port = protocol === 'TCP' ? 'tcp' : 'udp';
          const [onNode, balanced] = web.externalPaths(end, port);
          const ask = ({ to }: typeof onNode & {}) => answers(client, protocol, to, tries);
          assert.deepEqual(ask(balanced!), namesOf(...pods));
          assert.deepEqual(ask(onNode!), has ? namesOf(...pods) : refused);
        }
      }
    }
    await web.remove();
  });

  test('loadBalancerSourceRanges: other clients get no reply at the load balancer’s address', async () => {
    const { here, there, client, other, node } = setup;
    const web = setup.expose('ranges');
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
        for (const end of ipVersions) {
          for (const protocol of protocols) {
            const [onNode, balanced] = web.externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp');
            for (const from of [client, other]) {
              const expected = allowed.includes(from as never) ? namesOf(pod) : noReply;
              assert.deepEqual(answers(from, protocol, balanced!.to), expected, from.name);
              // The ranges apply to the load balancer's address only.
              assert.deepEqual(answers(from, protocol, onNode!.to), namesOf(pod));
            }
            // The ranges apply to pods and the node as clients too.
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

  test('an external address that no node has is served', async () => {
    const { here, there, client, node } = setup;
    const web = setup.expose('external');
    const externalIPs = ipVersions.map((end) => web.external(end));
    for (const pods of [[here[0]!, there[0]!], []]) {
      await web.write(pods, { type: 'ClusterIP', spec: { externalIPs } });
      for (const end of ipVersions) {
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

  test('a pod of the node observes the client’s address, one of another node this node’s address', async () => {
    const { here, there, client, node } = setup;
    const web = setup.expose('source');
    for (const [pod, seen] of [
      [here[0]!, client],
      [there[0]!, node],
    ] as const) {
      await web.write([pod]);
      for (const end of ipVersions) {
        for (const { path, to } of web.externalPaths(end, 'http')) {
          assert.equal(observedClient(client, to), seen.addresses[end], path);
        }
      }
    }
    await web.remove();
  });

  test('endpoints on the host network are served like pods', async () => {
    const { client, node, elsewhere } = setup;
    for (const each of [node, elsewhere]) await startBackend(each, { tcp: [8080], udp: [8080] });
    const web = setup.expose('host');
    for (const nodes of [[node], [elsewhere], [node, elsewhere]]) {
      await web.write(nodes, { ports: { tcp: undefined, udp: undefined } });
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          for (const { path, to } of web.externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            assert.deepEqual(answers(client, protocol, to, tries), namesOf(...nodes), path);
          }
        }
      }
    }
    await web.remove();
  });

  test('a packet outside the TCP window does not end the connection', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('stray');
    for (const pod of [here[0]!, there[0]!]) {
      await web.write([pod]);
      for (const end of ipVersions) {
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
        // Far beyond the client's window, as from a server that replies on a closed connection. If
        // it were not translated, the client would reset the unknown connection and so the pod's.
        for (const syn of [false, true]) {
          const seq = (answer.seq! + 0x40000000) >>> 0;
          tap.send(new Packet({ layers: [...outer, { ...answer, syn, seq }] }));
          exchange('after');
        }
        const ended = tap.drain().some(({ packet }) => packet.layer('tcp')?.rst);
        assert.ok(!ended, 'neither end has reset it');
      }
    }
    await web.remove();
  });

  test('several services share the same pods', async () => {
    const { here, there, client } = setup;
    const [one, two] = [setup.expose('one'), setup.expose('two')];
    for (const pod of [here[0]!, there[0]!]) {
      for (const web of [one, two]) await web.write([pod]);
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          for (const web of [one, two, one]) {
            const to = web.onNode(end, protocol === 'TCP' ? 'tcp' : 'udp');
            assert.deepEqual(answers(client, protocol, to, 5), namesOf(pod));
          }
        }
      }
    }
    await one.remove();
    for (const end of ipVersions) {
      assert.deepEqual(answers(client, 'TCP', one.onNode(end, 'tcp')), refused);
      assert.deepEqual(answers(client, 'TCP', two.onNode(end, 'tcp')), namesOf(there[0]!));
    }
    await two.remove();
  });

  test('a client with one UDP socket follows the service’s pods', async () => {
    const { here, there, client } = setup;
    const web = setup.expose('moving');
    for (const end of ipVersions) {
      await web.write([here[0]!]);
      for (const { path, to } of web.externalPaths(end, 'udp')) {
        using socket = connectUdp(client, to);
        const ask = () => {
          socket.send('who?');
          return new TextDecoder().decode(socket.receive()).split(' ')[0];
        };
        // To another pod of the node, to another node and back, with a time without pods between.
        for (const pods of [[here[0]!], [here[1]!], [there[0]!], [there[1]!], [], [here[0]!]]) {
          await web.write(pods);
          if (pods.length > 0) assert.equal(ask(), pods[0]!.name, path);
          else assert.throws(ask, { code: 'ECONNREFUSED' }, path);
        }
      }
    }
    await web.remove();
  });

  test('connections continue and new ones are served while the agent restarts', async () => {
    const { here, there, client, agentLab } = setup;
    const web = setup.expose('restart');
    await web.write([here[0]!, there[0]!]);
    const sockets = ipVersions.flatMap((end) =>
      Array.from({ length: 10 }, () => connectTcp(client, web.onNode(end, 'echo'))),
    );
    const exchange = (word: string) => {
      for (const socket of sockets) {
        socket.send(word);
        assert.equal(new TextDecoder().decode(socket.receive()), word);
      }
    };
    const served = () => {
      for (const end of ipVersions) {
        for (const protocol of protocols) {
          for (const { path, to } of web.externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp')) {
            const names = namesOf(here[0]!, there[0]!);
            assert.deepEqual(answers(client, protocol, to, tries), names, path);
          }
        }
      }
    };
    try {
      exchange('before');
      await agentLab.kill();
      exchange('without an agent');
      served();
      await agentLab.start();
      exchange('with another one');
      served();
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
    await web.remove();
  });

  for (const externalTrafficPolicy of ['Cluster', 'Local']) {
    test(`a rolling update fails no connection: externalTrafficPolicy ${externalTrafficPolicy}`, async () => {
      const { here, there, client } = setup;
      const web = setup.expose(`rolling-${externalTrafficPolicy.toLowerCase()}`);
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
          ipVersions.map((end) => {
            const { address } = web.onNode(end, 'http');
            const port = web.nodePort('http');
            return [end, [end === 'v4' ? `${address}:${port}` : `[${address}]:${port}`]];
          }),
        ),
      });
      await load.started;
      // Each node keeps an endpoint at all times: every other pod is on this node.
      for (let step = 0; step < all.length; step++) {
        const [old, kept, next] = [0, 1, 2].map((i) => all[(step + i) % all.length]!);
        await write([old!, kept!, next!]);
        await write([kept!, next!], [old!]);
        // A graceful pod ends after its connections.
        await setup.agentLab.until('connections to end', async () => {
          const list = await setup.agentLab.heddle('flow', 'list', '-s', web.name);
          const addresses = ipVersions.map((end) => old!.addresses[end]);
          return (list as { flows: FlowItem[] }).flows.every(
            ({ backend, state }) => !addresses.includes(backend) || over.includes(state),
          );
        });
        await write([kept!, next!]);
      }
      const { targets } = await load.stop();
      for (const end of ipVersions) {
        assert.deepEqual(targets[end]!.failures, {}, end);
        assert.ok(targets[end]!.requests > 50, `${targets[end]!.requests} requests`);
      }
      await web.remove();
    });
  }
});
