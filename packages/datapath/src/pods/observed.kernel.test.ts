// Connections of pods without policies, with the option `visibility`.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import { formatIp } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';
import { network, PodWorld } from '../../testing/pod-world.ts';
import {
  type Connection,
  PolicyStage,
  paths,
  policyProtocols,
} from '../../testing/policy-stage.ts';
import { row } from '../../testing/rows.ts';
import { sizes } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import { type CtFacts, ctTableCodec, decodeCtFacts } from '../generated/abi.ts';

const visible = { ...network, visibility: true };
const states = { tcp: 'established', udp: 'answered', icmp: 'answered', sctp: 'answered' } as const;

for (const [end, family] of [
  ['v4', 4],
  ['v6', 6],
] as const) {
  describe(`connections of pods without policies, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    before(() => {
      const lab = { nodes: 2, outside: 1 };
      world = new PodWorld(`observed-${end}`, 3, { lab, network: visible });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });

    const flowsOf = (port: number) =>
      [...world.datapath.nat.flows()].filter(({ clientPort }) => clientPort === port);
    /** Returns the client, the backend and its port of each connection. */
    const keysOf = () =>
      [...world.datapath.nat.flows()].map(
        ({ client, backend, backendPort }) => `${client} ${backend} ${backendPort}`,
      );
    /** Returns the facts about the connection with a client's port. */
    const factsOf = (port: number): CtFacts => {
      const [flow] = flowsOf(port);
      const key = new Uint8Array(Uint32Array.of(flow?.number ?? 0).buffer);
      return decodeCtFacts(world.datapath.programs.node.map('nat_facts').lookup(key)!);
    };
    const start = (options: Parameters<PodWorld['restart']>[0]) => {
      const datapath = world.restart(options);
      // A map of another size waits for the first complete lists.
      datapath.services.prune([]);
      world.servePods();
      world.serveOutside();
      stage.pods.masquerade();
    };
    const addressesOf = ({ path, isFromPod }: Connection) => {
      const [pod, other] = [stage.pods.podAddress(0), stage.addressOf(path)];
      return isFromPod ? [pod, other] : [other, pod];
    };

    for (const protocol of policyProtocols) {
      for (const path of paths) {
        for (const isFromPod of path === 'the world, masqueraded' ? [true] : [true, false]) {
          const title = isFromPod ? `to ${path}` : `from ${path}`;
          test(`have one entry each: ${protocol} ${title}`, () => {
            const connection = stage.connection(protocol, path, isFromPod);
            const [client, server] = addressesOf(connection);
            assert.deepEqual(
              stage.drops(() => stage.open(connection)),
              {},
            );
            const expected = {
              ...{ client, backend: server, state: states[protocol] },
              forwarding: path === 'the world, masqueraded' ? 'masquerade' : 'direct',
              confirmed: protocol === 'tcp',
            };
            const sent = protocol === 'tcp' ? 2n : 1n;
            assert.deepEqual(factsOf(connection.port).packets, [sent, sent]);
            assert.deepEqual(
              flowsOf(connection.port).map(({ client, backend, state, forwarding, confirmed }) => ({
                ...{ client, backend, state, forwarding, confirmed },
              })),
              [expected],
            );
          });
        }
      }
    }

    for (const path of paths) {
      for (const hasPolicy of [false, true]) {
        const whose = hasPolicy ? 'with a policy' : 'without policies';
        test(`count each packet of a pod ${whose} once, and its bytes: ${path}`, () => {
          if (hasPolicy) stage.policies.set({ 0: { egress: { rules: [{}] } } });
          for (const protocol of policyProtocols) {
            const connection = stage.connection(protocol, path, true);
            stage.open(connection);
            const before = factsOf(connection.port);
            for (let i = 0; i < 3; i++) {
              stage.expectPassed(stage.more(connection), connection, 'request');
              stage.expectPassed(stage.more(connection, true), connection, 'reply');
            }
            stage.expectPassed(stage.more(connection), connection, 'request');
            const after = factsOf(connection.port);
            assert.deepEqual(
              after.packets.map((count, side) => count - before.packets[side]!),
              [4n, 3n],
              protocol,
            );
            if (protocol !== 'udp' && protocol !== 'icmp') continue;
            stage.request(connection, 100);
            const short = factsOf(connection.port);
            stage.request(connection, 1100);
            const long = factsOf(connection.port);
            const difference = short.bytes[0]! - after.bytes[0]!;
            assert.equal(long.bytes[0]! - short.bytes[0]!, difference + 1000n);
            assert.ok(after.bytes[1]! > 0n);
          }
          stage.policies.clear();
        });
      }
    }

    test('end with their last segments, and a new one may begin at once', () => {
      const connection = stage.connection('tcp', 'a pod of the node', true);
      const stateOf = () => flowsOf(connection.port).map(({ state }) => state);
      stage.open(connection);
      stage.more(connection, false, { fin: true, ack: true });
      assert.deepEqual(stateOf(), ['half-closed by the client']);
      stage.more(connection, true, { fin: true, ack: true });
      stage.more(connection);
      assert.deepEqual(stateOf(), ['reset']);
      stage.request(connection);
      assert.deepEqual(stateOf(), ['syn']);
      stage.open(connection);
      // The other side opens one between the same ports.
      stage.more(connection, true, { syn: true });
      assert.deepEqual(stateOf(), []);
      assert.deepEqual(
        [...world.datapath.nat.flows()]
          .filter(({ backendPort }) => backendPort === connection.port)
          .map(({ client, state }) => [client, state]),
        [[stage.addressOf('a pod of the node'), 'syn']],
      );
    });

    test('go on when the option changes and the agent restarts', () => {
      const known = stage.connection('tcp', 'a pod of the node', false);
      stage.open(known);
      const [before] = flowsOf(known.port);
      start({ network });
      const hidden = stage.connection('udp', 'a pod of another node', true);
      assert.deepEqual(
        stage.drops(() => {
          stage.open(hidden);
          stage.expectPassed(stage.more(known), known, 'request');
          stage.expectPassed(stage.more(known, true), known, 'reply');
        }),
        {},
      );
      assert.deepEqual(flowsOf(hidden.port), []);
      start({ network: visible });
      stage.expectPassed(stage.more(known, true, { fin: true, ack: true }), known, 'the end');
      stage.expectPassed(stage.more(hidden), hidden, 'request');
      stage.expectPassed(stage.more(hidden, true), hidden, 'reply');
      const [after] = flowsOf(known.port);
      assert.deepEqual(
        [after?.number, after?.state],
        [before?.number, 'half-closed by the backend'],
      );
      assert.deepEqual(
        flowsOf(hidden.port).map(({ client, state }) => [client, state]),
        [[stage.pods.podAddress(0), 'answered']],
      );
    });

    test('that are older than the option get the direction in which they were opened', () => {
      start({ network });
      const port = 8090;
      const [to, from] = [world.pod(0), world.pod(1)];
      const listener = world.listener(to, family, port);
      const client = world.socket(from, family, 'tcp');
      assert.equal(client.connect(to.addresses[end], port), 'ok');
      const server = listener.accept();
      start({ network: visible });
      const before = new Set(keysOf());
      // The server speaks first.
      assert.equal(server.send('hello'), 'ok');
      assert.equal(client.receive().text, 'hello');
      assert.deepEqual(
        keysOf().filter((key) => !before.has(key)),
        [`${from.addresses[end]} ${to.addresses[end]} ${port}`],
      );
    });

    test('are judged once a policy selects a pod', () => {
      const connection = stage.connection('tcp', 'a pod of another node', false);
      stage.open(connection);
      for (const isKept of [false, true]) {
        // What was never decided is not kept.
        stage.policies.keepOpen(isKept);
        stage.policies.set({ 0: { ingress: { rules: [] } } });
        assert.deepEqual(
          stage.drops(() => {
            stage.expectDenied(stage.more(connection, true), 'reply');
            stage.expectDenied(stage.more(connection), 'request');
          }),
          { policyDefault: 2 },
        );
        stage.policies.keepOpen(false);
        stage.policies.clear();
        stage.expectPassed(stage.more(connection, true), connection, 'reply');
      }
      assert.equal(flowsOf(connection.port).length, 1);
    });

    test('through a service have the entry of the service only', async () => {
      const backend = { address: stage.pods.podAddress(0), port: 9000 };
      const frontend = { address: world.node.addresses[end], port: 30_090 };
      const before = world.datapath.nat.used;
      const client = world.lab.outside[0]!;
      world.apply(row([frontend], [backend]));
      const listener = world.listener(world.pod(0), family, backend.port);
      const socket = world.socket(client, family, 'tcp');
      assert.equal(socket.connect(frontend.address, frontend.port), 'ok');
      assert.equal(listener.accept().send('hello'), 'ok');
      assert.equal(socket.receive().text, 'hello');
      await eventually('the entry is there', () => world.datapath.nat.used > before);
      assert.deepEqual(
        [...world.datapath.nat.flows()]
          .filter(({ backendPort }) => backendPort === backend.port)
          .map(({ forwarding, confirmed }) => [forwarding, confirmed]),
        [['local', true]],
      );
    });

    for (const protocol of ['tcp', 'udp'] as const) {
      for (const where of ['this node', 'another node'] as const) {
        test(`have the service that a socket has asked for: ${protocol}, a backend of ${where}`, () => {
          const server = where === 'this node' ? world.pod(0) : world.lab.nodes[1]!.pods[0]!;
          const backend = { address: server.addresses[end], port: 9100 };
          const frontend = { address: end === 'v4' ? '10.96.0.7' : 'fd00:10:96::7', port: 80 };
          const kind = protocol === 'tcp' ? 'TCP' : 'UDP';
          world.apply(
            row([frontend], [backend], { protocol: kind, key: `default/${kind}/${end}` }),
          );
          const asked = (known: ReadonlySet<number>) =>
            [...world.datapath.nat.flows()]
              .filter(({ backendPort, number }) => backendPort === 9100 && !known.has(number))
              .map(({ number }) => {
                const key = new Uint8Array(Uint32Array.of(number).buffer);
                const map = world.datapath.programs.node.map('nat_facts');
                const facts = decodeCtFacts(map.lookup(key)!);
                return [formatIp(facts.frontend), facts.frontendPort];
              });
          const numbers = () =>
            new Set([...world.datapath.nat.flows()].map(({ number }) => number));
          using receiver = protocol === 'udp' ? world.socket(server, family, 'udp') : undefined;
          receiver?.bind(server.addresses[end], 9100);
          using listener = protocol === 'tcp' ? world.listener(server, family, 9100) : undefined;
          const none = '::';
          for (const [target, expected] of [
            [frontend, [frontend.address, frontend.port]],
            [backend, [none, 0]],
          ] as const) {
            const before = numbers();
            const client = world.socket(world.pod(1), family, protocol);
            assert.equal(client.connect(target.address, target.port), 'ok');
            if (protocol === 'udp') assert.equal(client.send('hello'), 'ok');
            listener?.accept();
            assert.deepEqual(asked(before), [expected], `to ${target.address}`);
          }
          if (protocol === 'tcp') return;
          // A socket that is connected anew keeps its port, so its entry is that of both peers.
          const before = numbers();
          const client = world.socket(world.pod(1), family, protocol);
          for (const { address, port } of [backend, frontend]) {
            assert.equal(client.connect(address, port), 'ok');
            assert.equal(client.send('hello'), 'ok');
          }
          assert.deepEqual(asked(before), [[none, 0]]);
        });
      }
    }

    test('pass without an entry, and are counted, when the table is full', () => {
      using table = BpfMap.openPinned(world.bpf, `${currentPins(world.node.bpffs).maps}/nat_table`);
      using memory = table.mmap();
      const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset);
      const { free, highWater } = ctTableCodec.offsets;
      const [list, high] = [view.getBigUint64(free, true), view.getUint32(highWater, true)];
      const others = [...world.datapath.nat.flows()];
      for (const { number } of others) world.datapath.nat.endFlow(number, () => true);
      const freed = view.getBigUint64(free, true);
      view.setBigUint64(free, 0n, true);
      view.setUint32(highWater, sizes.flows - 1, true);
      try {
        const before = world.datapath.nat.status().unobserved;
        for (const protocol of policyProtocols) {
          for (const path of ['a pod of the node', 'a pod of another node', 'the node'] as const) {
            const connection = stage.connection(protocol, path, true);
            assert.deepEqual(
              stage.drops(() => stage.open(connection)),
              {},
              `${protocol} ${path}`,
            );
            assert.deepEqual(flowsOf(connection.port), []);
          }
        }
        assert.ok(world.datapath.nat.status().unobserved >= before + 12);
      } finally {
        view.setUint32(highWater, high, true);
        view.setBigUint64(free, others.length > 0 ? freed : list, true);
      }
    });

    test('hold no more than half of the table', () => {
      for (let i = 0; i < sizes.flows; i++) {
        const path = i % 2 === 0 ? 'a pod of the node' : 'a pod of another node';
        stage.open(stage.connection('tcp', path, i % 3 === 0));
      }
      const held = [...world.datapath.nat.flows()].filter(({ confirmed }) => confirmed).length;
      assert.ok(held <= sizes.flows / 2 && held > sizes.flows / 4, `${held} entries`);
      const masqueraded = stage.connection('tcp', 'the world, masqueraded', true);
      stage.open(masqueraded);
      assert.equal(flowsOf(masqueraded.port)[0]?.confirmed, true);
    });
  });
}
