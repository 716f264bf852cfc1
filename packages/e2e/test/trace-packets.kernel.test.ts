// Compares the predictions of `heddle trace` for packets at the node's network interfaces with the
// kernel: the same packets, external and from pods, arrive exactly as predicted.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { heddle } from '@heddle/cli/testing/heddle';
import {
  type Ends,
  errorAbout,
  type IcmpErrorKind,
  inverseOf,
  type PacketPosition,
  packetOf,
  type TcpFlag,
  type Trace,
  type TraceProtocol,
  type TraceRequest,
  trace,
} from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import { eth, type LabHost, Packet, startBackend, Tap } from '@heddle/lab';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
type IpVersion = (typeof ipVersions)[number];
const protocols = ['tcp', 'udp', 'sctp'] as const;
const externals = { v4: '198.51.100.9', v6: 'fd00:198:51:100::9' } as const;
const balancers = { v4: '198.51.100.10', v6: 'fd00:198:51:100::10' } as const;

/** The NodePorts, and the last parts of ClusterIPs. */
const nodePorts = {
  ...{ here: 30_481, there: 30_482, local: 30_483, denied: 30_484 },
  ...{ near: 30_485, sticky: 30_486, hashed: 30_487, any: 30_488 },
} as const;
type Name = keyof typeof nodePorts;

describe('heddle trace predicts the path of packets', () => {
  let agentLab: ManifestLab;
  let outside: LabHost;
  let taps: { readonly outside: Tap; readonly here: Tap; readonly there: Tap };
  let port = 40_000;

  before(async () => {
    agentLab = new ManifestLab('trace-packets', { nodes: 2, podsPerNode: 1, outside: 1 });
    const { lab } = agentLab;
    outside = lab.outside[0]!;
    for (const end of ipVersions) {
      lab.routeTo(agentLab.node, externals[end]);
      lab.routeTo(agentLab.node, balancers[end]);
    }
    await Promise.all(lab.pods.map((pod) => startBackend(pod, { tcp: [8080], udp: [8080] })));
    taps = {
      outside: Tap.open(outside, 'eth0'),
      here: Tap.open(lab.pods[0]!, 'eth0'),
      there: Tap.open(lab.pods[1]!, 'eth0'),
    };
    await agentLab.start();
    const ports = (nodePort: number) =>
      protocols.map((name) => ({
        ...{ name, port: 80, targetPort: 8080, nodePort },
        protocol: name.toUpperCase(),
      }));
    const objects = (
      name: Name,
      numbers: readonly number[],
      spec: object = {},
      more: Readonly<Record<string, unknown>> = {},
    ) => [
      service(
        name,
        [`10.96.9.${nodePorts[name] % 100}`, `fd00:96::9:${nodePorts[name] % 100}`],
        {
          ...{ type: 'NodePort', ipFamilyPolicy: 'RequireDualStack' },
          ...{ ports: ports(nodePorts[name]), ...spec },
        },
        more,
      ),
      ...ipVersions.map((end) => {
        const backends = numbers.map((number) => {
          const pod = lab.pods[number]!;
          return endpoint(pod.addresses[end], {}, { nodeName: pod.node.name });
        });
        return slice(name, backends, {
          name: `${name}-${end}`,
          ports: protocols.map((each) => ({
            ...{ name: each, port: 8080, protocol: each.toUpperCase() },
          })),
        });
      }),
    ];
    await agentLab.apply(
      'services.yaml',
      ...objects('here', [0], { externalIPs: [externals.v4, externals.v6] }),
      ...objects('there', [1]),
      ...objects('near', [0, 1], { externalTrafficPolicy: 'Local' }),
      ...objects('sticky', [0, 1], { sessionAffinity: 'ClientIP' }),
      ...objects('hashed', [0, 1], {}, { annotations: { 'heddle.io/algorithm': 'maglev' } }),
      ...objects('any', [0, 1]),
      ...objects('local', [1], { externalTrafficPolicy: 'Local' }),
      ...objects(
        'denied',
        [0],
        { type: 'LoadBalancer', loadBalancerSourceRanges: ['192.0.2.0/24', '2001:db8::/32'] },
        {
          status: { loadBalancer: { ingress: ipVersions.map((end) => ({ ip: balancers[end] })) } },
        },
      ),
    );
  });
  after(() => {
    for (const tap of Object.values(taps ?? {})) tap[Symbol.dispose]();
    agentLab?.[Symbol.dispose]();
  });

  /** Returns a dump of the node. */
  const snapshot = () => openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
  const traced = async (request: TraceRequest): Promise<Trace> => trace(await snapshot(), request);

  /** Opens a connection of the external client from a new port. */
  function connection(
    name: Name,
    protocol: TraceProtocol,
    end: IpVersion,
    { to, port: at } = { to: agentLab.node.addresses[end], port: nodePorts[name] as number },
  ) {
    const request = {
      ...{ from: outside.addresses[end], to, port: at },
      ...{ protocol, sourcePort: ++port },
    } as const;
    const ends: Ends = {
      ...{ source: request.from, sourcePort: port },
      ...{ destination: request.to, destinationPort: request.port },
    };
    return { request, ends };
  }

  /** Sends a packet from a host through its router. */
  function send(from: LabHost, tap: Tap, packet: Packet): void {
    tap.send(packet.within(eth(from.firstHop)));
  }

  /** Returns the packet without the fields that routers change. */
  function bare(packet: Packet): string {
    let own = new Packet({ ...packet, layers: packet.layers.filter(({ kind }) => kind !== 'eth') });
    if (own.layer('ipv4')) own = own.with('ipv4', { ttl: 1 });
    else if (own.layer('ipv6')) own = own.with('ipv6', { hopLimit: 1 });
    return `${own}`;
  }

  /** Waits until the predicted packet arrives at a host. */
  function arrives(tap: Tap, { verdict }: Trace): void {
    assert.ok(verdict.frame, verdict.text);
    const predicted = Packet.parse(Buffer.from(verdict.frame, 'hex'));
    tap.find(
      `the predicted packet:\n${predicted}\n`,
      ({ direction, packet }) => direction === 'in' && bare(packet) === bare(predicted),
    );
  }

  const hooksOf = ({ hooks }: Trace) => hooks.map(({ hook }) => hook);

  for (const end of ipVersions) {
    for (const protocol of protocols) {
      for (const name of ['here', 'there'] as const) {
        test(`a connection with a pod ${name}: first packet, reply, later packets and ICMP errors, ${protocol} ${end}`, async () => {
          const pod = agentLab.lab.pods[name === 'here' ? 0 : 1]!;
          const tap = taps[name];
          const { request, ends } = connection(name, protocol, end);
          const fromOutside = (position: PacketPosition, flags?: readonly TcpFlag[]) =>
            send(outside, taps.outside, packetOf(protocol, ends, position, flags));

          const before = await snapshot();
          const first = trace(before, request);
          const answer = trace(before, { ...request, reply: true });
          assert.equal(first.verdict.outcome, 'translated');
          assert.equal(first.verdict.address, pod.addresses[end]);
          assert.deepEqual(
            hooksOf(first),
            name === 'here' ? ['node_ingress@eth0'] : ['node_ingress@eth0', 'node_egress@eth0'],
          );
          fromOutside('first');
          arrives(tap, first);

          // Checks the client's address at the backend, which so far only the traces show.
          const seen = Packet.parse(Buffer.from(first.verdict.frame!, 'hex'));
          const ip = seen.layer('ipv4') ?? seen.layer('ipv6');
          const ports = seen.layer(protocol)!;
          const beyond: Ends = {
            ...{ source: ip!.src, sourcePort: ports.sport },
            ...{ destination: ip!.dst, destinationPort: ports.dport },
          };
          assert.equal(
            beyond.source,
            name === 'here' ? outside.addresses[end] : agentLab.node.addresses[end],
          );
          const back = (position: PacketPosition, flags?: readonly TcpFlag[]) =>
            send(pod, tap, packetOf(protocol, inverseOf(beyond), position, flags));
          assert.equal(answer.verdict.outcome, 'translated');
          assert.deepEqual(hooksOf(answer).slice(hooksOf(first).length), [
            ...(name === 'here' ? ['stack'] : ['node_ingress@eth0']),
            'node_egress@eth0',
          ]);
          back('answer');
          arrives(taps.outside, answer);

          const flags = protocol === 'tcp' ? { flags: ['psh', 'ack'] as const } : {};
          const established = await snapshot();
          const more = trace(established, { ...request, flow: true, ...flags });
          assert.equal(more.question.flow!.client, outside.addresses[end]);
          assert.equal(more.verdict.outcome, 'translated');
          fromOutside('later', flags.flags);
          arrives(tap, more);

          const moreBack = trace(established, { ...request, flow: true, reply: true, ...flags });
          back('later', flags.flags);
          arrives(taps.outside, moreBack);

          const errors: readonly IcmpErrorKind[] = ['too-large', 'time-exceeded'];
          for (const error of errors) {
            const about = packetOf(protocol, inverseOf(ends), 'later');
            const there = trace(established, { ...request, flow: true, error });
            assert.equal(there.verdict.outcome, 'translated', there.verdict.text);
            send(outside, taps.outside, errorAbout(error, about, inverseOf(ends)));
            arrives(tap, there);

            const here = trace(established, { ...request, flow: true, reply: true, error });
            assert.equal(here.verdict.outcome, 'translated', here.verdict.text);
            send(pod, tap, errorAbout(error, packetOf(protocol, beyond, 'later'), beyond));
            arrives(taps.outside, here);
          }
        });
      }

      test(`dropped packets and their reasons, ${protocol} ${end}`, async () => {
        for (const [name, reason] of [
          ['local', 'DROP_NOT_LOCAL'],
          ['denied', 'DROP_SOURCE_RANGE'],
        ] as const) {
          const { request, ends } = connection(name, protocol, end);
          const to = name === 'local' ? {} : { to: balancers[end], port: 80 };
          const found = await traced({ ...request, ...to });
          assert.equal(found.verdict.outcome, 'dropped');
          assert.equal(found.verdict.reason!.name, reason);
          // A trace of the reply reports why there is none.
          assert.deepEqual(
            (await traced({ ...request, ...to, reply: true })).verdict,
            found.verdict,
          );
          const { address: destination, port: destinationPort } = found.question;
          const packet = packetOf(protocol, { ...ends, destination, destinationPort }, 'first');
          await drops(() => send(outside, taps.outside, packet));
        }
      });
    }

    test(`the backend by policy, hash, affinity and random choice, and other addresses, ${end}`, async () => {
      const tapOf = ({ verdict }: Trace) =>
        verdict.address === agentLab.lab.pods[0]!.addresses[end] ? taps.here : taps.there;
      // Each new flow uses the next SNAT port, so a prediction is valid only for the next flow.
      const follow = async (request: TraceRequest) => {
        const found = await traced(request);
        assert.equal(found.verdict.outcome, 'translated', found.verdict.text);
        const { address: destination, port: destinationPort, sourcePort } = found.question;
        const ends = { source: request.from, sourcePort, destination, destinationPort };
        send(outside, taps.outside, packetOf('udp', ends, 'first'));
        return found;
      };
      const hashed = new Set<string>();
      for (let i = 0; i < 12; i++) {
        const found = await follow(connection('hashed', 'udp', end).request);
        assert.equal(found.verdict.alternatives, undefined);
        arrives(tapOf(found), found);
        hashed.add(found.verdict.address!);
      }
      assert.equal(hashed.size, 2, 'the ports distinguish connections');

      const near = await follow(connection('near', 'udp', end).request);
      assert.equal(near.verdict.address, agentLab.lab.pods[0]!.addresses[end]);
      arrives(taps.here, near);

      const external = { ...connection('here', 'udp', end).request, to: externals[end], port: 80 };
      arrives(taps.here, await follow(external));

      // One of the two, because the kernel draws its own random number.
      const any = await follow(connection('any', 'udp', end).request);
      const possible = [any.verdict, ...any.verdict.alternatives!].map(({ address }) => address!);
      assert.deepEqual(
        possible.toSorted(),
        agentLab.lab.pods.map(({ addresses }) => addresses[end]).toSorted(),
      );

      const { request } = connection('sticky', 'udp', end);
      await follow(request);
      await agentLab.until('the client to be remembered', async () => {
        const found = trace(await snapshot(), { ...request, sourcePort: ++port });
        return found.verdict.alternatives === undefined;
      });
      const remembered = await follow({ ...request, sourcePort: ++port });
      assert.ok(
        remembered.hooks[0]!.steps.some(
          (step) => step.kind === 'entry' && /^this client had backend/.test(step.meaning ?? ''),
        ),
      );
      arrives(tapOf(remembered), remembered);

      const other = { ...request, to: externals[end], port: 81 };
      const unknown = await traced(other);
      assert.equal(unknown.verdict.reason?.name, 'DROP_UNKNOWN_PORT');
      const ends = {
        source: request.from,
        sourcePort: port,
        destination: other.to,
        destinationPort: 81,
      };
      await drops(() => send(outside, taps.outside, packetOf('udp', ends, 'first')));
    });

    test(`a TCP segment without a flow is reset at an external address, ${end}`, async () => {
      const { request, ends } = connection('here', 'tcp', end, { to: externals[end], port: 80 });
      for (const flags of [['ack'], ['fin', 'ack']] as const) {
        const found = await traced({ ...request, flags });
        assert.equal(found.verdict.outcome, 'rejected');
        assert.equal(found.verdict.reason!.name, 'DROP_NO_FLOW');
        assert.match(found.verdict.text, /^the packet is answered with a TCP reset: /);
        send(outside, taps.outside, packetOf('tcp', ends, 'first', flags));
        arrives(taps.outside, found);
      }
      const reset = await traced({ ...request, flags: ['rst'] });
      assert.equal(reset.verdict.outcome, 'dropped');
      await drops(() => send(outside, taps.outside, packetOf('tcp', ends, 'first', ['rst'])));
    });

    test(`a TCP segment without a flow goes to the stack at a node's address, ${end}`, async () => {
      const { request, ends } = connection('here', 'tcp', end);
      for (const flags of [['ack'], ['fin', 'ack'], ['rst']] as const) {
        const found = await traced({ ...request, flags });
        assert.equal(found.verdict.outcome, 'passed');
        assert.deepEqual(hooksOf(found), ['node_ingress@eth0', 'stack']);
      }
      // The stack has no such connection either, so it replies with a reset.
      send(outside, taps.outside, packetOf('tcp', ends, 'first', ['ack']));
      taps.outside.find('a reset of the stack', ({ direction, packet }) => {
        const { src } = packet.layer('ipv4') ?? packet.layer('ipv6') ?? {};
        const tcp = packet.layer('tcp');
        return (
          direction === 'in' &&
          src === request.to &&
          tcp?.rst === true &&
          tcp.dport === request.sourcePort
        );
      });
    });

    test(`echo requests, ${end}`, async () => {
      const from = outside.addresses[end];
      const ends = (to: string): Ends => ({
        ...{ source: from, sourcePort: 0, destination: to, destinationPort: 0 },
      });
      const service = await traced({ from, to: externals[end], protocol: 'icmp' });
      assert.equal(service.verdict.outcome, 'answered');
      send(outside, taps.outside, packetOf('icmp', ends(externals[end]), 'first'));
      arrives(taps.outside, service);

      // The node's stack replies for its own addresses.
      const to = agentLab.node.addresses[end];
      const node = await traced({ from, to, protocol: 'icmp' });
      assert.equal(node.verdict.outcome, 'passed');
      assert.deepEqual(hooksOf(node), ['node_ingress@eth0', 'stack']);
      send(outside, taps.outside, packetOf('icmp', ends(to), 'first'));
      taps.outside.find(
        'an answer of the node',
        ({ direction, packet }) =>
          direction === 'in' &&
          (packet.layer('ipv4') ?? packet.layer('ipv6'))?.src === to &&
          /^echo-reply$/.test((packet.layer('icmp') ?? packet.layer('icmpv6'))?.type ?? ''),
      );
    });

    test(`packets that a pod sends, ${end}`, async () => {
      const pod = agentLab.pod(0);
      const from = pod.addresses[end];
      for (const [to, protocol, hooks] of [
        [outside.addresses[end], 'udp', ['stack', 'node_egress@eth0']],
        [outside.addresses[end], 'icmp', ['stack', 'node_egress@eth0']],
        [outside.addresses[end], 'sctp', ['stack', 'node_egress@eth0']],
        [agentLab.node.addresses[end], 'icmp', ['stack']],
      ] as const) {
        const request = protocol === 'icmp' ? {} : { port: 9 };
        const found = await traced({ from, to, protocol, at: 'pod', ...request });
        assert.equal(found.verdict.outcome, 'passed');
        assert.deepEqual(hooksOf(found), hooks);
        assert.match(found.notes[0]!, /no program at the interfaces of pods/);
        if (to !== outside.addresses[end]) continue;
        const sourcePort = protocol === 'icmp' ? 0 : found.question.sourcePort;
        const ends = {
          source: from,
          sourcePort,
          destination: to,
          destinationPort: request.port ?? 0,
        };
        send(pod, taps.here, packetOf(protocol, ends, 'first'));
        arrives(taps.outside, found);
      }
      // Without a socket call a pod's packet is not translated: it leaves the node with the
      // service's address.
      using wire = Tap.open(agentLab.node, 'eth0');
      const to = `${end === 'v4' ? '10.96.9.' : 'fd00:96::9:'}${nodePorts.there % 100}`;
      const found = await traced({ from, to, port: 80, protocol: 'udp', at: 'pod' });
      assert.equal(found.verdict.outcome, 'passed');
      assert.equal(found.verdict.address, to);
      const ends = { source: from, sourcePort: 50_123, destination: to, destinationPort: 80 };
      send(pod, taps.here, packetOf('udp', ends, 'first'));
      const predicted = Packet.parse(Buffer.from(found.verdict.frame!, 'hex'));
      wire.find(
        'the packet on the wire',
        ({ direction, packet }) => direction === 'out' && bare(packet) === bare(predicted),
      );
    });
  }

  /** Checks that the packet that `work` sends is counted as one drop. */
  async function drops(work: () => void): Promise<void> {
    const count = async () =>
      (await agentLab.status()).drops.reduce((sum, { count }) => sum + count, 0);
    const before = await count();
    work();
    await agentLab.until('drops to be counted', async () => (await count()) >= before + 1);
    assert.equal(await count(), before + 1);
  }

  test('packets that XDP sends back from the node', async () => {
    await agentLab.kill();
    await agentLab.start('--xdp', 'generic');
    for (const end of ipVersions) {
      for (const protocol of protocols) {
        const { request, ends } = connection('there', protocol, end);
        const now = await snapshot();
        const first = trace(now, request);
        assert.deepEqual(hooksOf(first), ['node_xdp_generic@eth0']);
        assert.equal(first.hooks[0]!.same, true);
        const answer = trace(now, { ...request, reply: true });
        assert.deepEqual(hooksOf(answer), ['node_xdp_generic@eth0', 'node_xdp_generic@eth0']);
        send(outside, taps.outside, packetOf(protocol, ends, 'first'));
        arrives(taps.there, first);
        const seen = Packet.parse(Buffer.from(first.verdict.frame!, 'hex'));
        const beyond: Ends = {
          ...{ source: ends.destination, sourcePort: seen.layer(protocol)!.sport },
          ...{ destination: first.verdict.address!, destinationPort: first.verdict.port! },
        };
        send(agentLab.lab.pods[1]!, taps.there, packetOf(protocol, inverseOf(beyond), 'answer'));
        arrives(taps.outside, answer);

        // Other packets continue to node_ingress.
        const here = connection('here', protocol, end);
        const found = trace(now, here.request);
        assert.deepEqual(hooksOf(found), ['node_xdp_generic@eth0', 'node_ingress@eth0']);
        send(outside, taps.outside, packetOf(protocol, here.ends, 'first'));
        arrives(taps.here, found);

        const local = connection('local', protocol, end);
        const dropped = trace(now, local.request);
        assert.equal(dropped.verdict.reason?.name, 'DROP_NOT_LOCAL');
        assert.deepEqual(hooksOf(dropped), ['node_xdp_generic@eth0']);
        await drops(() => send(outside, taps.outside, packetOf(protocol, local.ends, 'first')));
      }
    }
    await agentLab.kill();
    await agentLab.start();
  });

  test('heddle trace prints the path hook by hook', async () => {
    const { request, ends } = connection('there', 'tcp', 'v4');
    const first = await traced(request);
    send(outside, taps.outside, packetOf('tcp', ends, 'first'));
    arrives(taps.there, first);
    const args = [
      ...['trace', '--from', request.from, '--to', request.to, '--port', `${request.port}`],
      ...['--flow', '--reply', '--flags', 'psh,ack', '--socket', agentLab.socket],
    ];
    const { code, stdout, stderr } = await heddle(args);
    assert.deepEqual([code, stderr], [0, '']);
    const node = agentLab.node.addresses.v4;
    const pod = agentLab.lab.pods[1]!.addresses.v4;
    assert.match(
      stdout,
      new RegExp(
        `^the backend's reply in flow \\d+, ${request.from}:${request.sourcePort} to `,
        'm',
      ),
    );
    assert.match(
      stdout,
      /^node_ingress@eth0 \(program \d+, tag [0-9a-f]{16}, as in the object\)$/m,
    );
    assert.match(stdout, /^node_egress@eth0 \(program \d+, tag [0-9a-f]{16}, as in the object\)$/m);
    assert.match(stdout, /^ {2}it may belong to flow \d+, as a reply$/m);
    assert.match(
      stdout,
      new RegExp(
        `^ {2}flow \\d+ is ${request.from}:\\d+ to ${node}:30482 at ${pod}:8080, TCP`,
        'm',
      ),
    );
    assert.match(
      stdout,
      new RegExp(
        `^verdict: translated; the packet is sent out of eth0 to ${request.from}:\\d+, from ${node}:30482$`,
        'm',
      ),
    );
    assert.match(stdout, /^ {2}tcp 30482 > \d+ PSH\+ACK seq 0 window 65535$/m);
  });

  test('a trace with contradictory or unknown arguments is refused with the reason', async () => {
    const now = await snapshot();
    const from = outside.addresses.v4;
    const to = agentLab.node.addresses.v4;
    const nobody = '203.0.113.250';
    for (const [request, exitCode, message] of [
      [{ protocol: 'udp' }, 2, /has a port \(give it with --port\)/],
      [{ protocol: 'icmp', reply: true }, 2, /only an echo request is traced/],
      [{ protocol: 'udp', port: 9, flags: ['ack'] }, 2, /only tcp has flags/],
      [{ protocol: 'tcp', port: 9, flags: ['ack'], error: 'too-large' }, 2, /has no flags/],
      [{ protocol: 'tcp', port: 9, flow: true, at: 'socket' }, 2, /belong to packets/],
      [{ protocol: 'tcp', port: 9, reply: true, at: 'pod' }, 2, /external clients only/],
      [{ protocol: 'tcp', port: 9, from: nobody, at: 'pod' }, 1, /no network namespace of this/],
      [
        { protocol: 'tcp', port: 9, flow: true },
        1,
        /no flow from it to .*:9, TCP \(heddle flow list/,
      ],
    ] as const) {
      assert.throws(() => trace(now, { from, to, ...request }), { exitCode, message });
    }
    const { code, stdout, stderr } = await heddle([
      ...['trace', '--from', from, '--to', to, '--port', '9', '--flags', 'ack,tcp'],
    ]);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /It must be some of fin, syn, rst, psh, ack, with commas between/);
  });
});
