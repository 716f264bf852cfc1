import assert from 'node:assert/strict';
import { eth, type Packet, Packet as Packets } from '@heddle/lab';
import type { Frontend, ServiceRow } from '@heddle/services';
import { row } from './rows.ts';
import type { World } from './world.ts';

/** The result of a program for a packet. */
export interface Outcome {
  /** `pass`: to the stack. `send`: out of an interface, with the bytes of `packet`. */
  readonly verdict: 'pass' | 'drop' | 'send';
  readonly packet: Packet;
}

type Verdicts = Readonly<Record<number, Outcome['verdict']>>;
const tcVerdicts: Verdicts = { [-1]: 'pass', 4294967295: 'pass', 2: 'drop', 7: 'send' };
const xdpVerdicts: Verdicts = { 1: 'drop', 2: 'pass', 3: 'send' };

/** The address of the client of all packets: an external host behind the router. */
export const clients = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
export const externals = { v4: '198.51.100.7', v6: 'fd00:198:51:100::7' } as const;
export type End = keyof typeof clients;

/** The hooks that packets enter by: tc alone, or XDP first, which passes to tc what it does not translate. */
export const packetHooks = ['tc', 'xdp'] as const;
export const xdpOf = (packetHook: (typeof packetHooks)[number]) =>
  packetHook === 'xdp' ? 'native' : 'off';

/** Returns the context of a test run for a packet that enters or leaves by a device. */
export function contextOf(name: string, ifindex: number, { length }: Uint8Array) {
  // struct xdp_md, or struct __sk_buff up to `ifindex`.
  const isXdp = name === 'node_xdp';
  const context = new Uint8Array(isXdp ? 24 : 44);
  const fields = new DataView(context.buffer);
  if (isXdp) fields.setUint32(4, length, true);
  fields.setUint32(isXdp ? 12 : 40, ifindex, true);
  return { context, contextRoom: isXdp ? 24 : 192 };
}

/** A program at an interface. */
type ProgramName = 'node_ingress' | 'node_egress' | 'node_xdp' | 'from_pod' | 'to_pod';

/** Test-runs programs with packets on the first node. */
export class NodePackets {
  readonly world: World;
  readonly end: End;
  #isInside = false;
  readonly #ifindex: number;
  readonly #hop: { readonly src: string; readonly dst: string };

  constructor(world: World, end: End) {
    this.world = world;
    this.end = end;
    this.#ifindex = world.node.link('eth0').index;
    this.#hop = world.node.firstHop;
  }

  get node(): string {
    return this.world.node.addresses[this.end];
  }

  /** Returns a frame from the router, with an IP header. */
  from(src: string, dst: string, more: { ttl?: number; df?: boolean } = {}): Packet {
    const frame = eth({ src: this.#hop.dst, dst: this.#hop.src });
    const { ttl = 64, df } = more;
    return this.end === 'v4'
      ? frame.ipv4({ src, dst, ttl, ...(df ? { df } : {}) })
      : frame.ipv6({ src, dst, hopLimit: ttl });
  }

  /** Returns a frame to the router. */
  to(src: string, dst: string, more: { ttl?: number; df?: boolean } = {}): Packet {
    return this.from(src, dst, more).with('eth', { src: this.#hop.src, dst: this.#hop.dst });
  }

  /** Returns a packet without its frame. */
  bare(packet: Packet): Packet {
    return packet.within(new Packets({ layers: [] }));
  }

  /** Returns a packet with other link-layer addresses. */
  framed(packet: Packet, src: string, dst: string): Packet {
    return packet.with('eth', { src, dst });
  }

  icmp(packet: Packet, names: { v4: string; v6: string }, mtu: number | undefined, about: Packet) {
    const fields = { embedded: about, ...(mtu === undefined ? {} : { mtu }) };
    return this.end === 'v4'
      ? packet.icmp({ type: names.v4 as '3/3', ...fields })
      : packet.icmpv6({ type: names.v6 as '1/4', ...fields });
  }

  /** Runs the programs that a packet enters by. */
  ingress(packet: Packet | Uint8Array): Outcome {
    if (this.world.datapath.programs.xdp) {
      const outcome = this.xdp(packet);
      if (outcome.verdict !== 'pass') return outcome;
    }
    return this.ingressByTc(packet);
  }

  ingressByTc(packet: Packet | Uint8Array): Outcome {
    return this.run('node_ingress', packet);
  }

  egress(packet: Packet | Uint8Array): Outcome {
    return this.run('node_egress', packet);
  }

  /** Runs XDP alone; a packet that it passes must be unchanged. */
  xdp(packet: Packet | Uint8Array): Outcome {
    return this.run('node_xdp', packet);
  }

  /** Returns a service at a NodePort of the node, or with another frontend. */
  service(
    port: number,
    backends: readonly string[],
    more: Partial<ServiceRow> & { frontend?: Partial<Frontend> } = {},
  ): ServiceRow {
    const { frontend = {}, ...rest } = more;
    return row(
      [{ kind: 'NodePort', address: this.node, port, ...frontend }],
      backends.map((address) => ({ address, port: 8080 })),
      rest,
    );
  }

  /** Returns how often each drop reason was counted while `work` ran. */
  drops(work: () => void): Record<string, number> {
    const counts = () =>
      new Map(this.world.datapath.drops.counts().map(({ reason, count }) => [reason, count]));
    const before = counts();
    work();
    const changed: Record<string, number> = {};
    for (const [reason, count] of counts()) {
      const more = count - before.get(reason)!;
      if (more > 0) changed[reason] = more;
    }
    return changed;
  }

  /** Runs `work` in the node's network namespace, so that it is not entered for each packet. */
  inside(work: () => void): void {
    this.world.node.enter(() => {
      this.#isInside = true;
      try {
        work();
      } finally {
        this.#isInside = false;
      }
    });
  }

  /** Runs a program at the interface with that index, or else at eth0. */
  run(name: ProgramName, packet: Packet | Uint8Array, ifindex = this.#ifindex): Outcome {
    const data = packet instanceof Uint8Array ? packet : packet.bytes;
    const isXdp = name === 'node_xdp';
    const test = () => this.world.testRun(name, { data, ...contextOf(name, ifindex, data) });
    const result = this.#isInside ? test() : this.world.node.enter(test);
    const verdict = (isXdp ? xdpVerdicts : tcVerdicts)[result.returnValue];
    if (!verdict) throw new Error(`run ${name}: it returned ${result.returnValue}`);
    if (isXdp && verdict === 'pass')
      assert.deepEqual(result.data, data, 'XDP changed a packet that it passed');
    return { verdict, packet: Packets.parse(result.data) };
  }
}
