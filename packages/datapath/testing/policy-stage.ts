import assert from 'node:assert/strict';
import type { Packet } from '@heddle/lab';
import { excluded, MasqueradeStage, outside } from './masquerade.ts';
import type { End, NodePackets, Outcome } from './node-packets.ts';
import type { PodWorld } from './pod-world.ts';
import { TestPolicies, type TestRule } from './policies.ts';

export const policyProtocols = ['tcp', 'udp', 'icmp', 'sctp'] as const;
export type PolicyProtocol = (typeof policyProtocols)[number];

/** The port that servers have. */
export const serverPort = 8080;

/** A path between a pod of the node, the first one, and another side. */
export const paths = [
  'a pod of the node',
  'a pod of another node',
  'the world',
  'the world, masqueraded',
  'the node',
] as const;
export type Path = (typeof paths)[number];

/** One side of a connection, and the port of a client there. */
export interface Connection {
  readonly protocol: PolicyProtocol;
  readonly path: Path;
  /** True if the pod opens the connection. */
  readonly isFromPod: boolean;
  readonly port: number;
}

/** The flags of a segment that is no part of a handshake. */
type Flags = Parameters<Packet['tcp']>[0];

/** Runs the programs with the packets of a policed pod, the first one, and of what it talks to. */
export class PolicyStage implements Disposable {
  readonly world: PodWorld;
  readonly end: End;
  readonly node: NodePackets;
  readonly policies: TestPolicies;
  /** The packets of pods. */
  readonly pods: MasqueradeStage;
  #port = 30_000;

  constructor(world: PodWorld, end: End) {
    this.world = world;
    this.end = end;
    this.pods = new MasqueradeStage(world, end);
    this.node = this.pods.node;
    this.policies = new TestPolicies(world);
    const [, other] = world.lab.nodes;
    world.datapath.nodeRoutes.set({
      ...{ key: 'node2', addresses: [other!.addresses[end]], ranges: [], paths: [], problems: [] },
    });
  }

  [Symbol.dispose](): void {
    this.policies[Symbol.dispose]();
  }

  /** Returns the number of drops for each reason that `work` causes. */
  drops(work: () => void) {
    return this.pods.drops(work);
  }

  connection(protocol: PolicyProtocol, path: Path, isFromPod: boolean): Connection {
    return { protocol, path, isFromPod, port: this.#port++ };
  }

  /** Returns the address of the side that is not the pod. */
  addressOf(path: Path): string {
    switch (path) {
      case 'a pod of the node':
        return this.pods.podAddress(1);
      case 'a pod of another node':
        return this.world.lab.nodes[1]!.pods[0]!.addresses[this.end];
      case 'the world':
        return excluded[this.end];
      case 'the world, masqueraded':
        return outside[this.end];
      case 'the node':
        return this.node.node;
    }
  }

  /** Returns a rule of a server's port. ICMP has rules without ports only. */
  rule(protocol: PolicyProtocol, path: Path, more: Partial<TestRule> = {}): TestRule {
    const name = protocol.toUpperCase() as 'TCP' | 'UDP' | 'SCTP';
    return {
      peers: [this.addressOf(path)],
      ...(protocol !== 'icmp' && { ports: [{ protocol: name, port: serverPort }] }),
      ...more,
    };
  }

  /** Sends the first packet of a connection. */
  request(connection: Connection, size?: number): Outcome {
    return this.run(connection, false, (ip) => this.fill(ip, connection, false, size));
  }

  reply(connection: Connection, size?: number): Outcome {
    return this.run(connection, true, (ip) => this.fill(ip, connection, true, size));
  }

  /** Sends a TCP segment, or a datagram, of a connection that is open. */
  more(connection: Connection, isReply = false, flags: Partial<Flags> = { ack: true }): Outcome {
    const [sport, dport] = this.ports(connection, isReply);
    const [seq, ackSeq] = isReply ? [2001, 1001] : [1001, 2001];
    return this.run(connection, isReply, (ip) => {
      if (connection.protocol !== 'tcp') return this.fill(ip, connection, isReply);
      const segment = ip.tcp({ sport, dport, seq, ackSeq, ...flags });
      // The server's data confirm the connection.
      return isReply && !flags.syn ? segment.payload('data') : segment;
    });
  }

  /** Sends an ICMP error of the other side about a connection's first packet, to a pod, the first one unless said otherwise. */
  error(connection: Connection, pod = 0): Outcome {
    const { path } = connection;
    const other = this.addressOf(path);
    const about = this.node.bare(this.fill(this.pods.fromPod(0, other), connection, false));
    const names = { v4: 'port-unreachable', v6: 'port-unreachable' };
    const to = this.pods.podAddress(pod);
    return path === 'a pod of the node'
      ? this.sendFrom(1, this.node.icmp(this.pods.fromPod(1, to), names, undefined, about))
      : this.node.ingress(this.node.icmp(this.node.from(other, to), names, undefined, about));
  }

  /** Sends the first packet of a connection in three fragments. */
  fragments(connection: Connection, id: number): Outcome[] {
    let parts: Packet[] = [];
    this.run(connection, false, (ip) => {
      parts = this.fill(ip, connection, false, 2800 + 96 - 8).fragments([1400, 1400, 96], id);
      return parts[0]!;
    });
    return parts.map((part) => this.run(connection, false, () => part));
  }

  /** Opens a connection in full, and demands that all its packets pass. */
  open(connection: Connection): void {
    this.expectPassed(this.request(connection), connection, 'request');
    this.expectPassed(this.reply(connection), connection, 'reply');
    if (connection.protocol !== 'tcp') return;
    this.expectPassed(this.more(connection), connection, 'acknowledgement');
    this.expectPassed(this.more(connection, true), connection, 'data');
  }

  /** Demands that a packet passes: to the stack if the node is the other side, else past it. */
  expectPassed(outcome: Outcome, { path }: Connection, what: string): void {
    assert.equal(outcome.verdict, path === 'the node' ? 'pass' : 'send', what);
  }

  expectDenied(outcome: Outcome, what: string): void {
    assert.equal(outcome.verdict, 'drop', what);
  }

  /** Runs the program that a packet of a connection passes first, with an IP header that `fill` completes. */
  run(connection: Connection, isReply: boolean, fill: (ip: Packet) => Packet): Outcome {
    const { path, isFromPod } = connection;
    const other = this.addressOf(path);
    if (isFromPod !== isReply) return this.sendFrom(0, fill(this.pods.fromPod(0, other)));
    if (path === 'a pod of the node')
      return this.sendFrom(1, fill(this.pods.fromPod(1, this.pods.podAddress(0))));
    if (path === 'the node') return this.toPod(0, fill(this.toPodFrame(0, other)));
    const isMasqueraded = path === 'the world, masqueraded' && isFromPod;
    return this.node.ingress(
      fill(this.node.from(other, isMasqueraded ? this.node.node : this.pods.podAddress(0))),
    );
  }

  /** Runs the program of the first packet of a TCP connection of a pod to an address. */
  sendTo(pod: number, address: string): Outcome {
    const syn = { sport: this.#port++, dport: serverPort, syn: true };
    return this.sendFrom(pod, this.pods.fromPod(pod, address).tcp(syn));
  }

  /** Runs the program of what a pod sends. */
  sendFrom(pod: number, packet: Packet): Outcome {
    return this.pods.send(pod, packet);
  }

  /** Returns a frame of the node's stack to a pod, with an IP header. */
  toPodFrame(pod: number, src: string): Packet {
    return this.framedTo(pod, this.node.from(src, this.pods.podAddress(pod)));
  }

  framedTo(pod: number, packet: Packet): Packet {
    const { node } = this.world;
    const { nodeLink } = this.world.pod(pod);
    return this.node.framed(
      packet,
      node.link(nodeLink).address,
      this.world.of(this.world.pod(pod)).mac,
    );
  }

  /** Runs the program of what the node's stack sends to a pod. */
  toPod(pod: number, packet: Packet): Outcome {
    const { ifindex } = this.world.of(this.world.pod(pod));
    return this.node.run('to_pod', packet, ifindex);
  }

  fill(ip: Packet, connection: Connection, isReply: boolean, size?: number): Packet {
    const { protocol, port } = connection;
    const seen = isReply ? this.portSeen(connection) : port;
    const ends = { protocol, pod: 0, port: seen, to: '', toPort: serverPort };
    return this.pods.on(ip, ends, isReply, size);
  }

  ports(connection: Connection, isReply: boolean): [number, number] {
    return isReply ? [serverPort, this.portSeen(connection)] : [connection.port, serverPort];
  }

  /** The port, or identifier, of the client as the server sees it. */
  portSeen({ path, isFromPod, port }: Connection): number {
    if (path !== 'the world, masqueraded' || !isFromPod) return port;
    const flow = [...this.world.datapath.nat.flows()].find(({ clientPort }) => clientPort === port);
    return flow?.sourcePort ?? port;
  }
}
