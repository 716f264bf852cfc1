import { maglevSize, maglevTable } from '@heddle/datapath';
import { parseIp } from '@heddle/sys';
import { keyOf } from './addresses.ts';
import {
  type ChooseEntry,
  type Connection,
  ExternalConnection,
  type PodSockets,
  SocketConnection,
} from './connections.ts';
import type { Tuple } from './frames.ts';
import { hashText } from './hash-text.ts';
import type { Network } from './network.ts';
import type { SimulatedNode } from './node-class.ts';
import type { TrafficStep } from './scenario.ts';
import type { Target } from './targets.ts';

/** The range of source ports of external clients; `end` is exclusive. */
const clientPorts = { first: 10_000, end: 65_536 } as const;
/** Returns the address of a client, in the ranges of RFC 2544 and 3849. */
const clientAddress = (i: number, isIpv4: boolean) =>
  parseIp(
    isIpv4
      ? `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
      : `2001:db8:ffff::${i.toString(16)}`,
  )!;

/** The clients of services: external hosts and pods. They are the same in all steps. */
export class Clients {
  readonly #network: Network;
  readonly #sockets: PodSockets;
  /** All nodes by name. */
  readonly #nodes: ReadonlyMap<string, SimulatedNode>;
  readonly #pods = new Map<SimulatedNode, bigint[]>();
  readonly #nextPorts = new Map<number, number>();
  #running: readonly SimulatedNode[] = [];
  /** The consistent hash table of `via: resilient`: the entry node of each hash. */
  #resilient: readonly SimulatedNode[] | undefined;

  constructor(network: Network, sockets: PodSockets, nodes: ReadonlyMap<string, SimulatedNode>) {
    this.#network = network;
    this.#sockets = sockets;
    this.#nodes = nodes;
  }

  /** Sets the running nodes; the network sends nothing to others. */
  setRunning(nodes: readonly SimulatedNode[]): void {
    this.#running = nodes;
    this.#resilient = undefined;
  }

  /** Returns a function that makes the n-th connection of a step. */
  connectionsOf(traffic: TrafficStep): (i: number, target: Target) => Connection {
    const { connections, from } = traffic;
    if (from === 'outside') {
      const clients = traffic.clients ?? Math.min(connections, 65_536);
      const entry = this.#entry(traffic.via);
      return (i, target) => this.#externalConnection(i % clients, target, entry);
    }
    const places: { node: SimulatedNode; cookie: bigint }[] = [];
    const clients =
      traffic.clients ?? Math.min(connections, from === 'pod' ? 1000 : this.#running.length);
    for (let i = 0; i < clients; i++) {
      const node = this.#running[i % this.#running.length]!;
      const number = Math.floor(i / this.#running.length);
      places.push({ node, cookie: from === 'node' ? 1n : this.#clientPod(node, number) });
    }
    return (i, { address, protocol, port, isIpv4 }) => {
      const { node, cookie } = places[i % places.length]!;
      return new SocketConnection(this.#network, node, cookie, {
        ...{ address: address!, protocol, port, isIpv4 },
      });
    };
  }

  /** Returns the n-th client pod of a node; all steps share them. */
  #clientPod(node: SimulatedNode, number: number): bigint {
    const pods = this.#pods.get(node) ?? [];
    this.#pods.set(node, pods);
    while (pods.length <= number) pods.push(node.class.makePod());
    return pods[number]!;
  }

  #externalConnection(client: number, target: Target, entry: ChooseEntry): Connection {
    const { isIpv4, port, protocol, address } = target;
    const sourcePort = this.#nextPorts.get(client) ?? clientPorts.first;
    const following = sourcePort + 1;
    this.#nextPorts.set(client, following === clientPorts.end ? clientPorts.first : following);
    const source = clientAddress(client, isIpv4);
    const towards = (destination: Uint8Array): Tuple => {
      return { protocol, source, sourcePort, destination, destinationPort: port };
    };
    if (address !== undefined) {
      const tuple = towards(Uint8Array.from(address, (character) => character.charCodeAt(0)));
      return new ExternalConnection(this.#network, this.#sockets, entry, isIpv4, () => tuple);
    }
    // The client chooses a node for each new connection.
    let chosen: SimulatedNode | undefined;
    const none = new Uint8Array(16);
    return new ExternalConnection(
      ...([this.#network, this.#sockets, () => chosen, isIpv4] as const),
      () => {
        chosen = entry(towards(none));
        const own = chosen?.address(isIpv4 ? 4 : 6);
        return own && towards(own);
      },
    );
  }

  /** Returns the choice of the node that packets enter: by a hash, or always the same. */
  #entry(via: string): ChooseEntry {
    const named = this.#nodes.get(via);
    if (named) return () => named;
    if (via === 'ecmp') return (tuple) => this.#running[hashOf(tuple) % this.#running.length];
    return (tuple) => {
      this.#resilient ??= this.#resilientTable();
      return this.#resilient[hashOf(tuple) % this.#resilient.length];
    };
  }

  #resilientTable(): SimulatedNode[] {
    const nodes = this.#running.map(({ name }) => ({ name, weight: 1 }));
    return Array.from(maglevTable(nodes, maglevSize(nodes.length)), (i) => this.#running[i]!);
  }
}

function hashOf({ source, sourcePort, destination, destinationPort }: Tuple): number {
  return hashText(
    keyOf(source) + keyOf(destination) + String.fromCharCode(sourcePort, destinationPort),
  );
}
