import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { listLinks, NetlinkSocket } from '@heddle/netlink';
import { removeFile } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';
import { clients, NodePackets } from '../../testing/node-packets.ts';
import { row } from '../../testing/rows.ts';
import { sizes, World } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import type { DropNotice } from '../events/drops.ts';

describe('programs at interfaces over restarts', () => {
  let world: World;
  let packets: NodePackets;
  let sport = 50_000;
  const remotes = ['10.244.2.11', '10.244.2.12', '10.244.2.13', '10.244.2.14'];
  before(() => {
    world = new World('node-life', 1, { lab: { nodes: 2 } });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
  });
  after(() => world?.[Symbol.dispose]());

  /** Returns the destination of a packet to the service, or `drop` or `pass` if it has none. */
  const goes = (dport: number, kind: 'tcp' | 'udp', from: string = clients.v4, port = ++sport) => {
    const header = packets.from(from, packets.node);
    const packet =
      kind === 'tcp'
        ? header.tcp({ sport: port, dport, syn: true })
        : header.udp({ sport: port, dport });
    const { verdict, packet: after } = packets.ingress(packet);
    return verdict === 'send' ? after.layers.find((layer) => layer.kind === 'ipv4')!.dst : verdict;
  };

  test('flows outlive the agent, and the next one continues old connections', () => {
    const [one] = world.lab.nodes[1]!.pods;
    world.apply(packets.service(30_001, [one!.addresses.v4]));
    using server = world.listener(one!, 4, 8080);
    using client = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(client.connect(packets.node, 30_001), 'ok');
    using accepted = server.accept();
    world.datapath[Symbol.dispose]();
    assert.equal(client.send('nobody is there'), 'ok');
    assert.equal(accepted.receive().text, 'nobody is there');
    using later = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(later.connect(packets.node, 30_001), 'ok', 'new ones come about, too');
    world.restart();
    world.serveOutside();
    world.apply(packets.service(30_001, [one!.addresses.v4]));
    assert.equal(client.send('still here'), 'ok');
    assert.equal(accepted.receive().text, 'still here');
    assert.ok([...world.datapath.nat.flows()].some(({ state }) => state === 'established'));
    const { links } = world.datapath.status();
    assert.ok(links.some(({ hook, attached }) => hook === 'node_ingress@eth0' && attached));
  });

  test('flows of an agent whose programs did not write reply_sources continue', () => {
    world.apply(packets.service(30_009, [world.pod(0).addresses.v4]));
    assert.equal(goes(30_009, 'tcp'), world.pod(0).addresses.v4);
    const reply = packets
      .from(world.pod(0).addresses.v4, clients.v4)
      .tcp({ sport: 8080, dport: sport, syn: true, ack: true });
    const source = () => packets.egress(reply).packet.layer('ipv4')!.src;
    assert.equal(source(), packets.node);
    world.datapath[Symbol.dispose]();
    removeFile(world.platform, `${currentPins(world.node.bpffs).maps}/reply_sources`);
    world.restart();
    assert.equal(source(), packets.node);
  });

  test('programs are attached to added interfaces and removed from others', () => {
    const serve = (...names: string[]) =>
      world.node.enter(() => {
        using socket = new NetlinkSocket(world.platform);
        const devices = listLinks(socket).filter(({ name }) => names.includes(name));
        world.datapath.setNode(devices, [packets.node]);
      });
    const attached = () =>
      world.datapath
        .status()
        .links.filter(({ hook }) => hook.startsWith('node_'))
        .map(({ hook, attached: is }) => `${hook} ${is}`);
    world.apply(packets.service(30_002, remotes));
    using client = world.socket(world.lab.underlay, 4, 'tcp');
    serve();
    assert.deepEqual(attached(), []);
    assert.equal(client.connect(packets.node, 30_002), 'ECONNREFUSED', 'the node itself answers');
    serve('eth0', 'veth1');
    assert.deepEqual(attached(), [
      'node_ingress@eth0 true',
      'node_egress@eth0 true',
      'node_ingress@veth1 true',
      'node_egress@veth1 true',
    ]);
    world.restart();
    serve('eth0');
    assert.deepEqual(attached(), ['node_ingress@eth0 true', 'node_egress@eth0 true']);
  });

  test("sessionAffinity chooses by the client's address, whatever its port", () => {
    world.apply(packets.service(30_003, remotes, { affinitySeconds: 1000 }));
    const first = goes(30_003, 'tcp');
    for (let i = 0; i < 20; i++) assert.equal(goes(30_003, 'tcp'), first);
    const others = new Set<string>();
    for (let i = 0; i < 40; i++) others.add(goes(30_003, 'tcp', `198.18.0.${i}`));
    assert.equal(others.size, 4);
    world.apply(
      packets.service(
        30_003,
        remotes.filter((remote) => remote !== first),
        { affinitySeconds: 1000 },
      ),
    );
    assert.notEqual(goes(30_003, 'tcp'), first, 'that backend is gone');
  });

  test('maglev chooses the same backend for a connection after a restart with empty tables', () => {
    world.apply(packets.service(30_004, remotes, { algorithm: 'maglev' }));
    const chosen = Array.from({ length: 50 }, (_, i) => goes(30_004, 'tcp', clients.v4, 2000 + i));
    assert.equal(new Set(chosen).size, 4);
    const other = new World('node-life-2', 1, { lab: { nodes: 2 } });
    try {
      other.serveOutside();
      const there = new NodePackets(other, 'v4');
      other.apply(there.service(30_004, remotes, { algorithm: 'maglev' }));
      for (const [i, backend] of chosen.entries()) {
        const packet = there
          .from(clients.v4, there.node)
          .tcp({ sport: 2000 + i, dport: 30_004, syn: true });
        const ip = there.ingress(packet).packet.layers.find(({ kind }) => kind === 'ipv4');
        assert.equal(ip && 'dst' in ip ? ip.dst : '', backend, 'another node chooses the same');
      }
    } finally {
      other[Symbol.dispose]();
    }
  });

  test('a UDP flow gets another backend when its own is removed', () => {
    const service = (...backends: string[]) =>
      packets.service(30_005, backends, { protocol: 'UDP' });
    world.apply(service(remotes[0]!));
    assert.equal(goes(30_005, 'udp', clients.v4, 777), remotes[0]);
    world.apply(service(remotes[1]!));
    assert.equal(goes(30_005, 'udp', clients.v4, 777), remotes[1]);
  });

  test('least-connections chooses by open flows, and counts those that end', () => {
    const key = 'least';
    world.apply(packets.service(30_006, remotes, { algorithm: 'least-connections', key }));
    const counted = () => world.datapath.services.backendCounters(key).map(({ active }) => active);
    for (let i = 0; i < 8; i++) goes(30_006, 'tcp');
    assert.deepEqual(counted(), [2, 2, 2, 2]);
    const [{ packets: count, bytes } = assert.fail()] =
      world.datapath.services.backendCounters(key);
    assert.deepEqual([count, bytes], [2, 2 * 54]);
    const reset = packets
      .from(clients.v4, packets.node)
      .tcp({ sport, dport: 30_006, rst: true, seq: 1 });
    packets.ingress(reset);
    assert.equal(
      counted().reduce((sum, active) => sum + active),
      7,
    );
    assert.equal(world.datapath.services.backendCounters(key)[0]!.connections, 2);
  });

  test('two flows from one client port to one backend are kept apart', () => {
    const [pod] = world.node.pods;
    const rows = [30_007, 30_008].map((port) =>
      packets.service(port, [pod!.addresses.v4], { key: `at ${port}` }),
    );
    world.apply(...rows);
    const seen = [30_007, 30_008].map((dport) => {
      const syn = packets.from(clients.v4, packets.node).tcp({ sport: 999, dport, syn: true });
      return packets.ingress(syn).packet.layers.find(({ kind }) => kind === 'tcp')!;
    });
    const ports = seen.map((tcp) => ('sport' in tcp ? tcp.sport : 0));
    assert.equal(ports[0], 999);
    assert.notEqual(ports[1], 999);
    for (const [i, dport] of [30_007, 30_008].entries()) {
      const answer = packets
        .from(pod!.addresses.v4, clients.v4)
        .tcp({ sport: 8080, dport: ports[i]!, syn: true, ack: true });
      const tcp = packets.egress(answer).packet.layers.find(({ kind }) => kind === 'tcp')!;
      assert.deepEqual('sport' in tcp && [tcp.sport, tcp.dport], [dport, 999]);
    }
  });

  test('loadBalancerSourceRanges restrict clients at the load balancer address', () => {
    const address = '198.51.100.9';
    const service = (...sourceRanges: string[]) => ({
      ...row(
        [
          { kind: 'LoadBalancer', address, port: 80 },
          { kind: 'NodePort', address: packets.node, port: 30_010 },
        ],
        [{ address: remotes[0]!, port: 8080 }],
        { key: 'ranged' },
      ),
      sourceRanges,
    });
    const enters = (from: string, to = address, dport = 80) => {
      const syn = packets.from(from, to).tcp({ sport: ++sport, dport, syn: true });
      return packets.ingress(syn).verdict === 'send';
    };
    const seen = () => ['198.18.1.1', '198.18.2.2', '198.19.0.1'].map((from) => enters(from));
    world.apply(service());
    assert.deepEqual(seen(), [true, true, true]);
    world.apply(service('198.18.1.0/24', '198.19.0.1/32'));
    const counted = packets.drops(() => assert.deepEqual(seen(), [true, false, true]));
    assert.deepEqual(counted, { 'the client is not in loadBalancerSourceRanges': 1 });
    assert.ok(enters('198.18.2.2', packets.node, 30_010), 'the NodePort is for everybody');
    assert.equal(world.entriesOf('source_ranges'), 3);

    world.restart();
    world.serveOutside();
    assert.deepEqual(seen(), [true, false, true], 'also before the next agent has read anything');
    const next = service('198.18.2.0/24');
    world.apply(next);
    assert.deepEqual(seen(), [false, true, false], 'ranges hold as soon as their row is known');
    world.datapath.services.prune([next]);
    assert.deepEqual(seen(), [false, true, false]);
    assert.equal(world.entriesOf('source_ranges'), 2);

    // The object has lost the frontend, and the next agent leaves it until all rows are known.
    world.restart();
    world.serveOutside();
    const moved = { ...next, sourceRanges: [], frontends: next.frontends.slice(1) };
    world.apply(moved);
    assert.deepEqual(seen(), [false, true, false], 'what is left of the row keeps its ranges');
    world.datapath.services.prune([moved]);
    assert.equal(world.entriesOf('source_ranges'), 0);
    world.datapath.services.remove(['ranged']);
  });

  test('loadBalancerSourceRanges apply to the row for external packets while the other row changes', () => {
    const address = '198.51.100.10';
    const service = (scope: 'everybody' | 'outside', sourceRanges: string[]) => ({
      ...row(
        [{ kind: 'LoadBalancer', address, port: 80 }],
        [{ address: remotes[0]!, port: 8080 }],
        {
          key: scope === 'outside' ? 'pair/outside' : 'pair',
        },
      ),
      ...{ scope, sourceRanges },
    });
    const enters = (from: string) => {
      const syn = packets.from(from, address).tcp({ sport: ++sport, dport: 80, syn: true });
      return packets.ingress(syn).verdict === 'send';
    };
    const seen = () => [enters('198.18.1.1'), enters('198.18.2.2')];
    const scopes = ['everybody', 'outside'] as const;
    const both = (...ranges: string[]) => scopes.map((scope) => service(scope, ranges));
    for (const gone of ['pair', 'pair/outside']) {
      world.apply(...both('198.18.1.0/24'));
      assert.deepEqual(seen(), [true, false]);
      world.apply(...both());
      assert.deepEqual(seen(), [true, true], 'ranges are taken from both rows');
      world.apply(...both('198.18.2.0/24'));
      assert.deepEqual(seen(), [false, true], 'ranges are given to both rows');
      world.restart();
      world.serveOutside();
      assert.deepEqual(seen(), [false, true]);
      world.apply(...both('198.18.2.0/24'));
      world.datapath.services.remove([gone]);
      assert.deepEqual(seen(), [false, true], `${gone} is removed, the other row keeps its ranges`);
    }
    world.datapath.services.remove(['pair', 'pair/outside']);
    assert.equal(world.entriesOf('source_ranges'), 0);
  });

  test('a change of loadBalancerSourceRanges does not end open connections', () => {
    const address = '198.51.100.11';
    for (const protocol of ['TCP', 'UDP'] as const) {
      const service = (...sourceRanges: string[]) => ({
        ...row(
          [{ kind: 'LoadBalancer', address, port: 80 }],
          [{ address: remotes[0]!, port: 8080 }],
          {
            ...{ key: `existing ${protocol}`, protocol },
          },
        ),
        sourceRanges,
      });
      const send = (from: number, flags: object) => {
        const header = packets.from('198.18.2.2', address);
        const ends = { sport: from, dport: 80 };
        const packet = protocol === 'TCP' ? header.tcp({ ...ends, ...flags }) : header.udp(ends);
        return packets.ingress(packet).verdict;
      };
      world.apply(service());
      const port = ++sport;
      assert.equal(send(port, { syn: true }), 'send');
      world.apply(service('198.18.1.0/24'));
      assert.equal(send(port, { ack: true }), 'send', protocol);
      assert.equal(send(++sport, { syn: true }), 'drop', protocol);
      world.datapath.services.remove([`existing ${protocol}`]);
    }
  });

  test('drops are reported as they happen while they are watched', async () => {
    world.apply(packets.service(30_009, []));
    const notices: DropNotice[] = [];
    const watch = world.datapath.drops.watch((drop) => notices.push(drop));
    goes(30_009, 'tcp', '198.18.7.7', 4321);
    await eventually('the drop is reported', () => notices.length > 0);
    watch[Symbol.dispose]();
    goes(30_009, 'tcp');
    assert.deepEqual(notices, [
      {
        reason: 'no endpoints',
        ifindex: world.node.link('eth0').index,
        protocol: 'TCP',
        source: '198.18.7.7',
        sourcePort: 4321,
        destination: packets.node,
        destinationPort: 30_009,
        length: 54,
      },
    ]);
  });

  test('a larger flow table keeps the flows, and one that is too small for them starts empty', () => {
    const [one] = world.lab.nodes[1]!.pods;
    const service = packets.service(30_009, [one!.addresses.v4]);
    world.apply(service);
    using server = world.listener(one!, 4, 8080);
    using client = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(client.connect(packets.node, 30_009), 'ok');
    using accepted = server.accept();
    assert.equal(world.datapath.nat.status().maxFlows, sizes.flows - 1);
    const flows = 4 * sizes.flows;
    world.restart({ sizes: { ...sizes, flows } });
    world.apply(service);
    world.datapath.services.prune([service]);
    world.serveOutside();
    assert.equal(world.datapath.nat.status().maxFlows, flows - 1);
    assert.equal(client.send('still here'), 'ok');
    assert.equal(accepted.receive().text, 'still here');

    world.restart({ sizes: { ...sizes, flows: 10 } });
    world.apply(service);
    world.datapath.services.prune([service]);
    world.serveOutside();
    const { flows: left, maxFlows } = world.datapath.nat.status();
    assert.deepEqual([left, maxFlows], [0, 9], 'what does not fit is given up');
    using later = world.socket(world.lab.underlay, 4, 'tcp');
    assert.equal(later.connect(packets.node, 30_009), 'ok');
    client.send('not known any more');
    assert.throws(() => client.receive(), { code: 'ECONNRESET' });
  });
});
