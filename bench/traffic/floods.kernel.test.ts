import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askUdp, createLab, eth, Tap } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { wireEnd } from '../sites.ts';
import { echoUdp } from '../variants/udp-echo.ts';
import { FrameSender } from './frame-sender.ts';

test('a pod answers UDP to one port without a process, and nothing else', () => {
  using lab = createLab(nodePlatform(), { name: `flood-echo-${process.pid}`, podsPerNode: 1 });
  const [pod] = lab.pods;
  const ask = (port: number) =>
    askUdp(lab.nodes[0]!, { address: pod!.addresses.v4, port }, 'question', 500);
  {
    using _ = echoUdp(pod!, 8080);
    for (let i = 0; i < 3; i++) assert.equal(ask(8080), 'question');
    assert.throws(() => ask(8081), /ECONNREFUSED/);
  }
  assert.throws(() => ask(8080), /ECONNREFUSED/, 'the program is gone');
});

test('many frames leave with one call, each as it was written', () => {
  using lab = createLab(nodePlatform(), { name: `flood-frames-${process.pid}` });
  using sender = new FrameSender(lab.underlay, wireEnd, 64);
  const node = lab.nodes[0]!;
  using tap = Tap.open(node, 'eth0');
  const frame = (n: number) =>
    eth({ src: lab.underlay.link(wireEnd).address, dst: node.link('eth0').address })
      .ipv4({ src: '198.18.0.1', dst: '192.0.2.1' })
      .udp({ sport: 1000 + n, dport: 9 })
      .payload('x'.repeat(n)).bytes;
  let written = 0;
  const nanoseconds = sender.send(50, (into) => {
    const bytes = frame(++written);
    into.set(bytes);
    return bytes.length;
  });
  assert.ok(nanoseconds > 0);
  const seen = tap.drain().filter(({ packet }) => packet.layer('udp')?.dport === 9);
  assert.deepEqual(
    seen.map(({ packet }) => packet.layer('udp')!.sport),
    Array.from({ length: 50 }, (_, n) => 1001 + n),
  );
  assert.equal(`${seen[49]!.packet.layer('payload')!.bytes.length}`, '50');
});
