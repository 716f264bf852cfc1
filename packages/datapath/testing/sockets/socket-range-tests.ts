import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { SourceRangesScope } from '../../src/datapath-options.ts';
import { row } from '../rows.ts';
import type { SocketWorld, TestPlace } from '../socket-world.ts';
import { at } from './sockets.ts';

const denied = 'the client is not in loadBalancerSourceRanges';
const ends = [
  { end: 'v4', family: 4, balancer: '198.51.100.1', clusterIP: '10.96.0.10', bits: 32 },
  { end: 'v6', family: 6, balancer: 'fd00:198::1', clusterIP: 'fd00:10:96::10', bits: 128 },
] as const;
type End = (typeof ends)[number];

/** Defines the tests; `open` opens a node in the kernel or in the userspace machine. */
export function rangeTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('loadBalancerSourceRanges at sockets', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('ranges', 3);
      world.datapath.setNode([], [world.node.addresses.v4, world.node.addresses.v6]);
    });
    after(() => world?.[Symbol.dispose]());

    /** The service with each kind of frontend before the third pod, for clients of these ranges. */
    const serve = (
      { end, balancer, clusterIP }: End,
      protocol: 'TCP' | 'UDP',
      ranges: readonly string[],
    ) => {
      world.apply(
        row(
          [
            { kind: 'ClusterIP', address: clusterIP, port: 80 },
            { kind: 'LoadBalancer', address: balancer, port: 80 },
            { kind: 'ExternalIP', address: balancer, port: 81 },
            { kind: 'NodePort', address: world.node.addresses[end], port: 30_080 },
          ],
          [{ address: world.pod(2).addresses[end], port: 8080 }],
          { key: `ranged ${end} ${protocol}`, protocol, sourceRanges: ranges },
        ),
      );
    };
    const connect = (
      place: TestPlace,
      { family }: End,
      kind: 'tcp' | 'udp',
      to: string,
      port = 80,
    ) => {
      using socket = world.socket(place, family, kind);
      return socket.connect(to, port);
    };
    const send = (place: TestPlace, { family }: End, address: string, port = 80) => {
      using socket = world.socket(place, family, 'udp');
      return socket.send('who?', { address, port });
    };
    const refusals = () =>
      world.datapath.drops.refusals().find(({ reason }) => reason === denied)!.count;

    for (const each of ends) {
      const { end, family, balancer, clusterIP, bits } = each;

      test(`IP${end}: a pod is matched by its address, over TCP and UDP, also when it is mapped`, () => {
        const [inside, other, server] = [world.pod(0), world.pod(1), world.pod(2)];
        using _tcp = world.listener(server, family, 8080);
        using _udp = world.receiver(server, family, 8080);
        const range = `${inside.addresses[end]}/${bits}`;
        for (const protocol of ['TCP', 'UDP'] as const) serve(each, protocol, [range]);
        const counted = refusals();
        assert.equal(connect(inside, each, 'tcp', balancer), 'ok');
        assert.equal(connect(inside, each, 'udp', balancer), 'ok');
        assert.equal(send(inside, each, balancer), 'ok');
        assert.equal(refusals(), counted);
        assert.equal(connect(other, each, 'tcp', balancer), 'EPERM');
        assert.equal(connect(other, each, 'udp', balancer), 'EPERM');
        assert.equal(send(other, each, balancer), 'EPERM');
        assert.equal(refusals(), counted + 3);
        assert.deepEqual(world.datapath.services.rowRefusals(`ranged ${end} TCP`), [
          { reason: denied, count: 1 },
        ]);
        assert.deepEqual(world.datapath.services.rowRefusals(`ranged ${end} UDP`), [
          { reason: denied, count: 2 },
        ]);
        if (end === 'v6') return;
        for (const [place, expected] of [
          [inside, 'ok'],
          [other, 'EPERM'],
        ] as const) {
          using tcp = world.socket(place, 6, 'tcp');
          assert.equal(tcp.connect(`::ffff:${balancer}`, 80), expected);
          using udp = world.socket(place, 6, 'udp');
          assert.equal(udp.send('x', { address: `::ffff:${balancer}`, port: 80 }), expected);
        }
      });

      test(`IP${end}: ranges apply at the load balancer's address and port only`, () => {
        const [other, server] = [world.pod(1), world.pod(2)];
        using _listener = world.listener(server, family, 8080);
        serve(each, 'TCP', [end === 'v4' ? '203.0.113.0/24' : '2001:db8::/32']);
        assert.equal(connect(other, each, 'tcp', balancer), 'EPERM');
        assert.equal(connect(other, each, 'tcp', clusterIP), 'ok');
        assert.equal(connect(other, each, 'tcp', balancer, 81), 'ok', 'an externalIP');
        assert.equal(connect(other, each, 'tcp', world.node.addresses[end], 30_080), 'ok');
      });

      test(`IP${end}: a process of the node is matched by the node's address`, () => {
        const { node } = world;
        using _listener = world.listener(world.pod(2), family, 8080);
        serve(each, 'TCP', [`${world.pod(0).addresses[end]}/${bits}`]);
        assert.equal(connect(node, each, 'tcp', balancer), 'EPERM');
        serve(each, 'TCP', [`${node.addresses[end]}/${bits}`]);
        assert.equal(connect(node, each, 'tcp', balancer), 'ok');
        assert.equal(connect(world.pod(0), each, 'tcp', balancer), 'EPERM');
      });

      test(`IP${end}: a bound socket is matched by its address`, () => {
        const { node } = world;
        using _listener = world.listener(world.pod(2), family, 8080);
        serve(each, 'TCP', [`${node.addresses[end]}/${bits}`]);
        for (const [address, expected] of [
          [node.addresses[end], 'ok'],
          [end === 'v4' ? '127.0.0.1' : '::1', 'EPERM'],
          [end === 'v4' ? '0.0.0.0' : '::', 'ok'],
        ] as const) {
          using socket = world.socket(node, family, 'tcp');
          assert.equal(socket.bind(address, 0), 'ok');
          assert.equal(socket.connect(balancer, 80), expected, at(address, 0));
        }
      });

      test(`IP${end}: ranges change while clients connect`, () => {
        const [one, two] = [world.pod(0), world.pod(1)];
        using _listener = world.listener(world.pod(2), family, 8080);
        const of = (place: TestPlace) => `${place.addresses[end]}/${bits}`;
        const seen = () => [one, two].map((place) => connect(place, each, 'tcp', balancer));
        for (const [ranges, expected] of [
          [[of(one)], ['ok', 'EPERM']],
          [[of(two)], ['EPERM', 'ok']],
          [
            [of(one), of(two)],
            ['ok', 'ok'],
          ],
          [[], ['ok', 'ok']],
          [[end === 'v4' ? '255.0.0.0/32' : 'ffff::/128'], ['EPERM', 'EPERM']],
          [end === 'v4' ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1'], ['ok', 'ok']],
          [[end === 'v4' ? '0.0.0.0/0' : '::/0'], ['ok', 'ok']],
        ] as const) {
          serve(each, 'TCP', ranges);
          assert.deepEqual(seen(), expected, ranges.join());
        }
      });
    }

    test('the next agent applies the setting, and a node without a known address matches no range', () => {
      const [v4] = ends;
      using _listener = world.listener(world.pod(2), 4, 8080);
      const start = (sourceRanges?: SourceRangesScope) => {
        world.restart(sourceRanges ? { sourceRanges } : {});
        serve(v4, 'TCP', [`${world.pod(0).addresses.v4}/32`]);
        return [world.pod(0), world.pod(1), world.node].map((place) =>
          connect(place, v4, 'tcp', v4.balancer),
        );
      };
      assert.deepEqual(start(), ['ok', 'EPERM', 'EPERM']);
      assert.deepEqual(start('external'), ['ok', 'ok', 'ok']);
      assert.deepEqual(start('everywhere'), ['ok', 'EPERM', 'EPERM']);
    });
  });
}
