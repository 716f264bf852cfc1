// Pods with interfaces of netkit, beside one of veth.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { BpfLink, features, LinuxBpf } from '@heddle/ebpf';
import { BlockingSocket, LabHost, type Packet, pattern, Tap } from '@heddle/lab';
import { readDirectory } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { MasqueradeStage } from '../../testing/masquerade.ts';
import { PodWorld } from '../../testing/pod-world.ts';
import { row } from '../../testing/rows.ts';
import { currentPins } from '../core/pinned-maps.ts';

const bpf = new LinuxBpf(nodePlatform(() => {}));
const skip =
  !features(bpf).has('link/netkit') && 'the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)';
const families = { v4: 4, v6: 6 } as const;
type End = keyof typeof families;
const ends = ['v4', 'v6'] as const;
const port = 8080;
const serviceAddresses = { v4: '10.96.0.9', v6: 'fd00:10:96::9' } as const;
/** Larger than a packet before its segmentation. */
const large = 200_000;

describe('pods with netkit', { skip }, () => {
  let world: PodWorld;
  let stage: MasqueradeStage;
  let veth: LabHost;
  let netkits: LabHost[];
  let outside: LabHost;
  before(() => {
    world = new PodWorld('netkit', 3, { lab: { outside: 1, netkitFrom: 2 } });
    stage = new MasqueradeStage(world, 'v4');
    veth = world.pod(0);
    netkits = [world.pod(1), world.pod(2)];
    outside = world.lab.outside[0]!;
  });
  after(() => world?.[Symbol.dispose]());

  const open = (at: LabHost, protocol: 'tcp' | 'udp', end: End, timeoutMs = 30_000) =>
    at.enter(() =>
      BlockingSocket.open(world.platform, { protocol, family: families[end], timeoutMs }),
    );
  const any = (end: End) => ({ address: end === 'v4' ? '0.0.0.0' : '::', port });
  const node = <Result>(work: () => Result) => world.node.enter(work);
  const pod = (number: number) => world.of(world.pod(number));
  const set = (number: number) => node(() => world.datapath.pods.set(pod(number)));
  const check = () => node(() => world.datapath.integrity.checkAttachments());
  const pins = () =>
    readDirectory(world.platform, currentPins(world.node.bpffs).links)
      .map(({ name }) => name)
      .filter((name) => /_pod@/.test(name))
      .sort();
  const pinsOf = (...numbers: number[]) =>
    numbers
      .flatMap((number) => ['from_pod', 'to_pod'].map((name) => `${name}@${pod(number).ifindex}`))
      .sort();

  /** Sends data over TCP and a datagram from one host to another and back. Returns the address that the client has. */
  const converse = (from: LabHost, to: LabHost, end: End, at?: SocketAddress): string => {
    const address = at ?? { address: to.addresses[end], port };
    using listener = open(to, 'tcp', end);
    listener.bind(any(end));
    listener.listen();
    using client = open(from, 'tcp', end);
    client.connect(address);
    using server = listener.accept();
    const data = pattern(large);
    for (const [sender, receiver] of [
      [client, server],
      [server, client],
    ] as const) {
      for (let sent = 0; sent < large; sent += 50_000) {
        const part = data.subarray(sent, sent + 50_000);
        sender.send(part);
        const received: number[] = [];
        while (received.length < part.length) received.push(...receiver.receive());
        assert.deepEqual(Uint8Array.from(received), part);
      }
    }
    using receiver = open(to, 'udp', end);
    receiver.bind(any(end));
    using sender = open(from, 'udp', end);
    sender.connect(address);
    for (const size of [1, 1400, 5000]) {
      sender.send(data.subarray(0, size));
      const { bytes, from: peer } = receiver.receiveFrom();
      assert.deepEqual(bytes, data.subarray(0, size));
      receiver.send(bytes, peer);
      assert.deepEqual(sender.receive(), bytes);
    }
    return server.peerAddress.address;
  };
  const forwarded = () =>
    node(() => {
      const [names, values] = readFileSync('/proc/thread-self/net/snmp', 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('Ip:'))
        .map((line) => line.split(' '));
      return Number(values![names!.indexOf('ForwDatagrams')]);
    });

  for (const end of ends) {
    test(`they reach pods of both kinds, and these them, ${end}`, () => {
      const before = forwarded();
      for (const [from, to] of [
        [netkits[0]!, netkits[1]!],
        [netkits[0]!, veth],
        [veth, netkits[1]!],
      ] as const) {
        assert.equal(converse(from, to, end), from.addresses[end]);
      }
      // The stack forwards the fragments of large datagrams at most.
      if (end === 'v4') assert.equal(forwarded(), before);
    });

    test(`they reach their node, and it them, ${end}`, () => {
      converse(netkits[0]!, world.node, end);
      converse(world.node, netkits[0]!, end);
    });

    test(`they reach the outside with the node’s address, ${end}`, () => {
      assert.equal(converse(netkits[0]!, outside, end), world.node.addresses[end]);
    });

    test(`virtual machines in them reach services, and pods of netkit are backends, ${end}`, () => {
      const frontend = { address: serviceAddresses[end], port };
      const { name, netnsPath, addresses, platform } = netkits[0]!;
      const { cgroup } = world.lab.underlay;
      const machine = new LabHost(platform, { name, netnsPath, addresses, cgroup });
      for (const backend of [netkits[1]!, veth]) {
        const at = { address: backend.addresses[end], port };
        world.apply(
          row([frontend], [at]),
          row([frontend], [at], { protocol: 'UDP', key: `default/udp/${end}` }),
        );
        converse(machine, backend, end, frontend);
      }
    });
  }

  test('what they receive is limited', () => {
    const addresses = Object.values(world.pod(1).addresses);
    world.datapath.bandwidth.set({ addresses, egress: undefined, ingress: 80_000 });
    try {
      for (const from of [veth, netkits[1]!, world.node]) {
        const before = world.drops('rateLimited');
        using sender = open(from, 'udp', 'v4');
        sender.connect({ address: addresses[0]!, port: 9 });
        using receiver = open(netkits[0]!, 'udp', 'v4');
        receiver.bind({ address: '0.0.0.0', port: 9 });
        for (let i = 0; i < 50; i++) sender.send(new Uint8Array(1000));
        assert.ok(world.drops('rateLimited') > before, from.name);
      }
    } finally {
      world.datapath.bandwidth.remove(addresses);
    }
  });

  test('they send from their own address only', () => {
    using tap = Tap.open(netkits[0]!, 'eth0');
    const send = (frame: Packet) => assert.throws(() => tap.send(frame), { code: 'ENOBUFS' });
    const before = world.drops('invalidSource');
    const frame = stage
      .fromPod(1, world.pod(2).addresses.v4, { src: world.pod(0).addresses.v4 })
      .udp({ sport: 1, dport: 2 })
      .payload('forged');
    send(frame);
    assert.equal(world.drops('invalidSource'), before + 1);
    send(frame.with('eth', { src: '02:00:00:00:00:99' }));
    assert.equal(world.drops('invalidSource'), before + 2);
  });

  test('what other processes detach is found and attached again', () => {
    assert.deepEqual(check(), []);
    const { ifindex } = pod(2);
    const { links } = currentPins(world.node.bpffs);
    using link = BpfLink.openPinned(bpf, `${links}/from_pod@${ifindex}`);
    link.detach();
    const name = `programs of pods at interface ${ifindex}`;
    assert.deepEqual(check(), [{ kind: 'hook', name, problem: 'is not attached' }]);
    const repair = () => world.datapath.integrity.repair(check());
    assert.deepEqual(node(repair), { left: [], error: undefined });
    converse(netkits[0]!, netkits[1]!, 'v4');
  });

  test('the links of a pod go with it', () => {
    assert.deepEqual(pins(), pinsOf(1, 2));
    const { ifindex } = pod(1);
    world.datapath.pods.remove(ifindex);
    assert.deepEqual(pins(), pinsOf(2));
    set(1);
    assert.deepEqual(pins(), pinsOf(1, 2));
    assert.deepEqual(check(), []);
    assert.deepEqual(
      node(() => world.datapath.pods.problems([pod(0), pod(1)])),
      [[], []],
    );
    converse(netkits[0]!, netkits[1]!, 'v4');
  });

  test('the next agent takes over the links, and its programs replace the ones before', () => {
    world.restart();
    converse(netkits[0]!, netkits[1]!, 'v4');
    world.servePods();
    assert.deepEqual(check(), []);
    converse(netkits[0]!, netkits[1]!, 'v4');
    node(() => world.datapath.pods.prune(new Set([pod(1).ifindex])));
    assert.deepEqual(pins(), pinsOf(1));
    for (const number of [0, 2]) set(number);
    converse(netkits[0]!, netkits[1]!, 'v6');
  });
});
