import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eth, Packet } from '@heddle/lab';
import { externalIfindex, VirtualClock } from '@heddle/vm';
import { row } from '../../testing/rows.ts';
import { VmWorld } from '../../testing/vm-world.ts';
import type { DropNotice } from '../events/drops.ts';
import { defaultNat } from './flow-options.ts';

const client = '203.0.113.77';
const remote = '10.244.9.9';
/** The index of the simulated external interface. */
const deviceAddress = '02:00:00:00:00:02';
const REDIRECT = 7;

/** Returns the node's programs in the userspace machine, where hours pass in no time. */
describe('external traffic, in the userspace machine', () => {
  let clock: VirtualClock;
  let world: VmWorld;
  let node: string;
  beforeEach(() => {
    clock = new VirtualClock();
    world = new VmWorld('outside', 1, {
      base: clock,
      sizes: { services: 100, backends: 100, slots: 100, affinity: 100, flows: 40 },
    });
    node = world.node.addresses.v4;
    world.datapath.setNode(
      [{ name: 'eth0', index: externalIfindex, address: '02:00:00:00:00:02' }],
      [node],
    );
    world.apply(service(30_001, remote), service(30_002, world.pod(0).addresses.v4));
  });
  afterEach(() => world?.[Symbol.dispose]());

  const service = (port: number, address: string) =>
    row([{ kind: 'NodePort', address: node, port }], [{ address, port: 8080 }]);
  const from = (src: string, dst: string) => eth({ dst: deviceAddress }).ipv4({ src, dst });
  const into = (packet: Packet) => world.host.frame('ingress', packet.bytes);
  const syn = (sport: number, dport = 30_001) =>
    from(client, node).tcp({ sport, dport, syn: true });
  const told = (frame: Uint8Array) => Packet.parse(frame).toString();

  test('a flow table of another size keeps its flows and gets a new index', () => {
    const there = Packet.parse(into(syn(4000)).frame);
    const { sport } = there.layers.find((layer) => layer.kind === 'tcp')!;
    const rows = [service(30_001, remote)];
    const sizes = { services: 100, backends: 100, slots: 100, affinity: 100, flows: 400 };
    world.restart({ sizes });
    world.apply(...rows);
    world.datapath.services.prune(rows);
    world.datapath.setNode(
      [{ name: 'eth0', index: externalIfindex, address: deviceAddress }],
      [node],
    );
    const back = into(
      from(remote, node).tcp({ sport: 8080, dport: sport, syn: true, ack: true, ackSeq: 1 }),
    );
    assert.match(told(back.frame), new RegExp(`${node} > ${client}`));
    assert.equal([...world.datapath.nat.flows()][0]?.state, 'syn-ack');
  });

  test('a packet to a backend on another node and its reply are translated', () => {
    const there = into(syn(4000));
    assert.equal(there.verdict, REDIRECT);
    assert.deepEqual(there.redirection, { ifindex: externalIfindex, to: 'egress' });
    const text = told(there.frame);
    assert.match(text, new RegExp(`${node}.*${remote}`));
    const [flow] = [...world.datapath.nat.flows()];
    assert.equal(flow?.client, client);
    const { sport } = Packet.parse(there.frame).layers.find((layer) => layer.kind === 'tcp')!;
    const back = into(
      from(remote, node).tcp({ sport: 8080, dport: sport, syn: true, ack: true, ackSeq: 1 }),
    );
    assert.equal(back.verdict, REDIRECT);
    const answer = Packet.parse(back.frame);
    const ip = answer.layers.find((layer) => layer.kind === 'ipv4')!;
    const tcp = answer.layers.find((layer) => layer.kind === 'tcp')!;
    assert.deepEqual([ip.src, ip.dst, tcp.sport, tcp.dport], [node, client, 30_001, 4000]);
  });

  test('a packet to a local backend and its reply are translated', () => {
    const there = into(syn(4001, 30_002));
    assert.equal(there.verdict, REDIRECT);
    assert.ok(there.redirection!.ifindex > externalIfindex);
    const pod = world.pod(0).addresses.v4;
    const reply = from(pod, client).tcp({
      sport: 8080,
      dport: 4001,
      syn: true,
      ack: true,
      ackSeq: 1,
    });
    const back = world.host.frame('egress', reply.bytes);
    const ip = Packet.parse(back.frame).layers.find((layer) => layer.kind === 'ipv4')!;
    assert.equal(ip.src, node);
  });

  test('flows are deleted after their timeout, and their entries are used again', () => {
    for (let i = 0; i < 5; i++) into(syn(5000 + i));
    assert.equal(world.datapath.nat.status().flows, 5);
    clock.advance((defaultNat.timeouts.tcpHandshake - 5) * 1000);
    assert.equal(world.datapath.nat.status().flows, 5);
    clock.advance(20_000);
    assert.equal(world.datapath.nat.status().flows, 0);
    assert.deepEqual([...world.datapath.nat.flows()], []);
    for (let i = 0; i < 5; i++) assert.equal(into(syn(6000 + i)).verdict, REDIRECT);
    assert.equal(world.datapath.nat.status().flows, 5);
  });

  test('unconfirmed flows take at most half of the table, and the oldest is evicted', () => {
    for (let i = 0; i < 40; i++) assert.equal(into(syn(7000 + i)).verdict, REDIRECT);
    const { unanswered, unansweredLimit, flows } = world.datapath.nat.status();
    assert.deepEqual([unanswered, flows], [unansweredLimit, unansweredLimit]);
    assert.ok([...world.datapath.nat.flows()].some(({ clientPort }) => clientPort === 7039));
    assert.ok(![...world.datapath.nat.flows()].some(({ clientPort }) => clientPort === 7000));
  });

  test('drops are reported while they are watched', () => {
    const seen: DropNotice[] = [];
    world.apply(
      row([{ kind: 'ClusterIP', address: '10.96.7.7', port: 80 }], [{ address: remote, port: 80 }]),
    );
    const unknown = from(client, '10.96.7.7').tcp({ sport: 1, dport: 81, syn: true });
    into(unknown);
    using _watch = world.datapath.drops.watch((drop) => seen.push(drop));
    into(unknown);
    clock.advance(1);
    assert.equal(seen.length, 1);
  });
});
