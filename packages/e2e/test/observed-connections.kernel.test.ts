import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { FlowEntry } from '@heddle/datapath';
import { decodeCtFacts } from '@heddle/datapath/abi';
import type { LabHost } from '@heddle/lab';
import { eventually } from '@heddle/sys/testing/eventually';
import { assertPings, assertReaches, exchange } from '../testing/traffic/reachability.ts';
import { TunnelStage } from '../testing/tunnel-stage.ts';

const ends = ['v4', 'v6'] as const;
type End = (typeof ends)[number];

for (const { title, underlay, mode } of [
  { title: 'directly', underlay: 'v4', mode: 'direct' },
  { title: 'through a tunnel between IPv4 addresses', underlay: 'v4', mode: 'tunnel' },
  { title: 'through a tunnel between IPv6 addresses', underlay: 'v6', mode: 'tunnel' },
] as const) {
  describe(`the nodes of two pods that are connected ${title} observe`, () => {
    let stage: TunnelStage;
    before(() => {
      const options = { underlay, mode, visibility: true } as const;
      stage = new TunnelStage(`seen-${mode}-${underlay}`, 2, options);
    });
    after(() => stage?.[Symbol.dispose]());

    /** Returns the connections from one host to another in the table of a node. */
    const flows = (
      node: number,
      protocol: FlowEntry['protocol'],
      [from, to]: readonly [LabHost, LabHost],
      end: End,
    ) =>
      [...stage.datapath(node).nat.flows()].filter(
        (flow) =>
          flow.protocol === protocol &&
          flow.client === from.addresses[end] &&
          flow.backend === to.addresses[end],
      );

    const facts = (node: number, { number }: FlowEntry) =>
      decodeCtFacts(
        stage
          .datapath(node)
          .programs.node.map('nat_facts')
          .lookup(new Uint8Array(Uint32Array.of(number).buffer))!,
      );

    for (const end of ends) {
      test(`their TCP connections until they end, ${end}`, async () => {
        const pods = [stage.pod(1), stage.pod(2)] as const;
        exchange(...pods, end, { bytes: 600_000 });
        for (const node of [1, 2]) {
          await eventually('both ends are closed', () =>
            flows(node, 'TCP', pods, end).every(({ state }) => /closed|reset/.test(state)),
          );
          const [flow, more] = flows(node, 'TCP', pods, end);
          assert.ok(flow && !more, `node ${node}`);
          const { packets, bytes } = facts(node, flow);
          for (const side of [0, 1]) {
            // Segments that are cut at the interface count as what they become, with their headers.
            const [sent, count] = [Number(bytes[side]), Number(packets[side])];
            assert.ok(sent > 600_000 && sent < 700_000, `${sent} bytes at node ${node}`);
            assert.ok(count >= 600_000 / 1460 && count < 2000, `${count} packets at node ${node}`);
          }
          assert.equal(flows(node, 'TCP', [pods[1], pods[0]], end).length, 0, `node ${node}`);
        }
        assert.deepEqual([stage.drops(1), stage.drops(2)], [{}, {}]);
      });

      test(`their datagrams, also in fragments, and echoes, ${end}`, () => {
        const pods = [stage.pod(2), stage.pod(1)] as const;
        assertReaches(...pods, end);
        assertPings(
          pods[0],
          pods[1].addresses[end],
          mode === 'direct' ? 1500 : underlay === 'v4' ? 1450 : 1430,
        );
        for (const node of [1, 2]) {
          for (const protocol of ['UDP', 'ICMP'] as const) {
            const states = flows(node, protocol, pods, end).map(({ state }) => state);
            assert.ok(states.includes('answered'), `${protocol} at node ${node}: ${states}`);
            assert.deepEqual(flows(node, protocol, [pods[1], pods[0]], end), []);
          }
        }
      });

      test(`connections of the node and its pod, ${end}`, () => {
        const node = stage.lab.nodes[0]!;
        const pairs: readonly (readonly [LabHost, LabHost])[] = [
          [stage.pod(1), node],
          [node, stage.pod(1)],
        ];
        for (const pair of pairs) {
          exchange(...pair, end, { bytes: 60_000 });
          assert.equal(flows(1, 'TCP', pair, end).length, 1);
        }
      });
    }
  });
}
