import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodWorld } from '../../testing/pod-world.ts';
import type { TestPlace } from '../../testing/socket-world.ts';

const port = 9000;
/** Bytes of a datagram, and of its packet with the link header. */
const [payload, frame] = [1000, 1042];
/** The part of a second that a limit may be ahead (RATE_BURST_NS in bpf/pod/rate.h). */
const burst = 0.05;

describe('the bandwidth of pods', () => {
  let world: PodWorld;
  beforeEach(() => {
    world = new PodWorld('rates', 3);
  });
  afterEach(() => world?.[Symbol.dispose]());

  const addresses = (number: number) => Object.values(world.of(world.pod(number)).addresses);
  const limit = (number: number, limits: { egress?: number; ingress?: number }) =>
    world.datapath.bandwidth.set({
      addresses: addresses(number),
      ...{ egress: limits.egress, ingress: limits.ingress },
    });

  /**
   * Sends datagrams, and returns functions for how many were dropped and the seconds since the first one: on a busy
   * machine the kernel handles the last ones later.
   */
  const send = (from: TestPlace, to: string, count: number, reason: 'rateLimited' | 'horizon') => {
    const sender = world.socket(from, 4, 'udp');
    assert.equal(sender.connect(to, port), 'ok');
    const before = world.drops(reason);
    const start = world.platform.monotonicNs();
    for (let i = 0; i < count; i++) assert.equal(sender.send('x'.repeat(payload)), 'ok');
    return {
      dropped: () => world.drops(reason) - before,
      seconds: () => Number(world.platform.monotonicNs() - start) / 1e9,
    };
  };

  /** Checks that what has passed is not more than the rate, and at least the burst. */
  const checkRate = async (from: TestPlace, to: string, bits: number) => {
    const count = 400;
    const { dropped, seconds } = send(from, to, count, 'rateLimited');
    const passed = () => (count - dropped()) * frame;
    await eventually(
      `no more than ${bits} bits/s have passed`,
      () => passed() <= (bits / 8) * (seconds() + burst) + 2 * frame,
    );
    assert.ok(passed() >= Math.min((bits / 8) * burst, count * frame), `${passed()} bytes`);
  };
  const isUnlimited = (from: TestPlace, to: string) =>
    assert.equal(send(from, to, 100, 'rateLimited').dropped(), 0);

  test('what a pod sends to a pod of the node is limited, also after a change', async () => {
    const { v4 } = world.pod(1).addresses;
    world.receiver(world.pod(1), 4, port);
    isUnlimited(world.pod(0), v4);
    limit(0, { egress: 800_000 });
    await checkRate(world.pod(0), v4, 800_000);
    isUnlimited(world.pod(2), v4);
    limit(0, { egress: 800_000_000_000 });
    isUnlimited(world.pod(0), v4);
    limit(0, { egress: 80_000 });
    await checkRate(world.pod(0), v4, 80_000);
    world.datapath.bandwidth.remove(addresses(0));
    isUnlimited(world.pod(0), v4);
  });

  test('what a pod receives is limited, from pods and from the node', async () => {
    const { v4 } = world.pod(1).addresses;
    world.receiver(world.pod(1), 4, port);
    world.receiver(world.pod(2), 4, port);
    limit(1, { ingress: 80_000 });
    await checkRate(world.pod(0), v4, 80_000);
    limit(1, { ingress: 88_000 });
    await checkRate(world.node, v4, 88_000);
    isUnlimited(world.pod(0), world.pod(2).addresses.v4);
    isUnlimited(world.pod(1), world.pod(2).addresses.v4);
  });

  test('what a pod sends to others departs in time, and is dropped beyond two seconds', async () => {
    limit(0, { egress: 80_000 });
    await checkRate(world.pod(0), '203.0.113.9', 80_000);
    world.datapath.bandwidth.setPaced(true);
    // The limit is ahead by the burst; 19 packets of a tenth of a second fill two seconds.
    const { dropped, seconds } = send(world.pod(0), '203.0.113.9', 40, 'horizon');
    await eventually('the rest is dropped', () => 40 - dropped() <= 22 + seconds() * 10);
    assert.ok(dropped() <= 22, `${dropped()} of 40 packets were dropped`);
    world.receiver(world.pod(1), 4, port);
    await checkRate(world.pod(0), world.pod(1).addresses.v4, 80_000);
  });

  test('the next agent keeps limits until it has read all, and knows them by the address', async () => {
    const { v4 } = world.pod(1).addresses;
    world.receiver(world.pod(1), 4, port);
    limit(0, { egress: 80_000 });
    limit(2, { egress: 80_000 });
    world.restart();
    world.servePods();
    await checkRate(world.pod(0), v4, 80_000);
    limit(2, { egress: 88_000 });
    world.datapath.bandwidth.prune(new Set(addresses(2)));
    isUnlimited(world.pod(0), v4);
    await checkRate(world.pod(2), v4, 88_000);
  });

  test('a limit that precedes its pod applies from the first packet', async () => {
    const pod = world.of(world.pod(0));
    world.datapath.pods.remove(pod.ifindex);
    limit(0, { egress: 80_000 });
    world.node.enter(() => world.datapath.pods.set(pod));
    world.receiver(world.pod(1), 4, port);
    await checkRate(world.pod(0), world.pod(1).addresses.v4, 80_000);
  });
});
