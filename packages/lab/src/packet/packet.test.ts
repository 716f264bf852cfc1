import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { assertPacket } from './assert-packet.ts';
import { internetSum } from './checksum.ts';
import { eth, ipv4, ipv6, Packet } from './packet.ts';

const v4 = { src: '192.0.2.9', dst: '192.0.2.1' };
const v6 = { src: 'fd00:192:0:2::9', dst: 'fd00:192:0:2::1' };
const ports = { sport: 4000, dport: 80 };
const bytesOf = (text: string) =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/g)!, (byte) => Number.parseInt(byte, 16));

describe('bytes from other sources', () => {
  test('an IPv4 header with its checksum is parsed and built again', () => {
    // The example of Wikipedia, "Internet checksum".
    const header = bytesOf('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
    const packet = ipv4({ src: '192.168.0.1', dst: '192.168.0.199', df: true, protocol: 17 });
    const built = packet.payload(new Uint8Array(95)).bytes;
    assert.deepEqual(built.subarray(0, 20), header);
    assert.equal(internetSum(built.subarray(0, 20)), 0xffff);
  });
});

describe('layers', () => {
  const cases: readonly [string, Packet, string][] = [
    [
      'TCP SYN with the options of Linux',
      eth()
        .ipv4({ ...v4, df: true, id: 7 })
        .tcp({
          ...{ ...ports, syn: true, seq: 1000, window: 64240 },
          options: { mss: 1460, sackPermitted: true, timestamps: [5, 0], windowScale: 7 },
        }),
      `eth 02:00:00:00:00:01 > 02:00:00:00:00:02
ipv4 192.0.2.9 > 192.0.2.1 ttl 64 id 7 df
tcp 4000 > 80 SYN seq 1000 window 64240 mss 1460 sack-permitted timestamps 5 0 nop window-scale 7`,
    ],
    [
      'TCP data over IPv6',
      eth({ src: '02:00:00:00:00:0a' })
        .ipv6({ ...v6, hopLimit: 3, trafficClass: 2, flowLabel: 0xabcde })
        .tcp({ ...ports, psh: true, ack: true, seq: 1, ackSeq: 2 })
        .payload('GET /'),
      `eth 02:00:00:00:00:0a > 02:00:00:00:00:02
ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 3 class 0x2 flow 0xabcde
tcp 4000 > 80 PSH+ACK seq 1 ack-seq 2 window 65535
payload 5 bytes "GET /"`,
    ],
    [
      'UDP without a checksum, with options in the IP header',
      ipv4({ ...v4, tos: 0x10, options: Uint8Array.of(0x94, 4, 0, 0) })
        .udp({ ...ports, checksum: 'none' })
        .payload(Uint8Array.of(1, 2)),
      `ipv4 192.0.2.9 > 192.0.2.1 ttl 64 tos 0x10 options 4 bytes 94 04 00 00
udp 4000 > 80 checksum none
payload 2 bytes 01 02`,
    ],
    [
      'extension headers',
      ipv6(v6)
        .extension('hop-by-hop')
        .extension('routing', { data: Uint8Array.of(2, 0, 0, 0, 0, 0) })
        .extension('destination-options')
        .udp(ports),
      `ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 64
hop-by-hop 6 bytes 01 04 00 00 00 00
routing 6 bytes 02 00 00 00 00 00
destination-options 6 bytes 01 04 00 00 00 00
udp 4000 > 80`,
    ],
    [
      'IP in IP, IPv6 in IPv6, IPv4 in IPv6',
      ipv4(v4).ipv4({ src: '10.0.0.1', dst: '10.0.0.2' }).ipv6(v6).ipv6(v6).ipv4(v4).udp(ports),
      `ipv4 192.0.2.9 > 192.0.2.1 ttl 64
ipv4 10.0.0.1 > 10.0.0.2 ttl 64
ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 64
ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 64
ipv4 192.0.2.9 > 192.0.2.1 ttl 64
udp 4000 > 80`,
    ],
    [
      'SCTP',
      ipv4(v4).sctp({
        ...{ ...ports, tag: 0 },
        chunks: [
          { type: 'init', value: Uint8Array.of(1, 2, 3) },
          { type: 'abort', flags: 1 },
        ],
      }),
      `ipv4 192.0.2.9 > 192.0.2.1 ttl 64
sctp 4000 > 80 tag 0x0
  chunk init 3 bytes 01 02 03
  chunk abort flags 0x1`,
    ],
    [
      'echo',
      ipv4(v4).icmp({ type: 'echo-request', id: 9, sequence: 2 }).payload('ping'),
      `ipv4 192.0.2.9 > 192.0.2.1 ttl 64
icmp echo-request id 9 sequence 2
payload 4 bytes "ping"`,
    ],
    [
      'an ICMP error with no more than the ports of what it is about',
      ipv4(v4).icmp({
        ...{ type: 'fragmentation-needed', mtu: 1400 },
        embedded: ipv4({ ...v4, df: true })
          .tcp({ ...ports, seq: 77, ack: true })
          .payload(1460)
          .first(28),
      }),
      `ipv4 192.0.2.9 > 192.0.2.1 ttl 64
icmp fragmentation-needed mtu 1400
  ipv4 192.0.2.9 > 192.0.2.1 ttl 64 df length 1500
  tcp 4000 > 80 seq 77
  cut to 28 bytes`,
    ],
    [
      'an ICMPv6 error',
      ipv6(v6).icmpv6({ type: 'packet-too-big', mtu: 1280, embedded: ipv6(v6).udp(ports) }),
      `ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 64
icmpv6 packet-too-big mtu 1280
  ipv6 fd00:192:0:2::9 > fd00:192:0:2::1 hop-limit 64
  udp 4000 > 80`,
    ],
    [
      'a packet with almost everything wrong',
      eth({ type: 0x86dd })
        .ipv4({ ...v4, checksum: 'wrong', length: 9000, protocol: 6 })
        .udp(ports),
      `eth 02:00:00:00:00:01 > 02:00:00:00:00:02 type 0x86dd
ipv4 192.0.2.9 > 192.0.2.1 ttl 64 length 9000 WRONG checksum 0xd3c4
tcp 4000 > 80 seq 551907
cut to 42 bytes`,
    ],
    [
      'what is no packet at all',
      eth({ type: 0x800 }).payload(Uint8Array.of(0xff, 1)),
      `eth 02:00:00:00:00:01 > 02:00:00:00:00:02 type 0x800
payload 2 bytes ff 01`,
    ],
  ];
  for (const [what, packet, text] of cases) {
    test(what, () => {
      assert.equal(`${packet}`, text);
      assertPacket(packet.bytes, packet);
    });
  }
});

describe('checksums and lengths of packets', () => {
  const described = (packet: Packet) => `${packet}`.split('\n').at(-1);

  test('a description names wrong, partial and missing checksums', () => {
    const of = (checksum: 'wrong' | 'partial' | 'none') =>
      described(ipv4(v4).udp({ ...ports, checksum }));
    assert.match(of('wrong')!, /^udp 4000 > 80 WRONG checksum 0x/);
    assert.equal(of('partial'), 'udp 4000 > 80 checksum partial');
    assert.equal(of('none'), 'udp 4000 > 80 checksum none');
    assert.match(described(ipv6(v6).tcp({ ...ports, checksum: 'wrong' }))!, / WRONG checksum /);
    assert.match(described(ipv4(v4).sctp({ ...ports, checksum: 'wrong' }))!, / WRONG checksum /);
    assert.match(
      described(ipv6(v6).icmpv6({ type: 'echo-reply', checksum: 'wrong' }))!,
      / WRONG checksum /,
    );
    assert.match(`${ipv4({ ...v4, checksum: 'wrong' }).udp(ports)}`, /ttl 64 WRONG checksum /);
  });

  test('correct checksums have the sum that the RFCs require', () => {
    const { bytes } = ipv6(v6).icmpv6({ type: 'echo-request', id: 1 }).payload(13);
    const pseudo = internetSum(Uint8Array.of(0, 0, 0, 21, 0, 0, 0, 58));
    const sum = internetSum(bytes.subarray(40), internetSum(bytes.subarray(8, 40), pseudo));
    assert.equal(sum, 0xffff);
  });

  test('bytes after the IP packet in a frame are a trailer', () => {
    const packet = new Packet({ ...eth().ipv4(v4).udp(ports), trailer: new Uint8Array(18) });
    assert.equal(packet.bytes.length, 60);
    assert.match(`${packet}`, /\ntrailer 18 bytes 00 /);
    assert.doesNotMatch(`${packet}`, /length|WRONG/);
  });

  test('values that do not fit into a field are refused', () => {
    const bad: (() => Packet)[] = [
      () => ipv4({ src: 'fd00::1', dst: '192.0.2.1' }),
      () => ipv4({ ...v4, ttl: 256 }),
      () => ipv4({ ...v4, offset: 4 }),
      () => ipv4(v4).udp({ sport: 65536, dport: 1 }),
      () => ipv6({ src: 'nobody', dst: '::' }),
      () => ipv6(v6).extension('routing', { data: new Uint8Array(5) }),
      () => ipv4(v4).icmp({ type: 'no-such-thing' as '1/1' }),
      () => eth({ src: '02:00' }),
    ];
    for (const build of bad) assert.throws(() => build().bytes, RangeError);
  });
});

describe('changes of packets', () => {
  const packet = eth()
    .ipv4(v4)
    .tcp({ ...ports, syn: true })
    .payload('x');

  test('with() changes fields and computes lengths and checksums again', () => {
    const changed = packet.with('ipv4', { dst: '10.244.1.2' }).with('tcp', { dport: 8080 });
    assertPacket(
      changed.bytes,
      eth()
        .ipv4({ ...v4, dst: '10.244.1.2' })
        .tcp({ ...ports, dport: 8080, syn: true })
        .payload('x'),
    );
    assertPacket(
      Packet.parse(packet.bytes).with('ipv4', { dst: '10.244.1.2' }).with('tcp', { dport: 8080 })
        .bytes,
      changed,
    );
    assert.throws(() => packet.with('udp', { dport: 1 }), /it has no udp 0/);
    assert.equal(changed.layer('tcp')!.dport, 8080);
    assert.equal(changed.layer('tcp', 1), undefined);
    const error = ipv4(v4).icmp({ type: 'time-exceeded', embedded: ipv4(v4).udp(ports) });
    const moved = error.with('icmp', { embedded: error.embedded!.with('ipv4', { ttl: 3 }) });
    assert.equal(moved.embedded!.layer('ipv4')!.ttl, 3);
    assert.equal(packet.embedded, undefined);
  });

  test('with() changes layers inside of a tunnel', () => {
    const outer = eth().ipv4({ src: '192.0.2.1', dst: '192.0.2.2' });
    assertPacket(
      packet.within(outer).bytes,
      outer
        .ipv4(v4)
        .tcp({ ...ports, syn: true })
        .payload('x'),
    );
  });

  test('fragments contain all bytes of the packet', () => {
    for (const whole of [
      eth().ipv4(v4).udp(ports).payload(3000),
      eth().ipv6(v6).udp(ports).payload(3000),
      eth().ipv6(v6).extension('hop-by-hop').udp(ports).payload(3000),
    ]) {
      const parts = whole.fragments([1480, 800], 99);
      assert.equal(parts.length, 3);
      const head = whole.bytes.length - 3008;
      const perPart = head + (whole.layers[1]!.kind === 'ipv6' ? 8 : 0);
      const content = parts.flatMap((part) => [...part.bytes.subarray(perPart)]);
      assert.deepEqual(content, [...whole.bytes.subarray(head)]);
      const texts = parts.map(String);
      assert.match(
        texts[0]!,
        /fragment at 0, more follow\nudp 4000 > 80|fragment at 0, more follow protocol/,
      );
      assert.doesNotMatch(texts[0]!, /WRONG/);
      assert.match(texts[1]!, /fragment at 1480, more follow/);
      assert.match(texts[2]!, /fragment at 2280, the last/);
    }
    assert.throws(() => eth().payload(100).fragments([8]), /it has no IP header/);
  });

  test('the message of a failed assertPacket describes both packets', () => {
    const other = packet.with('tcp', { dport: 81 });
    assert.throws(
      () => assertPacket(packet.bytes, other, 'after the program'),
      (error: Error) =>
        ['after the program', /\+ .*tcp 4000 > 80 SYN/, /- .*tcp 4000 > 81 SYN/].every((text) =>
          error.message.match(text),
        ),
    );
  });
});

test('every sequence of bytes is parsed as a packet that builds the same bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  // Bytes that start like a packet reach more of the parser than random ones.
  const protocol = fc.constantFrom(0, 1, 4, 6, 17, 41, 43, 44, 58, 60, 132);
  const likely = fc
    .tuple(fc.uint8Array({ minLength: 40, maxLength: 200 }), protocol, fc.boolean(), fc.boolean())
    .map(([all, next, isV4, isWhole]) => {
      all[0] = isV4 ? 0x45 : 0x60;
      all[isV4 ? 9 : 6] = next;
      if (isV4) all.set([0, 0], 6);
      if (isWhole) all.set([0, isV4 ? all.length : all.length - 40], isV4 ? 2 : 4);
      return all;
    });
  const kinds = new Set<string>();
  fc.assert(
    fc.property(fc.oneof(bytes, likely), (all) => {
      const packet = Packet.parseIp(all);
      assert.deepEqual(packet.bytes, all);
      assert.equal(typeof `${packet}`, 'string');
      const frame = eth({ type: 0x800 }).payload(all).bytes;
      assert.deepEqual(Packet.parse(frame).bytes, frame);
      for (const { kind } of packet.layers) kinds.add(kind);
    }),
    { numRuns: 1000 },
  );
  for (const kind of ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'fragment', 'payload']) {
    assert.ok(kinds.has(kind), `${kind} was among them`);
  }
});
