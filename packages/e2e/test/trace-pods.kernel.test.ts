// Compares the predictions of `heddle trace` for packets of pods with the kernel, where Heddle is their
// network: pods of one node, of nodes on one link, and through a tunnel, services, and the world.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { DropEntry } from '@heddle/agent';
import { heddle } from '@heddle/cli/testing/heddle';
import { ControlClient } from '@heddle/control';
import {
  type Ends,
  inverseOf,
  packetOf,
  type Trace,
  type TraceRequest,
  trace,
} from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import { eth, type LabHost, type LabNode, type LabPod, Packet, Tap } from '@heddle/lab';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
type IpVersion = (typeof ipVersions)[number];
const protocols = ['tcp', 'udp'] as const;
/** Services by the place of their backend, and the last part of their ClusterIPs. */
const services = { here: 41, near: 42, far: 43 } as const;
const clusterIp = (name: keyof typeof services, end: IpVersion) =>
  `${end === 'v4' ? '10.96.9.' : 'fd00:96::9:'}${services[name]}`;

describe('heddle trace predicts the path of packets of pods', () => {
  let network: NodeNetworkLab;
  /** Two pods of the first node, one of a node on its link, one of a node behind a router. */
  let pods: Record<'client' | 'here' | 'near' | 'far', LabPod>;
  let outside: LabHost;
  const taps = new Map<LabHost, Tap>();
  let port = 42_000;

  before(async () => {
    network = new NodeNetworkLab('trace-pods', {
      nodes: 3,
      farFrom: 3,
      hasPods: false,
      outside: 1,
    });
    await network.start();
    const [one, two, three] = network.lab.nodes as [LabNode, LabNode, LabNode];
    pods = {
      ...{ client: await network.addPod(one), here: await network.addPod(one) },
      ...{ near: await network.addPod(two), far: await network.addPod(three) },
    };
    [outside] = network.lab.outside as [LabHost];
    for (const host of [...Object.values(pods), outside]) taps.set(host, Tap.open(host, 'eth0'));
    const ports = protocols.map((name) => ({
      name,
      port: 80,
      targetPort: 8080,
      protocol: name.toUpperCase(),
    }));
    for (const name of ['here', 'near', 'far'] as const) {
      network.add(
        service(name, [clusterIp(name, 'v4'), clusterIp(name, 'v6')], {
          ...{ ipFamilyPolicy: 'RequireDualStack', ports },
        }),
        ...ipVersions.map((end) =>
          slice(
            name,
            [endpoint(pods[name].addresses[end], {}, { nodeName: pods[name].node.name })],
            {
              name: `${name}-${end}`,
              ports: ports.map((each) => ({ ...each, port: 8080 })),
            },
          ),
        ),
      );
    }
    await network.until('the services to be programmed', async () => {
      const { rows, synced } = await network.status(one);
      return synced && rows.pending === 0 && rows.done >= 6;
    });
  });
  after(() => {
    for (const tap of taps.values()) tap[Symbol.dispose]();
    network?.[Symbol.dispose]();
  });

  const snapshot = (node: LabNode = network.node(1)) =>
    openDump({ socket: network.socketOf(node), bpffs: node.bpffs });
  const traced = async (request: TraceRequest): Promise<Trace> => trace(await snapshot(), request);

  /** Sends a packet from a host through its router. */
  function send(from: LabHost, packet: Packet): void {
    taps.get(from)!.send(packet.within(eth(from.firstHop)));
  }

  /** Returns the packet without the fields that routers change. */
  function bare(packet: Packet): string {
    let own = new Packet({ ...packet, layers: packet.layers.filter(({ kind }) => kind !== 'eth') });
    if (own.layer('ipv4')) own = own.with('ipv4', { ttl: 1 });
    else if (own.layer('ipv6')) own = own.with('ipv6', { hopLimit: 1 });
    return `${own}`;
  }

  /** Waits until the predicted packet arrives at a host. Returns it. */
  function arrives(at: LabHost, { verdict }: Trace): Packet {
    assert.ok(verdict.frame, verdict.text);
    const predicted = Packet.parse(Buffer.from(verdict.frame, 'hex'));
    taps
      .get(at)!
      .find(
        `the predicted packet:\n${predicted}\n`,
        ({ direction, packet }) => direction === 'in' && bare(packet) === bare(predicted),
      );
    return predicted;
  }

  /** Returns the hooks without the names of pod interfaces. */
  const hooksOf = ({ hooks }: Trace) =>
    hooks.map(({ hook }) => hook.replace(/@hd[0-9a-f]{13}$/, '@hd'));

  function endsOf(packet: Packet, protocol: 'tcp' | 'udp'): Ends {
    const ip = packet.layer('ipv4') ?? packet.layer('ipv6');
    const { sport, dport } = packet.layer(protocol)!;
    return {
      ...{ source: ip!.src, sourcePort: sport },
      ...{ destination: ip!.dst, destinationPort: dport },
    };
  }

  /** Sends the first packet of a connection of the client and the reply to it, as predicted. */
  async function exchange(
    protocol: 'tcp' | 'udp',
    to: string,
    receiver: LabHost,
    { end, toPort }: { end: IpVersion; toPort: number },
  ): Promise<{ first: Trace; answer: Trace; seen: Ends }> {
    const { client } = pods;
    const request = {
      ...{ from: client.addresses[end], to, port: toPort, protocol },
      ...({ at: 'pod', sourcePort: ++port } as const),
    };
    const now = await snapshot();
    const first = trace(now, request);
    const answer = trace(now, { ...request, reply: true });
    assert.ok(first.hooks.every(({ same }) => same ?? true));
    const ends = {
      ...{ source: request.from, sourcePort: port },
      ...{ destination: to, destinationPort: toPort },
    };
    send(client, packetOf(protocol, ends, 'first'));
    const seen = endsOf(arrives(receiver, first), protocol);
    // The lab's router knows no way back to the address of a pod.
    if (receiver === outside && seen.source === request.from) return { first, answer, seen };
    send(receiver, packetOf(protocol, inverseOf(seen), 'answer'));
    arrives(client, answer);
    return { first, answer, seen };
  }

  for (const end of ipVersions) {
    for (const protocol of protocols) {
      test(`between pods of one node, ${protocol} ${end}`, async () => {
        const to = pods.here.addresses[end];
        const { first, answer } = await exchange(protocol, to, pods.here, { end, toPort: 9 });
        assert.equal(first.verdict.outcome, 'passed');
        assert.match(
          first.verdict.text,
          /^the packet is sent into pod default\/pod\S+ \(hd[0-9a-f]{13}\) to .* unchanged$/,
        );
        assert.deepEqual(
          [hooksOf(first), hooksOf(answer)],
          [['from_pod@hd'], ['from_pod@hd', 'from_pod@hd']],
        );
        assert.equal(first.hooks[0]!.same, true);
      });

      test(`to a pod of a node on the link, ${protocol} ${end}`, async () => {
        const to = pods.near.addresses[end];
        const { first, answer } = await exchange(protocol, to, pods.near, { end, toPort: 9 });
        assert.equal(first.verdict.outcome, 'passed');
        assert.deepEqual(hooksOf(first), ['from_pod@hd', 'node_egress@eth0']);
        assert.deepEqual(hooksOf(answer).slice(2), ['node_ingress@eth0']);
      });

      test(`to a pod of another node through a tunnel, ${protocol} ${end}`, async () => {
        const to = pods.far.addresses[end];
        const { first, answer } = await exchange(protocol, to, pods.far, { end, toPort: 9 });
        assert.deepEqual(first.verdict.tunnel, { to: pods.far.node.addresses.v4, id: 1 });
        assert.match(
          first.verdict.text,
          /^the packet is sent through the tunnel to node3 \(198\.51\.100\.3, VXLAN 1\) to .* unchanged$/,
        );
        assert.deepEqual(
          [hooksOf(first), hooksOf(answer).slice(1)],
          [['from_pod@hd'], ['from_tunnel@heddle0']],
        );

        // The other node's half.
        const ends = {
          source: pods.client.addresses[end],
          sourcePort: ++port,
          destination: to,
          destinationPort: 9,
        };
        const other = trace(await snapshot(network.node(3)), {
          ...{ from: ends.source, to, port: 9, protocol, at: 'tunnel', sourcePort: port },
        });
        assert.deepEqual(hooksOf(other), ['from_tunnel@heddle0']);
        assert.match(other.verdict.text, /^the packet is sent into pod default\//);
        send(pods.client, packetOf(protocol, ends, 'first'));
        arrives(pods.far, other);
      });

      test(`to the world, masqueraded, ${protocol} ${end}`, async () => {
        const to = outside.addresses[end];
        const { first, seen } = await exchange(protocol, to, outside, { end, toPort: 443 });
        const isMasqueraded = end === 'v4';
        assert.equal(first.verdict.outcome, isMasqueraded ? 'translated' : 'passed');
        assert.deepEqual(hooksOf(first), ['from_pod@hd', 'node_egress@eth0']);
        assert.equal(seen.source === network.node(1).addresses[end], isMasqueraded);
        if (isMasqueraded) assert.match(first.verdict.text, / masqueraded as 192\.0\.2\.1:\d+$/);
      });

      for (const name of ['here', 'near', 'far'] as const) {
        test(`to a service whose backend is ${name}, ${protocol} ${end}`, async () => {
          const to = clusterIp(name, end);
          const { first } = await exchange(protocol, to, pods[name], { end, toPort: 80 });
          assert.equal(first.verdict.outcome, 'translated', first.verdict.text);
          assert.equal(first.verdict.address, pods[name].addresses[end]);
          assert.equal(first.verdict.port, 8080);
        });
      }
    }

    test(`an echo request, ${end}`, async () => {
      const from = pods.client.addresses[end];
      for (const to of [pods.here, pods.near, pods.far, outside]) {
        const ends = {
          source: from,
          sourcePort: 0,
          destination: to.addresses[end],
          destinationPort: 0,
        };
        const found = await traced({ from, to: ends.destination, protocol: 'icmp', at: 'pod' });
        send(pods.client, packetOf('icmp', ends, 'first'));
        arrives(to, found);
      }
    });

    test(`a forged source is dropped with the reason in words, ${end}`, async () => {
      const { client, here } = pods;
      const found = await traced({
        ...{
          from: 'default/'.concat(client.name),
          to: here.addresses[end],
          protocol: 'udp',
          port: 9,
        },
        spoof: outside.addresses[end],
      });
      assert.equal(found.verdict.outcome, 'dropped');
      assert.equal(found.verdict.reason!.name, 'DROP_INVALID_SOURCE');
      assert.match(found.verdict.text, /: the source address is invalid here$/);
      const count = async () =>
        (await network.status(network.node(1))).drops.reduce((sum, { count }) => sum + count, 0);
      const before = await count();
      using watcher = await ControlClient.connect(network.socketOf(network.node(1)));
      const seen: DropEntry[] = [];
      const watched = watcher.follow<DropEntry>((drop) => void seen.push(drop), 'drops.follow');
      watched.catch(() => {});
      const ends = {
        source: outside.addresses[end],
        sourcePort: 50_123,
        destination: here.addresses[end],
        destinationPort: 9,
      };
      await network.until('the drop to be counted and shown', async () => {
        send(client, packetOf('udp', ends, 'first'));
        return (await count()) > before && seen.length > 0;
      });
      assert.equal(seen[0]!.pod, `default/${client.name}`);
    });

    test(`a packet out of the tunnel with a source of no node is dropped, ${end}`, async () => {
      const found = await traced({
        ...{ from: outside.addresses[end], to: pods.here.addresses[end], protocol: 'udp', port: 9 },
        at: 'tunnel',
      });
      assert.equal(found.verdict.reason!.name, 'DROP_INVALID_SOURCE');
      assert.deepEqual(hooksOf(found), ['from_tunnel@heddle0']);
    });
  }

  test('heddle trace goes on at the node that the packet is sent to, by its dump', async () => {
    const dumps = [1, 2, 3].map((number) => `${network.socketOf(network.node(number))}.both`);
    for (const [i, file] of dumps.entries()) {
      const node = network.node(i + 1);
      const args = ['--socket', network.socketOf(node), '--bpffs', node.bpffs];
      const made = await heddle(['dump', file, ...args]);
      assert.equal(made.code, 0, made.stderr);
    }
    const run = async (to: string, then: number, ...more: string[]) => {
      const from = ['trace', '--from', `default/${pods.client.name}`, '--to', to, '--port', '80'];
      const files = ['--from-dump', dumps[0]!, '--then-dump', dumps[then - 1]!];
      const { code, stdout, stderr } = await heddle([...from, ...files, ...more]);
      assert.deepEqual([code, stderr], [0, '']);
      return stdout;
    };
    const hooks = (text: string) =>
      text.match(/^(?:from_pod|from_tunnel|node_ingress|connect4|connect6)(?=@|\b)/gm);
    for (const end of ipVersions) {
      const far = await run(pods.far.addresses[end], 3, '--at', 'pod');
      assert.deepEqual(hooks(far), ['from_pod', 'from_tunnel']);
      assert.match(far, /^verdict: passed; the packet is sent through the tunnel to node3 /m);
      assert.match(far, /^at the other node \(.*\):$/m);
      assert.match(far, /^verdict: passed; the packet is sent into pod default\//m);
      const near = await run(pods.near.addresses[end], 2, '--at', 'pod');
      assert.deepEqual(hooks(near), ['from_pod', 'node_ingress']);
      assert.match(near, /^verdict: passed; the packet is sent into pod default\//m);
      const called = await run(clusterIp('far', end), 3, '--at', 'socket');
      assert.deepEqual(hooks(called)!.slice(1), ['from_pod', 'from_tunnel']);
      assert.match(called, /^verdict: translated; /m);
      const elsewhere = await run(pods.far.addresses[end], 2, '--at', 'pod');
      assert.match(
        elsewhere,
        /^the path does not go on at the node of .*: .* is neither a pod nor an address of the other node$/m,
      );
      const { parts } = JSON.parse(
        await run(pods.far.addresses[end], 3, '--at', 'pod', '-o', 'json'),
      );
      assert.equal(parts.length, 2);
    }
  });

  test('heddle node list and get, and heddle status, show the paths to other nodes', async () => {
    const socket = network.socketOf(network.node(1));
    const table = await heddle(['node', 'list', '--socket', socket]);
    const [header, ...rows] = table.stdout.trimEnd().split('\n');
    assert.match(header!, /^NODE +ADDRESSES +RANGES +PATH +AGE +STATUS$/);
    const ranges = (node: number) => `10\\.244\\.${node}\\.0/24, fd00:10:244:${node}::/64`;
    for (const [i, address, path] of [
      [2, '192\\.0\\.2\\.2, fd00:192:0:2::2', 'direct'],
      [3, '198\\.51\\.100\\.3, fd00:198:51:100::3', 'tunnel'],
    ] as const) {
      const line = `^node${i} +${address} +${ranges(i)} +${path} +\\S+ +done$`;
      assert.match(rows[i - 2]!, new RegExp(line));
    }
    const far = await heddle(['node', 'get', 'node3', '--socket', socket]);
    assert.match(
      far.stdout,
      /^IPv6 path +through a tunnel to 198\.51\.100\.3: no IPv6 path without a router leads to /m,
    );
    const near = await heddle(['node', 'get', '192.0.2.2', '--socket', socket]);
    assert.match(
      near.stdout,
      /^IPv4 path +direct by 192\.0\.2\.2: 192\.0\.2\.2 is on the link of eth0$/m,
    );
    const none = await heddle(['node', 'get', 'node9', '--socket', socket]);
    assert.deepEqual([none.code, none.stdout], [1, '']);
    const status = await heddle(['status', '--socket', socket]);
    assert.match(status.stdout, /^nodes +2 other nodes: 1 direct, 1 through a tunnel$/m);
  });

  test('heddle trace prints the same from a dump as on the node', async () => {
    const file = `${network.socketOf(network.node(1))}.dump`;
    const socket = network.socketOf(network.node(1));
    // Flows of the tests before would expire between the two traces.
    const flushed = await heddle(['flow', 'flush', '--yes', '--socket', socket]);
    assert.equal(flushed.code, 0, flushed.stderr);
    const made = await heddle(['dump', file, '--socket', socket, '--bpffs', network.node(1).bpffs]);
    assert.equal(made.code, 0, made.stderr);
    const args = [
      ...['trace', '--from', `default/${pods.client.name}`, '--to', pods.far.addresses.v4],
      ...['--port', '80', '--at', 'pod'],
    ];
    const live = await heddle([...args, '--socket', socket]);
    const dumped = await heddle([...args, '--from-dump', file]);
    assert.deepEqual([live.code, live.stderr, dumped.code, dumped.stderr], [0, '', 0, '']);
    // A dump has another secret, and so other places of flows.
    const path = ({ stdout }: { stdout: string }) =>
      stdout.slice(stdout.indexOf('from_pod@')).replace(/ nat_index\[\d+\]/g, '');
    assert.equal(path(dumped), path(live));
    assert.match(
      dumped.stdout,
      /^from_pod@hd[0-9a-f]{13} \(program \d+, tag [0-9a-f]{16}, as in the object\)$/m,
    );
    assert.match(
      dumped.stdout,
      /^verdict: passed; the packet is sent through the tunnel to node3 \(198\.51\.100\.3, VXLAN 1\) to /m,
    );
  });
});
