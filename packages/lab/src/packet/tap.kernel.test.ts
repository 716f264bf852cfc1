import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { platform, uniqueName } from '../../testing/kernel.ts';
import { unicast } from '../../testing/unicast.ts';
import { createLab, type Lab } from '../lab.ts';
import type { LabHost, LabPod } from '../lab-host.ts';
import { BlockingSocket } from '../traffic/blocking-socket.ts';
import { assertPacket } from './assert-packet.ts';
import { eth, ipv4, ipv6 } from './packet.ts';
import { describeCaptured, Tap } from './tap.ts';

// Packets of the kernel are compared with those of the builder, and the kernel receives packets of the
// builder.

let lab: Lab;
let one: LabHost;
let two: LabHost;
let names: { src: string; dst: string };

before(() => {
  lab = createLab(platform, { name: uniqueName('tap'), podsPerNode: 2 });
  [one, two] = lab.pods as [LabPod, LabPod];
  names = one.firstHop;
});
after(() => lab[Symbol.dispose]());

const open = (host: LabHost, protocol: 'tcp' | 'udp', family: 4 | 6) =>
  host.enter(() => BlockingSocket.open(platform, { protocol, family }));
const ip = (from: LabHost, to: LabHost, end: 'v4' | 'v6') => ({
  src: from.addresses[end],
  dst: to.addresses[end],
});
const addressed = (end: 'v4' | 'v6', more: { ttl?: number } = {}) => {
  const frame = eth(names);
  return end === 'v4'
    ? frame.ipv4({ ...ip(one, two, end), ...more })
    : frame.ipv6({ ...ip(one, two, end), ...(more.ttl ? { hopLimit: more.ttl } : {}) });
};

describe('packets of the kernel, seen by a tap', () => {
  for (const end of ['v4', 'v6'] as const) {
    test(`TCP and UDP over IP${end} are parsed and built again`, () => {
      using tap = Tap.open(one, 'eth0');
      using server = open(two, 'tcp', end === 'v4' ? 4 : 6);
      server.bind({ address: two.addresses[end], port: 5001 });
      server.listen();
      using client = open(one, 'tcp', end === 'v4' ? 4 : 6);
      client.connect({ address: two.addresses[end], port: 5001 });
      client.send('hello');
      using accepted = server.accept();
      assert.equal(new TextDecoder().decode(accepted.receive()), 'hello');
      const captured = unicast(tap);
      const words = describeCaptured(captured);
      const syn = captured[0]!.packet;
      assert.match(
        `${syn}`,
        / > 5001 SYN seq \d+ window \d+ mss 14[46]0 sack-permitted timestamps /,
      );
      assert.deepEqual(
        captured.slice(0, 3).map(({ direction }) => direction),
        ['out', 'in', 'out'],
        words,
      );
      assert.match(words, /PSH\+ACK seq .*\npayload 5 bytes "hello"/);
      assert.doesNotMatch(words, /WRONG/);
      // The kernel leaves the checksum to the interface, and a veth does not compute it.
      assert.match(`${syn}`, /checksum partial/);
      using receiver = open(two, 'udp', end === 'v4' ? 4 : 6);
      receiver.bind({ address: two.addresses[end], port: 5002 });
      using sender = open(one, 'udp', end === 'v4' ? 4 : 6);
      sender.send('x'.repeat(3000), { address: two.addresses[end], port: 5002 });
      const fragments = unicast(tap).map(({ packet }) => packet);
      assert.equal(fragments.length, 3, fragments.join('\n'));
      assert.match(`${fragments[0]}`, /fragment at 0, more follow\nudp \d+ > 5002|, more follow/);
      assert.match(`${fragments[2]}`, /fragment at 2\d+, the last/);
      for (const packet of [...captured.map((each) => each.packet), ...fragments]) {
        assertPacket(packet.bytes, packet);
      }
    });

    test(`echo and ICMP errors over IP${end} are parsed and built again`, () => {
      using tap = Tap.open(one, 'eth0');
      const echo = { type: 'echo-request', id: 77, sequence: 3 } as const;
      const request = addressed(end);
      tap.send((end === 'v4' ? request.icmp(echo) : request.icmpv6(echo)).payload('ping'));
      const reply = tap.find('echo reply', ({ packet }) => `${packet}`.includes('echo-reply'));
      assert.match(`${reply.packet}`, /echo-reply id 77 sequence 3\npayload 4 bytes "ping"$/);
      const lost = addressed(end).udp({ sport: 4000, dport: 9999 }).payload('anybody?');
      tap.send(lost);
      const error = tap.find('error', ({ packet }) => `${packet}`.includes('port-unreachable'));
      // The packet has passed one hop more.
      const embedded = (
        end === 'v4'
          ? ipv4({ ...ip(one, two, end), ttl: 63 })
          : ipv6({ ...ip(one, two, end), hopLimit: 63 })
      )
        .udp({ sport: 4000, dport: 9999 })
        .payload('anybody?');
      assertPacket(error.packet.embedded!.bytes, embedded);
      tap.send(addressed(end, { ttl: 1 }).udp({ sport: 4000, dport: 9999 }));
      tap.find('time exceeded', ({ packet }) => /time-exceeded\n {2}ip/.test(`${packet}`));
    });

    test(`the kernel accepts built packets over IP${end} unless the checksum is wrong`, () => {
      using server = open(two, 'udp', end === 'v4' ? 4 : 6);
      server.bind({ address: two.addresses[end], port: 5003 });
      using tap = Tap.open(one, 'eth0');
      const ports = { sport: 4000, dport: 5003 };
      tap.send(
        addressed(end)
          .udp({ ...ports, checksum: 'wrong' })
          .payload('wrong'),
      );
      if (end === 'v4')
        tap.send(
          addressed(end)
            .udp({ ...ports, checksum: 'none' })
            .payload('none'),
        );
      tap.send(addressed(end).udp(ports).payload('right'));
      const big = addressed(end).udp(ports).payload(4000);
      const [first, second, third] = big.fragments([1440, 1440]);
      for (const fragment of [third, first, second]) tap.send(fragment!);
      const expected = end === 'v4' ? ['none', 'right'] : ['right'];
      for (const text of expected) {
        assert.equal(new TextDecoder().decode(server.receive()), text);
      }
      assert.equal(server.receive().length, 4000, 'fragments out of order became one datagram');
      if (end === 'v4') {
        const options = eth(names).ipv4({
          ...ip(one, two, end),
          options: Uint8Array.of(0x94, 4, 0, 0),
        });
        tap.send(options.udp(ports).payload('router alert'));
      } else {
        tap.send(
          addressed(end).extension('destination-options').udp(ports).payload('router alert'),
        );
      }
      assert.equal(new TextDecoder().decode(server.receive()), 'router alert');
    });
  }

  test('a TCP handshake by built packets succeeds', () => {
    using server = open(two, 'tcp', 4);
    server.bind({ address: two.addresses.v4, port: 5004 });
    server.listen();
    using tap = Tap.open(one, 'eth0');
    const ports = { sport: 4001, dport: 5004 };
    tap.send(addressed('v4').tcp({ ...ports, syn: true, seq: 99, options: { mss: 1000 } }));
    const answer = tap.find('answer', ({ packet }) => `${packet}`.includes('SYN+ACK')).packet;
    assert.equal(answer.layer('tcp')!.ackSeq, 100);
  });

  test('a tap for ICMP captures both ICMP versions and nothing else', () => {
    using tap = Tap.open(one, 'eth0', 'icmp');
    using deaf = Tap.open(one, 'eth0', 'nothing');
    for (const end of ['v4', 'v6'] as const) {
      tap.send(addressed(end).udp({ sport: 1, dport: 9 }));
      const { packet } = tap.find('error', () => true);
      assert.match(`${packet}`, /\nicmp(v6)? port-unreachable\n/);
    }
    assert.deepEqual(deaf.drain(), []);
  });

  test('find throws an error that describes the packets that came instead', () => {
    using tap = Tap.open(one, 'eth0');
    tap.send(addressed('v4').udp({ sport: 1, dport: 9 }));
    assert.throws(
      () => tap.find('a reset', ({ packet }) => `${packet}`.includes('RST'), 50),
      /find a reset on eth0 in pod-1-1: in\neth .*\nipv4 .*\nicmp port-unreachable\n/,
    );
    assert.throws(
      () => Tap.open(one, 'eth7'),
      /find network interface eth7 in pod-1-1: there is none/,
    );
  });
});
