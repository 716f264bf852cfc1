import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { NodePackets } from '../../testing/node-packets.ts';
import { World } from '../../testing/world.ts';
import type { DatapathOptions } from '../datapath-options.ts';
import { defaultNat } from '../nat/flow-options.ts';

describe('options of the flow table over a restart', () => {
  let world: World;
  let packets: NodePackets;
  const tcpPort = 30_001;
  const udpPort = 30_002;
  before(() => {
    world = new World('node-options', 1, { lab: { nodes: 2 } });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
    world.apply(...rows());
  });
  after(() => world?.[Symbol.dispose]());

  const remote = () => world.lab.nodes[1]!.pods[0]!;
  const rows = () => [
    packets.service(tcpPort, [remote().addresses.v4], { key: 'tcp' }),
    packets.service(udpPort, [remote().addresses.v4], { key: 'udp', protocol: 'UDP' }),
  ];
  const restart = (nat: Partial<DatapathOptions['nat']>) => {
    world.restart({ nat: { ...defaultNat, ...nat } });
    world.serveOutside();
    world.apply(...rows());
    world.datapath.services.prune(rows());
  };
  const flows = (protocol: string) =>
    [...world.datapath.nat.flows()].filter((flow) => flow.protocol === protocol);

  test('a shorter timeout applies to existing flows of its state only', async () => {
    using server = world.receiver(remote(), 4, 8080);
    using listener = world.listener(remote(), 4, 8080);
    using client = world.socket(world.lab.underlay, 4, 'udp');
    using stream = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(stream.connect(packets.node, tcpPort), 'ok');
    using accepted = listener.accept();
    assert.equal(client.connect(packets.node, udpPort), 'ok');
    client.send('one');
    const [address, port] = server.receive().from.split(':') as [string, string];
    server.send('two', { address, port: Number(port) });
    assert.equal(client.receive().text, 'two');
    // Only now both sides have spoken twice, which the longer timeout is for.
    client.send('three');
    assert.equal(server.receive().text, 'three');
    assert.deepEqual(
      [flows('UDP'), flows('TCP')].map((all) => all.map(({ state }) => state)),
      [['answered'], ['established']],
    );

    restart({ timeouts: { ...defaultNat.timeouts, udp: 1, udpUnanswered: 43_200 } });
    assert.equal(flows('UDP').length, 1);
    await eventually('the flow is gone', () => flows('UDP').length === 0, { ms: 20_000 });
    assert.equal(flows('TCP').length, 1);
    // The same ends begin anew.
    client.send('three');
    assert.equal(server.receive().text, 'three');
    assert.equal(stream.send('still here'), 'ok');
    assert.equal(accepted.receive().text, 'still here');
  });

  test('new flows use a new range of SNAT ports, old ones keep their port', () => {
    using listener = world.listener(remote(), 4, 8080);
    using old = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(old.connect(packets.node, tcpPort), 'ok');
    using oldEnd = listener.accept();
    const first = 40_000;
    restart({ ports: { first, last: first + 1 } });
    using young = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(young.connect(packets.node, tcpPort), 'ok');
    using youngEnd = listener.accept();
    for (const [from, to] of [
      [old, oldEnd],
      [young, youngEnd],
    ] as const) {
      assert.equal(from.send('hello'), 'ok');
      assert.equal(to.receive().text, 'hello');
      assert.equal(to.send('and back'), 'ok');
      assert.equal(from.receive().text, 'and back');
    }
    const { ports, portPressure, fullest } = world.datapath.nat.status();
    assert.deepEqual([ports, portPressure], [2, 0.5], 'of the new ports one is taken');
    assert.deepEqual(fullest, [
      {
        protocol: 'TCP',
        backend: remote().addresses.v4,
        backendPort: 8080,
        source: packets.node,
        used: 1,
      },
    ]);
    const taken = flows('TCP').map(({ sourcePort }) => sourcePort);
    assert.equal(taken.filter((port) => port >= first && port <= first + 1).length, 1);
  });
});
