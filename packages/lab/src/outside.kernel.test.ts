import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertNoTraces, platform, tracesOf, uniqueName } from '../testing/kernel.ts';
import { unicast } from '../testing/unicast.ts';
import { createLab, type LabOptions, openLab } from './lab.ts';
import type { LabHost } from './lab-host.ts';
import { setOffloads } from './offloads.ts';
import { eth } from './packet/packet.ts';
import { describeCaptured, Tap } from './packet/tap.ts';
import { BlockingSocket } from './traffic/blocking-socket.ts';

const make = (word: string, options: Omit<LabOptions, 'name'>) =>
  createLab(platform, { name: uniqueName(word), ...options });
const ends = ['v4', 'v6'] as const;
const familyOf = { v4: 4, v6: 6 } as const;

/** Sends `size` bytes over TCP and returns the number of received bytes. */
function transfer(from: LabHost, to: LabHost, end: 'v4' | 'v6', size: number): number {
  const options = { protocol: 'tcp', family: familyOf[end] } as const;
  using server = to.enter(() => BlockingSocket.open(platform, options));
  const endpoint = { address: to.addresses[end], port: 5000 };
  server.bind(endpoint);
  server.listen();
  using client = from.enter(() => BlockingSocket.open(platform, options));
  client.connect(endpoint);
  using accepted = server.accept();
  client.send(new Uint8Array(size));
  let got = 0;
  while (got < size) got += accepted.receive().length;
  return got;
}

describe('outside hosts', () => {
  test('reach nodes and pods through the router with their own addresses, also in an opened lab', () => {
    const lab = make('outside', { nodes: 2, podsPerNode: 1, outside: 2 });
    const traces = tracesOf(lab);
    try {
      const [first, second] = lab.outside;
      assert.deepEqual(second!.addresses, { v4: '203.0.113.2', v6: 'fd00:203:0:113::2' });
      assert.equal(lab.host('outside-1'), first);
      assert.deepEqual(
        openLab(platform, lab.name)!.outside.map(({ name }) => name),
        ['outside-1', 'outside-2'],
      );
      for (const [from, to] of [
        [first!, lab.pods[1]!],
        [second!, lab.nodes[0]!],
        [lab.pods[0]!, first!],
        [first!, second!],
      ] as const) {
        for (const end of ends) assert.equal(transfer(from, to, end, 1000), 1000);
      }
      using tap = Tap.open(lab.nodes[1]!, 'eth0');
      transfer(first!, lab.pods[1]!, 'v4', 1);
      assert.match(
        describeCaptured(tap.drain()),
        /in\neth .*\nipv4 203.0.113.1 > 10.244.2.1 ttl 63 /,
      );
    } finally {
      lab[Symbol.dispose]();
    }
    assertNoTraces(traces);
  });

  test('routeTo routes an address to a node, and the router drops answers to spoofed sources', () => {
    using lab = make('led', { outside: 1 });
    const [client] = lab.outside;
    const [node] = lab.nodes;
    for (const [end, address] of [
      ['v4', '198.51.100.7'],
      ['v6', 'fd00:198:51:100::7'],
    ] as const) {
      lab.routeTo(node!, address);
      using arriving = Tap.open(node!, 'eth0');
      using socket = client!.enter(() =>
        BlockingSocket.open(platform, { protocol: 'udp', family: familyOf[end] }),
      );
      socket.send('x', { address, port: 1 });
      arriving.find(address, ({ packet }) =>
        `${packet}`.includes(`${client!.addresses[end]} > ${address} `),
      );
    }
    using tap = Tap.open(client!, 'eth0');
    using crossing = Tap.open(lab.underlay, 'br0');
    const frame = eth(client!.firstHop);
    tap.send(
      frame.ipv4({ src: '198.18.3.4', dst: node!.addresses.v4 }).udp({ sport: 1, dport: 9 }),
    );
    crossing.find('answer', ({ packet }) =>
      /ipv4 .* > 198.18.3.4 .*\nicmp port-un/.test(`${packet}`),
    );
    // Packets keep their order: an ICMP error of the router about the answer would come before the echo.
    tap.send(
      frame
        .ipv4({ src: client!.addresses.v4, dst: node!.addresses.v4 })
        .icmp({ type: 'echo-request' }),
    );
    tap.find('echo', ({ packet }) => `${packet}`.includes('echo-reply'));
    assert.equal(describeCaptured(crossing.drain()).includes('net-unreachable'), false);
  });
});

describe('packet sizes', () => {
  test('an MTU of 9000 bytes lets packets of that size through', () => {
    using lab = make('jumbo', { podsPerNode: 1, outside: 1, mtu: 9000 });
    for (const host of [lab.outside[0]!, lab.nodes[0]!, lab.pods[0]!]) {
      assert.equal(host.link('eth0').mtu, 9000, host.name);
    }
    using tap = Tap.open(lab.pods[0]!, 'eth0');
    for (const end of ends) {
      const address = lab.pods[0]!.addresses[end];
      using server = lab.pods[0]!.enter(() =>
        BlockingSocket.open(platform, { protocol: 'udp', family: familyOf[end] }),
      );
      server.bind({ address, port: 53 });
      using client = lab.outside[0]!.enter(() =>
        BlockingSocket.open(platform, { protocol: 'udp', family: familyOf[end] }),
      );
      client.send(new Uint8Array(8900), { address, port: 53 });
      assert.equal(server.receive().length, 8900);
    }
    const captured = unicast(tap);
    assert.equal(captured.length, 2, describeCaptured(captured));
  });

  test('pathMtu is discovered by ICMP in both directions', () => {
    using lab = make('narrow', { podsPerNode: 2, outside: 2, pathMtu: 1400 });
    const [client, other] = lab.outside;
    const [pod, otherPod] = lab.pods;
    // A host that has learnt the size announces a smaller MSS, so each pair of hosts is used once.
    for (const [from, to] of [
      [client!, pod!],
      [otherPod!, other!],
      [client!, lab.nodes[0]!],
    ] as const) {
      for (const end of ends) {
        assert.equal(from.link('eth0').mtu, 1500);
        using tap = Tap.open(from, 'eth0');
        assert.equal(transfer(from, to, end, 100_000), 100_000);
        const name = end === 'v4' ? 'fragmentation-needed' : 'packet-too-big';
        const seen = describeCaptured(tap.drain());
        assert.ok(seen.includes(`${name} mtu 1400`), `${from.name} to ${to.name} ${end}:\n${seen}`);
      }
    }
  });

  test('podPathMtu limits packets between nodes and sends them through the router', () => {
    using lab = make('between', { nodes: 2, podsPerNode: 1, outside: 1, podPathMtu: 1300 });
    const [a, b] = lab.pods;
    for (const [from, to] of [
      [a!, b!],
      [b!, lab.nodes[0]!.pods[0]!],
    ] as const) {
      for (const end of ends) {
        using tap = Tap.open(from, 'eth0');
        assert.equal(transfer(from, to, end, 100_000), 100_000);
        const seen = describeCaptured(tap.drain());
        // The second host knows the size from the MSS of the first one.
        const name = end === 'v4' ? 'fragmentation-needed' : 'packet-too-big';
        assert.equal(seen.includes(`${name} mtu 1300`), from === a, seen);
      }
    }
    // Packets between the nodes themselves are not affected.
    using tap = Tap.open(lab.nodes[0]!, 'eth0');
    assert.equal(transfer(lab.nodes[0]!, lab.nodes[1]!, 'v4', 100_000), 100_000);
    assert.doesNotMatch(describeCaptured(tap.drain()), /fragmentation-needed/);
  });

  test('impossible sizes are refused', () => {
    const refused = [{ mtu: 1000 }, { mtu: 70_000 }, { pathMtu: 576 }, { podPathMtu: 576 }];
    for (const options of [...refused, { outside: 251 }]) {
      assert.throws(() => make('refused', options), RangeError);
    }
    assert.equal(openLab(platform, uniqueName('refused')), undefined);
  });
});

test('without offloads packets have correct checksums and fit the MTU', () => {
  using lab = make('plain', { podsPerNode: 2 });
  const [from, to] = lab.pods;
  const seen = () => {
    using tap = Tap.open(from!, 'eth0');
    transfer(from!, to!, 'v4', 20_000);
    return unicast(tap).filter(({ direction }) => direction === 'out');
  };
  const longest = (captured: ReturnType<typeof seen>) =>
    Math.max(...captured.map(({ packet }) => packet.bytes.length - 14));
  const before = seen();
  assert.match(describeCaptured(before), /checksum partial/);
  assert.ok(longest(before) > 1500);
  setOffloads(from!, 'eth0', { checksum: false, tso: false, gso: false, gro: true });
  const after = seen();
  assert.doesNotMatch(describeCaptured(after), /checksum|WRONG/);
  assert.equal(longest(after), 1500);
  assert.throws(() => setOffloads(from!, 'eth9', { gro: true }), { code: 'ENODEV' });
});

test('nodes do not forward with forwarding: false', () => {
  using lab = make('still', { podsPerNode: 1, outside: 1, forwarding: false });
  using tap = Tap.open(lab.pods[0]!, 'eth0');
  using client = lab.outside[0]!.enter(() =>
    BlockingSocket.open(platform, { protocol: 'udp', family: 4 }),
  );
  using atNode = Tap.open(lab.nodes[0]!, 'eth0');
  client.send('x', { address: lab.pods[0]!.addresses.v4, port: 1 });
  atNode.find('datagram', ({ packet }) => `${packet}`.includes('payload 1 bytes "x"'));
  assert.deepEqual(unicast(tap), []);
});
