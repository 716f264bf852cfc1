import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { attachTypes, type LinkCreateOptions, LinuxBpf } from '@heddle/ebpf';
import { eth, Tap } from '@heddle/lab';
import { errno, SysError } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { row } from '../../testing/rows.ts';
import { at } from '../../testing/sockets/sockets.ts';
import { World } from '../../testing/world.ts';
import { dropReasonText } from '../core/drop-reasons.ts';
import { dropReason } from '../generated/abi.ts';

/** A kernel without tcx, as before Linux 6.6. */
class WithoutTcx extends LinuxBpf {
  override linkCreate(options: LinkCreateOptions): number {
    const { tcx_ingress, tcx_egress } = attachTypes;
    if (options.attachType === tcx_ingress || options.attachType === tcx_egress) {
      throw new SysError('bpf', errno.EINVAL, 'create link');
    }
    return super.linkCreate(options);
  }
}

const families = [4, 6] as const;
const kinds = ['tcp', 'udp'] as const;

for (const hook of ['tcx', 'clsact'] as const) {
  describe(`external traffic through a NodePort, by ${hook}`, () => {
    let world: World;
    before(() => {
      const platform = nodePlatform(() => {});
      const bpf = hook === 'tcx' ? new LinuxBpf(platform) : new WithoutTcx(platform);
      world = new World(`north-${hook}`, 1, { bpf, lab: { nodes: 2, outside: 1 } });
      world.serveOutside();
    });
    after(() => world?.[Symbol.dispose]());

    const nodePort = (port: number, family: 4 | 6, protocol: 'TCP' | 'UDP', backend: string) => {
      const address = family === 4 ? world.node.addresses.v4 : world.node.addresses.v6;
      return row([{ kind: 'NodePort', address, port }], [{ address: backend, port: 8080 }], {
        protocol,
      });
    };

    test('programs stay when the agent ends, are replaced, and are removed', () => {
      world.restart();
      world.serveOutside();
      const states = world.node
        .enter(() => world.datapath.status())
        .links.filter(({ hook: each }) => each.startsWith('node_'));
      assert.deepEqual(
        states.map(({ attached }) => attached),
        [true, true],
      );
      world.apply(nodePort(30_099, 4, 'TCP', world.node.pods[0]!.addresses.v4));
      using _server = world.listener(world.node.pods[0]!, 4, 8080);
      const connect = () => {
        using client = world.socket(world.lab.outside[0]!, 4, 'tcp');
        return client.connect(world.node.addresses.v4, 30_099);
      };
      assert.equal(connect(), 'ok');
      world.node.enter(() => world.datapath.setNode([], []));
      assert.equal(connect(), 'ECONNREFUSED');
      world.serveOutside();
      assert.equal(connect(), 'ok');
    });

    test('fragmented datagrams arrive in any order', async () => {
      const client = world.lab.outside[0]!;
      const external = '198.51.100.7';
      world.lab.routeTo(world.node, external);
      const pod = world.lab.nodes[1]!.pods[0]!;
      world.apply(
        row(
          [{ kind: 'ExternalIP', address: external, port: 53 }],
          [{ address: pod.addresses.v4, port: 8080 }],
          { protocol: 'UDP', key: 'fragmented' },
        ),
      );
      using server = world.receiver(pod, 4, 8080);
      using tap = Tap.open(client, 'eth0');
      const datagram = eth(client.firstHop)
        .ipv4({ src: client.addresses.v4, dst: external })
        .udp({ sport: 777, dport: 53 });
      const [first, second, third] = datagram.payload('x'.repeat(60)).fragments([24, 24, 24], 5);
      for (const fragment of [first, third, second]) tap.send(fragment!);
      assert.equal(server.receive().text, 'x'.repeat(60));
      // Without the first one they wait, and are dropped.
      const reason = dropReasonText(dropReason.fragment);
      const dropped = () =>
        world.datapath.drops.counts().find((each) => each.reason === reason)!.count;
      const before = dropped();
      for (const fragment of datagram.payload(60).fragments([24, 24, 24], 6).slice(1)) {
        tap.send(fragment);
      }
      await eventually('both fragments are dropped', () => dropped() >= before + 2);
      assert.equal(dropped(), before + 2);
    });

    let nextPort = 30_100;
    for (const family of families) {
      for (const kind of kinds) {
        for (const where of ['local', 'remote'] as const) {
          test(`IPv${family} ${kind} traffic reaches a ${where} backend`, () => {
            const port = nextPort++;
            const pod = world.lab.nodes[where === 'local' ? 0 : 1]!.pods[0]!;
            const address = (addresses: { v4: string; v6: string }) =>
              family === 4 ? addresses.v4 : addresses.v6;
            const outside = address(world.lab.outside[0]!.addresses);
            const node = address(world.node.addresses);
            world.apply(
              nodePort(port, family, kind === 'tcp' ? 'TCP' : 'UDP', address(pod.addresses)),
            );
            using server =
              kind === 'tcp'
                ? world.listener(pod, family, 8080)
                : world.receiver(pod, family, 8080);
            using client = world.socket(world.lab.outside[0]!, family, kind);
            assert.equal(client.connect(node, port), 'ok');
            assert.equal(client.send('hello'), 'ok');
            using accepted = kind === 'tcp' ? server.accept() : undefined;
            const { text, from } = (accepted ?? server).receive();
            const peer = accepted ? accepted.peerName() : from;
            assert.equal(text, 'hello');
            if (where === 'local') assert.equal(peer, client.ownName());
            else assert.ok(peer.startsWith(`${node}:`), `${peer} is not the node's`);
            if (accepted) assert.equal(accepted.send('hello yourself'), 'ok');
            else {
              const colon = from.lastIndexOf(':');
              const to = { address: from.slice(0, colon), port: Number(from.slice(colon + 1)) };
              assert.equal(server.send('hello yourself', to), 'ok');
            }
            assert.equal(client.receive().text, 'hello yourself');
            const flow = [...world.datapath.nat.flows()].find((each) => each.frontendPort === port);
            assert.equal(flow?.client, outside);
            assert.equal(flow?.state, kind === 'tcp' ? 'established' : 'answered');
            assert.equal(
              at(flow!.source, flow!.sourcePort),
              where === 'local' ? client.ownName() : peer,
            );
          });
        }
      }
    }
  });
}
