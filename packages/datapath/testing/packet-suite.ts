import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import type { Packet } from '@heddle/lab';
import {
  clients,
  type End,
  NodePackets,
  type Outcome,
  packetHooks,
  xdpOf,
} from './node-packets.ts';
import { World } from './world.ts';

/** A node with pods, a pod on another node, and packets that are test-run on the first one. */
export class PacketStage {
  readonly end: End;
  /** The client of all packets: an external host behind the router. */
  readonly client: string;
  world!: World;
  packets!: NodePackets;
  /** The address of a pod on the node. */
  local!: string;
  /** The address of a pod on the other node. */
  remote!: string;
  /** The address of the other node. */
  peer!: string;

  constructor(end: End) {
    this.end = end;
    this.client = clients[end];
  }

  open(world: World): void {
    const [here, there] = world.lab.nodes;
    this.world = world;
    world.serveOutside();
    this.packets = new NodePackets(world, this.end);
    this.local = here!.pods[0]!.addresses[this.end];
    this.remote = there!.pods[0]!.addresses[this.end];
    this.peer = there!.addresses[this.end];
  }

  /** Returns a packet with other fields of its IP header. */
  readonly withIp = (packet: Packet, fields: { src?: string; dst?: string; ttl?: number }) => {
    const { ttl, ...addresses } = fields;
    return this.end === 'v4'
      ? packet.with('ipv4', fields)
      : packet.with('ipv6', { ...addresses, ...(ttl === undefined ? {} : { hopLimit: ttl }) });
  };
}

/** Returns the packet that was sent out of an interface; fails when another verdict was returned. */
export function sent({ verdict, packet }: Outcome): Packet {
  assert.equal(verdict, 'send');
  return packet;
}

/**
 * Describes packets on a node at each hook (tc, XDP) and over both families; `name` names the world, and `pods` is the
 * number of pods per node. `define` defines the tests; the stage is open while they run.
 */
export function packetSuite(
  title: string,
  { name, pods }: { readonly name: string; readonly pods: number },
  define: (stage: PacketStage) => void,
): void {
  for (const packetHook of packetHooks) {
    for (const end of ['v4', 'v6'] as const satisfies End[]) {
      describe(`${title}, by ${packetHook}, ${end}`, () => {
        const stage = new PacketStage(end);
        before(() => {
          const lab = { nodes: 2 };
          stage.open(
            new World(`${name}-${end}`, pods, { lab, mirrored: true, xdp: xdpOf(packetHook) }),
          );
        });
        after(() => stage.world?.[Symbol.dispose]());
        define(stage);
      });
    }
  }
}
