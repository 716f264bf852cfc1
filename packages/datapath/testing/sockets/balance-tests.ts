import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import { row } from '../rows.ts';
import type { SocketWorld, TestPlace } from '../socket-world.ts';

/** Defines the tests; `open` opens a node in the kernel or in the userspace machine. */
export function balanceTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('choice of the backend', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('balance', 3);
    });
    after(() => world?.[Symbol.dispose]());

    /** UDP connects choose as TCP's do, and need no server. */
    const service = (last: number, backends: number, more: Partial<ServiceRow> = {}) =>
      row(
        [{ address: `10.96.2.${last}`, port: 53 }],
        Array.from({ length: backends }, (_, i) => ({ address: `10.244.9.${i + 1}`, port: 53 })),
        { protocol: 'UDP', ...more },
      );

    /** Connects so often from a place and returns how often each backend was chosen meanwhile. */
    const draw = (place: TestPlace, wanted: ServiceRow, count: number): number[] => {
      const counters = () =>
        world.datapath.services.backendCounters(wanted.key).map((c) => c.connections);
      const earlier = counters();
      const { address, port } = wanted.frontends[0]!;
      using socket = world.socket(place, wanted.family === 'IPv4' ? 4 : 6, 'udp');
      for (let i = 0; i < count; i++) assert.equal(socket.connect(address, port), 'ok');
      return counters().map((c, i) => c - earlier[i]!);
    };

    /** Pearson's chi-squared against shares; the caller names the bound for its degrees of freedom. */
    const chiSquared = (drawn: number[], shares: number[]) => {
      const total = drawn.reduce((sum, n) => sum + n, 0);
      const all = shares.reduce((sum, n) => sum + n, 0);
      return drawn.reduce((sum, n, i) => {
        const expected = (total * shares[i]!) / all;
        return sum + (n - expected) ** 2 / expected;
      }, 0);
    };

    test('random: even shares (chi-squared, 4 degrees of freedom, one false alarm in a million)', () => {
      const wanted = service(1, 5);
      world.apply(wanted);
      const drawn = draw(world.pod(0), wanted, 10_000);
      assert.ok(chiSquared(drawn, [1, 1, 1, 1, 1]) < 33.4, `${drawn}`);
    });

    test('weighted: shares by weight (the same bound, 2 degrees of freedom)', () => {
      const plain = service(2, 3, { algorithm: 'weighted' });
      const weights = [1, 3, 6];
      const wanted = {
        ...plain,
        backends: plain.backends.map((b, i) => ({ ...b, weight: weights[i]! })),
      };
      world.apply(wanted);
      const drawn = draw(world.pod(0), wanted, 10_000);
      assert.ok(chiSquared(drawn, weights) < 27.6, `${drawn}`);
    });

    test('round robin: each in turn, exactly', () => {
      const wanted = service(3, 4, { algorithm: 'round-robin' });
      world.apply(wanted);
      assert.deepEqual(draw(world.pod(0), wanted, 400), [100, 100, 100, 100]);
    });

    test('maglev: a client always comes to the same backend, and clients spread', () => {
      const wanted = service(4, 5, { algorithm: 'maglev' });
      world.apply(wanted);
      const chosen = [world.pod(0), world.pod(1), world.pod(2), world.node].map((place) => {
        const drawn = draw(place, wanted, 50);
        assert.equal(Math.max(...drawn), 50, `${drawn}`);
        return drawn.indexOf(50);
      });
      assert.deepEqual(
        [world.pod(0), world.pod(1), world.pod(2), world.node].map((place) =>
          draw(place, wanted, 5).indexOf(5),
        ),
        chosen,
      );
    });

    test('least connections: the one with the fewest open, which close() lowers again', () => {
      const wanted = service(5, 3, { algorithm: 'least-connections' });
      world.apply(wanted);
      const { address, port } = wanted.frontends[0]!;
      const active = () => world.datapath.services.backendCounters(wanted.key).map((c) => c.active);
      const sockets = Array.from({ length: 30 }, () => {
        const socket = world.pod(0).enter(() => world.socket(world.pod(0), 4, 'udp'));
        assert.equal(socket.connect(address, port), 'ok');
        return socket;
      });
      assert.deepEqual(active(), [10, 10, 10]);
      for (const socket of sockets.slice(0, 12)) socket[Symbol.dispose]();
      assert.equal(
        active().reduce((sum, n) => sum + n, 0),
        18,
      );
      const spread = () => Math.max(...active()) - Math.min(...active());
      const more = Array.from({ length: 12 }, () => {
        const socket = world.socket(world.pod(1), 4, 'udp');
        assert.equal(socket.connect(address, port), 'ok');
        return socket;
      });
      assert.ok(spread() <= 1, `${active()}`);
      for (const socket of [...sockets.slice(12), ...more]) socket[Symbol.dispose]();
      assert.deepEqual(active(), [0, 0, 0]);
    });

    test('affinity: one backend per client pod, until it is switched off', () => {
      const wanted = service(6, 8, { affinitySeconds: 60 });
      world.apply(wanted);
      const first = draw(world.pod(0), wanted, 50);
      assert.equal(Math.max(...first), 50, `${first}`);
      // Another client is remembered by itself: with 8 backends, 20 services in a row would have to agree.
      let differs = 0;
      for (let i = 0; i < 20; i++) {
        const each = service(20 + i, 8, { affinitySeconds: 60 });
        world.apply(each);
        const [a, b] = [draw(world.pod(0), each, 3), draw(world.pod(1), each, 3)];
        assert.equal(Math.max(...a), 3);
        assert.equal(Math.max(...b), 3);
        if (a.indexOf(3) !== b.indexOf(3)) differs++;
      }
      assert.ok(differs > 0);
      world.apply({ ...wanted, affinitySeconds: 0 });
      assert.ok(Math.max(...draw(world.pod(0), wanted, 400)) < 200);
      world.apply(wanted);
      assert.equal(Math.max(...draw(world.pod(0), wanted, 50)), 50);
    });

    test('affinity ends after its timeout, and each use renews it', async () => {
      const wanted = service(7, 64, { affinitySeconds: 1 });
      world.apply(wanted);
      const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
      let first = -1;
      let drawnAt = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < 5; i++) {
        const before = performance.now();
        const next = draw(world.pod(0), wanted, 1).indexOf(1);
        // A machine that was held up for longer than the timeout proves nothing.
        if (performance.now() - drawnAt < 1000) assert.equal(next, first, 'renewed by use');
        [first, drawnAt] = [next, before];
        await pause(400);
      }
      const drawn = new Set<number>();
      for (let i = 0; i < 3; i++) {
        await pause(1100);
        drawn.add(draw(world.pod(0), wanted, 1).indexOf(1));
      }
      assert.ok(drawn.size > 1 || !drawn.has(first), 'three draws of 64 cannot all be the first');
    });

    test('affinity chooses another backend when its own is removed or draining', () => {
      const wanted = service(8, 2, { affinitySeconds: 60 });
      world.apply(wanted);
      const first = draw(world.pod(0), wanted, 5).indexOf(5);
      const backends = wanted.backends.map((b, i) =>
        i === first ? { ...b, state: 'draining' as const } : b,
      );
      world.apply({ ...wanted, backends });
      assert.equal(draw(world.pod(0), wanted, 5).indexOf(5), 1 - first);
    });
  });
}
