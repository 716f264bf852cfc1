// What a pod may not send: it would reach others with a source that is not the pod's, or be taken for
// something else than a packet of a pod.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Packet } from '@heddle/lab';
import { broadcastMac, podSuite } from '../../testing/pod-packets.ts';
import { dropReasonText } from '../core/drop-reasons.ts';
import { dropReason } from '../generated/abi.ts';

const otherMac = '02:00:00:00:00:99';

podSuite('senders at pod interfaces', 'senders', (stage) => {
  const { end } = stage;
  const isV4 = end === 'v4';

  /** Each packet is dropped for the reason. */
  const dropped = (reason: keyof typeof dropReason, packets: readonly (Packet | Uint8Array)[]) => {
    const counted = stage.packets.drops(() => {
      for (const packet of packets) assert.equal(stage.send(packet).verdict, 'drop', `${packet}`);
    });
    assert.deepEqual(counted, { [dropReasonText(dropReason[reason])]: packets.length });
  };
  const verdict = (packet: Packet | Uint8Array) => stage.send(packet).verdict;
  const ping = (header: Packet) => {
    const fields = { type: 'echo-request', id: 1, sequence: 1 } as const;
    return (isV4 ? header.icmp(fields) : header.icmpv6(fields)).payload('ping');
  };

  test('a pod sends from its own address only, whatever the protocol', () => {
    assert.equal(verdict(stage.datagram(stage.at(1))), 'send');
    const sources = isV4
      ? ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '10.244.1.99', '203.0.113.7']
      : ['::', '::1', 'ff02::1', 'fe80::5', 'fd00:10:244:1::99', '2001:db8::1', '::ffff:a01:203'];
    const others = [stage.at(1), stage.remote, stage.packets.node, stage.peer, ...sources];
    dropped(
      'invalidSource',
      others.map((src) => stage.datagram(stage.at(1), { src })),
    );
    const forged = stage.to(stage.at(1), { src: stage.at(2) });
    const whole = forged.udp({ sport: 4000, dport: 5000 }).payload(64);
    const segment = forged.tcp({ sport: 1, dport: 2, syn: true });
    dropped('invalidSource', [
      segment,
      ping(forged),
      forged.payload(20),
      ...whole.fragments([32, 40]),
    ]);
  });

  test('a pod has no address of the other family', () => {
    const { ifindex, ...rest } = stage.world.of(stage.pod(0));
    const others = rest.addresses.filter((address) => address !== stage.at(0));
    const set = (addresses: readonly string[]) =>
      stage.world.node.enter(() => stage.world.datapath.pods.set({ ...rest, ifindex, addresses }));
    set(others);
    try {
      const unspecified = isV4 ? '0.0.0.0' : '::';
      dropped('invalidSource', [
        stage.datagram(stage.at(1)),
        stage.datagram(stage.at(1), { src: unspecified }),
      ]);
    } finally {
      set(rest.addresses);
    }
  });

  test('a pod sends from its own link address only', () => {
    const frames = [stage.datagram(stage.at(1)), stage.datagram(stage.peer)];
    dropped(
      'invalidSource',
      frames.map((frame) => frame.with('eth', { src: otherMac })),
    );
  });

  test('fragments and packets with options pass like others', () => {
    const whole = stage.to(stage.at(1)).udp({ sport: 4000, dport: 5000 }).payload(64);
    for (const fragment of whole.fragments([32, 40])) assert.equal(verdict(fragment), 'send');
    const options = isV4
      ? stage.to(stage.at(1)).with('ipv4', { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0) })
      : stage.to(stage.at(1)).extension('destination-options');
    assert.equal(verdict(options.udp({ sport: 1, dport: 2 }).payload('x')), 'send');
  });

  test('tunnels to nodes and packets in packets are dropped', () => {
    const tunnels = [stage.peer, stage.packets.node].map((node) =>
      stage.datagram(node, { dport: 8472 }),
    );
    const inner = stage.datagram(stage.remote, { src: stage.at(1) });
    const inPacket = inner.within(stage.to(stage.peer));
    const bare = isV4
      ? stage.to(stage.remote).with('ipv4', { protocol: 41 })
      : stage.to(stage.remote).with('ipv6', { nextHeader: 4 });
    dropped('tunnel', [...tunnels, inPacket, bare.payload(40)]);
    const [first] = stage
      .to(stage.peer)
      .udp({ sport: 4000, dport: 8472 })
      .payload(64)
      .fragments([32, 40]);
    dropped('tunnel', [first!]);
    // Elsewhere it is a port like others.
    assert.notEqual(verdict(stage.datagram(stage.at(1), { dport: 8472 })), 'drop');
    if (isV4) return;
    const behind = stage.to(stage.peer).extension('hop-by-hop').extension('destination-options');
    dropped('tunnel', [behind.udp({ sport: 1, dport: 8472 }).payload('x')]);
  });

  test('multicast, broadcast and frames for other hosts are dropped', () => {
    const many = isV4 ? ['224.0.0.251', '239.1.2.3', '255.255.255.255'] : ['ff02::fb', 'ff0e::1'];
    dropped(
      'multicast',
      many.map((dst) => stage.datagram(dst)),
    );
    dropped(
      'multicast',
      [broadcastMac, '01:00:5e:00:00:fb', otherMac].map((dst) =>
        stage.datagram(stage.at(1)).with('eth', { dst }),
      ),
    );
  });

  test('truncated headers and unknown protocols of the link are dropped', () => {
    const { bytes } = stage.datagram(stage.at(1));
    const { bytes: segment } = stage.to(stage.at(1)).tcp({ sport: 1, dport: 2, syn: true });
    dropped('invalid', [bytes.subarray(0, isV4 ? 36 : 56), segment.subarray(0, isV4 ? 44 : 64)]);
    const unknown = bytes.slice();
    unknown.set([0x88, 0xcc], 12);
    dropped('l3Protocol', [unknown]);
  });

  if (isV4) {
    const arp = (fields: { sha?: string; spa?: string; eth?: string }) => {
      const mac = stage.pod(0).link('eth0').address;
      const { sha = mac, spa = stage.at(0), eth = mac } = fields;
      const macBytes = (text: string) => text.split(':').map((byte) => Number.parseInt(byte, 16));
      const target = [...macBytes('00:00:00:00:00:00'), 169, 254, 1, 1];
      return Uint8Array.from([
        ...[...macBytes(broadcastMac), ...macBytes(eth), 0x08, 0x06],
        ...[0, 1, 8, 0, 6, 4, 0, 1],
        ...[...macBytes(sha), ...spa.split('.').map(Number), ...target],
      ]);
    };

    test('ARP has the pod’s own addresses, or none while it probes', () => {
      assert.equal(verdict(arp({})), 'pass');
      assert.equal(verdict(arp({ spa: '0.0.0.0' })), 'pass');
      dropped('invalidSource', [
        arp({ spa: stage.at(1) }),
        arp({ spa: '169.254.1.1' }),
        arp({ sha: otherMac }),
        arp({ eth: otherMac }),
      ]);
      dropped('invalid', [arp({}).subarray(0, 28)]);
    });
    return;
  }

  const message = (type: number, fields: { src?: string; dst?: string; target?: string }) => {
    const { src = 'fe80::5', dst = 'ff02::1', target } = fields;
    const words = (target ?? stage.at(0)).split('::');
    const bytes = new Uint8Array(24);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, type);
    words[0]!.split(':').forEach((word, i) => {
      view.setUint16(8 + 2 * i, Number.parseInt(word, 16));
    });
    view.setUint16(22, Number.parseInt(words[1]!, 16));
    const mac = dst.startsWith('ff') ? { dst: '33:33:00:00:00:01' } : {};
    return stage
      .to(dst, { src, ttl: 255 })
      .with('ipv6', { nextHeader: 58 })
      .with('eth', mac)
      .payload(bytes);
  };

  test('neighbour discovery of a host passes, with the pod’s own address or a link-local one', () => {
    for (const src of ['::', 'fe80::5', stage.at(0)]) {
      for (const type of [131, 132, 133, 135, 136, 143]) {
        assert.equal(verdict(message(type, { src })), 'pass', `${type} from ${src}`);
      }
    }
    assert.equal(verdict(message(135, { src: stage.at(0), dst: 'fe80::1' })), 'pass');
    assert.equal(verdict(message(136, { target: 'fe80::5' })), 'pass');
  });

  test('neighbour discovery of routers and about others’ addresses is dropped', () => {
    dropped('invalidSource', [
      ...[130, 134, 137].map((type) => message(type, {})),
      ...[133, 135, 136, 143].map((type) => message(type, { src: stage.at(1) })),
      message(136, { target: stage.at(1) }),
      message(136, { target: 'fd00:192:0:2::1' }),
      message(136, {}).with('eth', { src: otherMac }),
    ]);
  });

  test('a pod reaches its gateway by its link-local address, from its own address only', () => {
    assert.equal(verdict(ping(stage.to('fe80::1'))), 'pass');
    dropped('invalidSource', [ping(stage.to('fe80::1', { src: 'fe80::5' }))]);
  });

  test('IPv6 packets cannot look like IPv4 ones, nor hide in extension headers', () => {
    const [a, b] = stage.pod(1).addresses.v4.split('.').slice(0, 2).map(Number);
    const [c, d] = stage.pod(1).addresses.v4.split('.').slice(2).map(Number);
    const hex = (high: number, low: number) => (high * 256 + low).toString(16);
    dropped('invalid', [stage.datagram(`::ffff:${hex(a!, b!)}:${hex(c!, d!)}`)]);
    let deep = stage.to(stage.at(1));
    for (let i = 0; i < 8; i++) deep = deep.extension('destination-options');
    dropped('extensionHeader', [deep.udp({ sport: 1, dport: 2 }).payload('x')]);
  });
});
