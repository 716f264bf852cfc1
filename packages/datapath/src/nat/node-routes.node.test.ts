import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eth, Packet } from '@heddle/lab';
import { parseIp } from '@heddle/sys';
import { externalIfindex, type Routes, VirtualClock } from '@heddle/vm';
import { row } from '../../testing/rows.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// The flow and route of a packet are cached for a while: this test sets the routes and the time of the machine.

const clients = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
const backends = { v4: '10.244.9.9', v6: 'fd00:10:244:9::9' } as const;
const deviceAddress = '02:00:00:00:00:02';
/** 2^28 ns, as in bpf/ct/cache.h, rounded up to ms. */
const ageMs = 269;

// linux/bpf.h: answers of bpf_fib_lookup, and places in struct bpf_fib_lookup
const [success, noNeighbour, tooLarge] = [0, 7, 8];
const [mtuAt, ifindexAt, destinationAt, gatewayAt] = [6, 8, 32, 58];
const [shot, redirect] = [2, 7];

function isTo(route: Uint8Array, address: string): boolean {
  const bytes = parseIp(address)!.subarray(route[0] === 2 ? 12 : 0);
  return bytes.every((byte, i) => route[destinationAt + i] === byte);
}

for (const end of ['v4', 'v6'] as const) {
  describe(`cached routes of packets, ${end}`, () => {
    let world: VmWorld;
    let clock: VirtualClock;
    let node: string;
    let asked: number;
    let gateway: number;
    let mtu: number;
    let answer: number;
    const routes: Routes = (route) => {
      // Before a flow is made, the route to the client is asked for, too.
      if (isTo(route, backends[end])) asked++;
      const view = new DataView(route.buffer, route.byteOffset);
      const length = view.getUint16(mtuAt, true);
      view.setUint32(ifindexAt, externalIfindex, true);
      view.setUint16(mtuAt, mtu, true);
      route[gatewayAt + 5] = gateway;
      return length > mtu ? tooLarge : answer;
    };
    beforeEach(() => {
      [asked, gateway, mtu, answer] = [0, 1, 1500, success];
      clock = new VirtualClock();
      world = new VmWorld('routes', 1, { base: clock, routes });
      const { v4, v6 } = world.node.addresses;
      node = world.node.addresses[end];
      const device = { name: 'eth0', index: externalIfindex, address: deviceAddress };
      world.datapath.setNode([device], [v4, v6]);
      through(80);
    });
    afterEach(() => world?.[Symbol.dispose]());

    const through = (port: number) => {
      const frontend = { kind: 'NodePort', address: node, port: 30_001, protocol: 'UDP' } as const;
      world.apply(row([frontend], [{ address: backends[end], port }], { protocol: 'UDP' }));
    };
    /** Ports of what is made of a packet from that port. */
    const ports = (sport: number) => {
      const { layers } = Packet.parse(packet(sport).frame);
      const { sport: from, dport: to } = layers.find((layer) => layer.kind === 'udp')!;
      return { from, to };
    };
    const packet = (sport: number, size = 1) => {
      const frame = eth({ src: '02:00:00:00:00:77', dst: deviceAddress });
      const ip = { src: clients[end], dst: node };
      const start: Packet = end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip);
      const sent = start.udp({ sport, dport: 30_001 }).payload('x'.repeat(size));
      return world.host.frame('ingress', sent.bytes);
    };
    const send = (sport: number, size?: number) => {
      const { verdict, frame: made } = packet(sport, size);
      return { verdict, gateway: made[5] };
    };

    test('the route of a flow is looked up once, and again after a while', () => {
      const first = send(1);
      assert.deepEqual([first, asked], [{ verdict: redirect, gateway: 1 }, 1]);
      for (let i = 0; i < 10; i++) assert.deepEqual(send(1), first);
      assert.equal(asked, 1);
      gateway = 2;
      clock.advance(ageMs);
      assert.deepEqual([send(1), asked], [{ verdict: redirect, gateway: 2 }, 2]);
    });

    test('another flow has its own route, as the kernel may choose by ports', () => {
      send(1);
      gateway = 2;
      assert.deepEqual([send(2), asked], [{ verdict: redirect, gateway: 2 }, 2]);
      assert.deepEqual([send(1), asked], [{ verdict: redirect, gateway: 1 }, 2]);
    });

    test('the route is looked up again for a packet larger than its MTU', () => {
      mtu = 200;
      send(1);
      const refused = send(1, 400);
      assert.equal(asked, 2);
      // The client gets an ICMP error.
      assert.deepEqual(refused, { verdict: redirect, gateway: 0x77 });
      assert.equal(send(1).verdict, redirect);
      assert.equal(asked, 2);
    });

    test('the route of a closed flow is not used for the next flow of its entry', () => {
      const { machine } = world.host.bpf;
      // To where the clock, which ticks every 4 ms, has just moved on.
      clock.advance(ageMs + 4 - (Number(machine.now() / 1_000_000n) % (2 ** 28 / 1e6)));
      const first = ports(1);
      assert.deepEqual([first.to, ports(1)], [80, first]);
      through(81);
      machine.cpu = 1;
      const second = ports(1);
      assert.equal(second.to, 81, 'that its backend is gone is seen at once');
      // The garbage collection frees the entry, before the flow cache of the first CPU expires.
      clock.advance(110);
      ports(2);
      machine.cpu = 0;
      assert.deepEqual(ports(1), second);
    });

    test('no route is cached while the next hop is unresolved or missing', () => {
      answer = noNeighbour;
      send(1);
      send(1);
      assert.equal(asked, 2);
      answer = 3; // unreachable
      assert.deepEqual([send(1).verdict, asked], [shot, 3]);
      answer = success;
      assert.deepEqual([send(1).verdict, asked], [redirect, 4]);
    });
  });
}
