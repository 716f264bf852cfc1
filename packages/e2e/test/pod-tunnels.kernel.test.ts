import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, eth, type LabPod } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import {
  assertPings,
  assertReaches,
  exchange,
  forwardedPackets,
} from '../testing/traffic/reachability.ts';
import { TunnelStage } from '../testing/tunnel-stage.ts';

const ends = ['v4', 'v6'] as const;

for (const { title, underlay, mode } of [
  { title: 'directly', underlay: 'v4', mode: 'direct' },
  { title: 'through a tunnel between IPv4 addresses', underlay: 'v4', mode: 'tunnel' },
  { title: 'through a tunnel between IPv6 addresses', underlay: 'v6', mode: 'tunnel' },
] as const) {
  describe(`pods of two nodes, ${title}`, () => {
    let stage: TunnelStage;
    before(() => {
      stage = new TunnelStage(`${mode}-${underlay}`, 2, { underlay, mode, outside: 1 });
    });
    after(() => stage?.[Symbol.dispose]());

    for (const end of ends) {
      test(`exchange bytes over TCP, ${end}`, () => {
        exchange(stage.pod(1), stage.pod(2), end, { bytes: 5_000_000 });
        assert.deepEqual([stage.drops(1), stage.drops(2)], [{}, {}]);
      });

      test(`exchange datagrams around and above the MTU, ${end}`, () => {
        assertReaches(stage.pod(1), stage.pod(2), end);
        assertReaches(stage.pod(2), stage.pod(1), end);
      });

      test(`are pinged with packets around the MTU, and ping nodes and the outside, ${end}`, () => {
        const [one, two] = stage.lab.nodes;
        const [outside] = stage.lab.outside;
        const mtu = mode === 'direct' ? 1500 : underlay === 'v4' ? 1450 : 1430;
        assertPings(stage.pod(1), stage.pod(2).addresses[end], mtu);
        assertPings(one!, stage.pod(2).addresses[end], mtu);
        for (const { addresses } of [one!, two!, outside!]) {
          assertPings(stage.pod(1), addresses[end], 1500);
        }
        assert.deepEqual([stage.drops(1), stage.drops(2)], [{}, {}]);
      });

      test(`are reached by processes of the other node, ${end}`, () => {
        const [one, two] = stage.lab.nodes;
        exchange(one!, stage.pod(2), end, { bytes: 500_000 });
        assertReaches(two!, stage.pod(1), end);
      });

      test(`pass the stack of neither node, ${end}`, () => {
        // The stack would count what it forwards.
        const forwarded = () =>
          stage.lab.nodes.map((node) => node.enter(() => forwardedPackets(end)));
        const before = forwarded();
        exchange(stage.pod(1), stage.pod(2), end, { bytes: 500_000 });
        assert.deepEqual(forwarded(), before);
      });
    }
  });
}

describe('packets into the tunnel from elsewhere than the node of their sender', () => {
  let stage: TunnelStage;
  before(() => {
    stage = new TunnelStage('forged', 3);
  });
  after(() => stage?.[Symbol.dispose]());

  for (const end of ends) {
    test(`are dropped and counted, ${end}`, () => {
      using receiver = listen(stage.pod(2), end);
      const own = inner(stage.pod(3).addresses[end], stage.pod(2).addresses[end], 'own');
      const forged = inner(stage.pod(1).addresses[end], stage.pod(2).addresses[end], 'forged');
      const local = inner(stage.pod(2).addresses[end], stage.pod(2).addresses[end], 'local');
      const world = inner(outsideAddress[end], stage.pod(2).addresses[end], 'world');
      const before = stage.drops(2)[reason] ?? 0;
      using sender = stage.lab.nodes[2]!.enter(() =>
        BlockingSocket.open(stage.platform, { protocol: 'udp', family: 4 }),
      );
      const to = { address: stage.lab.nodes[1]!.addresses.v4, port: 8472 };
      for (const packet of [forged, local, world]) sender.send(vxlan(packet, 1), to);
      sender.send(vxlan(own, 2), to);
      sender.send(vxlan(own, 1), to);
      assert.equal(decodeUtf8(receiver.receive()), 'own');
      assert.equal(stage.drops(2)[reason], before + 4);
      assert.throws(() => receiver.receive(), { code: 'ETIMEDOUT' });
    });
  }
});

const reason = 'the source address is invalid here';
const outsideAddress = { v4: '203.0.113.9', v6: 'fd00:203:0:113::9' };

function listen(pod: LabPod, end: 'v4' | 'v6'): BlockingSocket {
  const family = end === 'v4' ? 4 : 6;
  const socket = pod.enter(() =>
    BlockingSocket.open(pod.platform, { protocol: 'udp', family, timeoutMs: 500 }),
  );
  socket.bind({ address: pod.addresses[end], port: 7001 });
  return socket;
}

/** Returns a datagram to port 7001 as bytes of a frame. */
function inner(src: string, dst: string, text: string): Uint8Array {
  const frame = eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' });
  const ip = src.includes(':') ? frame.ipv6({ src, dst }) : frame.ipv4({ src, dst });
  return ip.udp({ sport: 7001, dport: 7001 }).payload(text).bytes;
}

/** Returns a frame with a VXLAN header of this virtual network. */
function vxlan(frame: Uint8Array, id: number): Uint8Array {
  return Uint8Array.of(0x08, 0, 0, 0, 0, 0, id, 0, ...frame);
}
