import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { assertReaches, exchange, forwardedPackets } from '../testing/traffic/reachability.ts';
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
      stage = new TunnelStage(`${mode}-${underlay}`, 2, { underlay, mode });
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
