import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type Packet, Tap } from '@heddle/lab';
import { filterProgram, removeFilter, removeQdisc } from '@heddle/netlink';
import { PodWorld } from '../../testing/pod-world.ts';
import { podFilters } from './pod-programs.ts';

describe('the pods of a node', () => {
  let world: PodWorld;
  beforeEach(() => {
    world = new PodWorld('pods', 3);
  });
  afterEach(() => world?.[Symbol.dispose]());

  const check = () => world.node.enter(() => world.datapath.integrity.checkAttachments());
  const repair = () => world.node.enter(() => world.datapath.integrity.repair(check()));
  const program = () =>
    world.node.configure((socket) => filterProgram(socket, podFilters[0].place));
  const pod = (number: number) => world.of(world.pod(number));
  const set = (number: number) => world.node.enter(() => world.datapath.pods.set(pod(number)));

  /** Returns true if the first pod's packets reach the second one past the node's stack. */
  const isPastStack = (family: 4 | 6) => {
    const end = family === 4 ? 'v4' : 'v6';
    const port = 8000 + family;
    const [from, to] = [world.pod(0), world.pod(1)];
    using inside = Tap.open(to, 'eth0');
    using outside = Tap.open(world.node, to.nodeLink);
    const receiver = world.receiver(to, family, port);
    const sender = world.socket(from, family, 'udp');
    assert.equal(sender.connect(to.addresses[end], port), 'ok');
    assert.equal(sender.send('hello'), 'ok');
    assert.equal(receiver.receive().text, 'hello');
    const isIt = ({ packet }: { packet: Packet }) => packet.layer('udp')?.dport === port;
    const { packet } = inside.find('the datagram', isIt);
    const ttl = packet.layer('ipv4')?.ttl ?? packet.layer('ipv6')?.hopLimit;
    assert.equal(ttl, 63, 'the node is a router');
    assert.equal(packet.layer('eth')!.dst, to.link('eth0').address);
    receiver[Symbol.dispose]();
    return !outside.drain().some(isIt);
  };

  test('packets between them bypass the stack, in both families', () => {
    assert.ok(isPastStack(4));
    assert.ok(isPastStack(6));
    world.datapath.pods.remove(pod(1).ifindex);
    assert.ok(!isPastStack(4), 'the stack has the route, too');
  });

  test('a pod without entries cannot send', () => {
    world.datapath.pods.remove(pod(0).ifindex);
    const sender = world.socket(world.pod(0), 4, 'udp');
    const receiver = world.receiver(world.pod(1), 4, 9000);
    sender.connect(world.pod(1).addresses.v4, 9000);
    sender.send('lost');
    set(0);
    sender.send('arrives');
    assert.equal(receiver.receive().text, 'arrives');
  });

  test('what other processes remove is found and attached again', () => {
    assert.deepEqual(check(), []);
    const name = `programs of pods at interface ${pod(1).ifindex}`;
    world.node.configure((socket) => removeQdisc(socket, { link: pod(1).ifindex, kind: 'clsact' }));
    assert.deepEqual(check(), [{ kind: 'hook', name, problem: 'is not attached' }]);
    assert.deepEqual(repair(), { left: [], error: undefined });
    world.node.configure((socket) => removeFilter(socket, podFilters[0].place));
    assert.deepEqual(check(), [{ kind: 'hook', name: 'from_pod', problem: 'is not attached' }]);
    assert.deepEqual(repair(), { left: [], error: undefined });
    assert.ok(isPastStack(4));
  });

  test('the problems of each pod are found', () => {
    const problems = () => world.node.enter(() => world.datapath.pods.problems([pod(0), pod(1)]));
    const { ifindex, addresses } = pod(1);
    assert.deepEqual(problems(), [[], []]);
    world.datapath.pods.remove(ifindex);
    assert.deepEqual(problems(), [
      [],
      [
        `map pod_devices does not have the entry of interface ${ifindex}`,
        ...addresses.map((address) => `map pods does not have the entry of ${address}`),
      ],
    ]);
    set(1);
    world.node.configure((socket) => removeQdisc(socket, { link: ifindex, kind: 'clsact' }));
    const detached = [`the programs are not attached to interface ${ifindex}`];
    assert.deepEqual(problems(), [[], detached]);
    assert.deepEqual(repair(), { left: [], error: undefined });
    assert.deepEqual(problems(), [[], []]);
  });

  test('the next agent takes over the pods, and its program replaces the one before', () => {
    const before = program();
    world.restart();
    assert.ok(isPastStack(4), 'before the agent knows the pods');
    assert.equal(program(), before);
    set(0);
    assert.notEqual(program(), before);
    assert.deepEqual(check(), []);
    assert.ok(isPastStack(4));
    world.datapath.pods.prune(new Set([pod(0).ifindex, pod(2).ifindex]));
    assert.ok(!isPastStack(4));
    set(1);
    assert.ok(isPastStack(6));
  });

  test('an address that moves to another interface is that interface’s', () => {
    const { addresses } = pod(1);
    world.node.enter(() => world.datapath.pods.set({ ...pod(2), addresses }));
    world.datapath.pods.remove(pod(1).ifindex);
    assert.ok(world.datapath.pods.hasRoom(addresses[0]!));
    set(1);
    world.datapath.pods.remove(pod(2).ifindex);
    assert.ok(isPastStack(4));
  });
});
