import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eth, type Packet } from '@heddle/lab';
import { outsideDevice, type Routes, VirtualClock } from '@heddle/vm';
import { row } from '../testing/rows.ts';
import { VmWorld } from '../testing/vm-world.ts';

// The kernel's routes are asked for once in a while only: here the machine is told of them and of time.

const clients = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
const backends = { v4: '10.244.9.9', v6: 'fd00:10:244:9::9' } as const;
const deviceAddress = '02:00:00:00:00:02';
/** 2^28 ns, as in bpf/include/front.h, rounded up to ms. */
const ageMs = 269;

// linux/bpf.h: answers of bpf_fib_lookup, and places in struct bpf_fib_lookup
const [success, noNeighbour, tooLarge] = [0, 7, 8];
const [mtuAt, ifindexAt, gatewayAt] = [6, 8, 58];
const [shot, redirect] = [2, 7];

for (const end of ['v4', 'v6'] as const) {
  describe(`routes of packets, ${end}`, () => {
    let world: VmWorld;
    let clock: VirtualClock;
    let node: string;
    let asked: number;
    let gateway: number;
    let mtu: number;
    let answer: number;
    const routes: Routes = (route) => {
      asked++;
      const view = new DataView(route.buffer, route.byteOffset);
      const length = view.getUint16(mtuAt, true);
      view.setUint32(ifindexAt, outsideDevice, true);
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
      const device = { name: 'eth0', index: outsideDevice, address: deviceAddress };
      world.datapath.setNode([device], [v4, v6]);
      const frontend = { kind: 'NodePort', address: node, port: 30_001, protocol: 'UDP' } as const;
      world.apply(row([frontend], [{ address: backends[end], port: 80 }], { protocol: 'UDP' }));
    });
    afterEach(() => world?.[Symbol.dispose]());

    const send = (sport: number, size = 1) => {
      const frame = eth({ src: '02:00:00:00:00:77', dst: deviceAddress });
      const ip = { src: clients[end], dst: node };
      const packet: Packet = end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip);
      const sent = packet.udp({ sport, dport: 30_001 }).payload('x'.repeat(size));
      const { verdict, frame: made } = world.host.frame('ingress', sent.bytes);
      return { verdict, gateway: made[5] };
    };

    test('are asked for once for the packets of a flow, and again after a while', () => {
      const first = send(1);
      assert.deepEqual([first, asked], [{ verdict: redirect, gateway: 1 }, 1]);
      for (let i = 0; i < 10; i++) assert.deepEqual(send(1), first);
      assert.equal(asked, 1);
      gateway = 2;
      clock.advance(ageMs);
      assert.deepEqual([send(1), asked], [{ verdict: redirect, gateway: 2 }, 2]);
    });

    test('are other ones for another flow, as the kernel may choose by ports', () => {
      send(1);
      gateway = 2;
      assert.deepEqual([send(2), asked], [{ verdict: redirect, gateway: 2 }, 2]);
      assert.deepEqual([send(1), asked], [{ verdict: redirect, gateway: 1 }, 2]);
    });

    test('are asked for anew for a packet that is larger than the way took', () => {
      mtu = 200;
      send(1);
      const refused = send(1, 400);
      assert.equal(asked, 2);
      // The client is told.
      assert.deepEqual(refused, { verdict: redirect, gateway: 0x77 });
      assert.equal(send(1).verdict, redirect);
      assert.equal(asked, 2);
    });

    test('are not remembered while the next hop is unknown, or there is none', () => {
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
