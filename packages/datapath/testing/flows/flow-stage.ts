import assert from 'node:assert/strict';
import type { BpfMap } from '@heddle/ebpf';
import { assertPacket, Packet } from '@heddle/lab';
import type { Protocol } from '@heddle/objects';
import { dropReasonText } from '../../src/core/drop-reasons.ts';
import type { Datapath } from '../../src/datapath.ts';
import { ctState, dropReason } from '../../src/generated/abi.ts';
import { type FlowTimeouts, timeoutTicks } from '../../src/nat/flow-options.ts';
import type { FlowEntry } from '../../src/nat/flows.ts';
import { row } from '../rows.ts';
import {
  type Chosen,
  type Ends,
  type Expected,
  type FlowModel,
  keyOf,
  ModelBackend,
  type ModelFlow,
  type ModelLimits,
  type ModelPacket,
  type ModelService,
} from './flow-model.ts';
import { type FlowSlot, flowSlots } from './flow-slots.ts';
import { type Flags, type Numbers, newWindows } from './flow-windows.ts';

export type Direction = 'ingress' | 'egress';

/** Runs the programs that are compared with the model. */
export interface Engine {
  readonly datapath: Datapath;
  /** Runs a packet, without its link-layer header, through the programs and returns the result in the same form. */
  run(direction: Direction, packet: Packet): { verdict: string; bytes: Uint8Array };
  openMap(name: string): BpfMap;
  /** Advances the clock, where the caller has it, and reports garbage collections and the tick. */
  wait?(milliseconds: number, onSweep: () => void, onTick: (tick: number) => void): void;
}

/** An event of a history. Numbers choose among what exists then. */
export type Event =
  /** `beside`: to a port without a service. */
  | {
      kind: 'client';
      client: number;
      port: number;
      service: number;
      beside: boolean;
      flags: Flags;
      hostile?: boolean;
    }
  /** An attacker who knows the tuple and guesses sequence numbers sends a `hostile` segment. */
  | (Segment & { kind: 'known' | 'late' })
  | { kind: 'backend'; service: number; backend: number; state: 'active' | 'draining' | 'gone' }
  | { kind: 'wait'; milliseconds: number };

interface Segment {
  flow: number;
  isReply: boolean;
  flags: Flags;
  hostile?: boolean;
  bytes?: number;
}

const ttl = 64;
const payload = 'x';
const noPort = dropReasonText(dropReason.noPort);
const noRoom = dropReasonText(dropReason.tableFull);
const frameHeader = 14;

/** Has events happen in the model and in an engine, and demands the same of both after each. */
export class FlowStage {
  readonly #engine: Engine;
  readonly #model: FlowModel;
  readonly #clients: readonly Ends[];
  /** Returns true when the table has only flows of these clients. */
  readonly #isExact: boolean;
  #last: ModelFlow[] = [];
  /** States that flows were in and what became of packets, so that a test knows what it has tried. */
  readonly seen = new Set<string>();

  constructor(engine: Engine, model: FlowModel, clients: readonly Ends[]) {
    this.#engine = engine;
    this.#model = model;
    this.#clients = clients;
    this.#isExact = engine.wait !== undefined;
    for (const service of model.services) this.#apply(service);
    // So that the model knows what time it is.
    this.happen({ kind: 'wait', milliseconds: 0 });
  }

  happen(event: Event): void {
    const before = [...this.#model.flows].reverse();
    switch (event.kind) {
      case 'client': {
        const { address } = pick(this.#clients, event.client)!;
        const { protocol, at } = pick(this.#model.services, event.service)!;
        const from = { address, port: this.#clients[0]!.port + event.port };
        const to = event.beside ? { ...at, port: at.port + 1000 } : at;
        this.#packet('ingress', { protocol, from, to, flags: event.flags }, event.hostile);
        break;
      }
      case 'known':
      case 'late': {
        const flow = pick(event.kind === 'known' ? before : this.#last, event.flow);
        if (flow) this.#ofFlow(flow, event);
        break;
      }
      case 'backend':
        this.#change(event);
        break;
      case 'wait':
        this.#engine.wait?.(
          event.milliseconds,
          () => this.#model.sweep(),
          (tick) => {
            this.#model.tick = tick;
          },
        );
    }
    this.#last.unshift(...before.filter((flow) => !this.#model.flows.has(flow)));
    this.#compareTables();
  }

  /** Takes all services out of force. */
  end(): void {
    for (const service of this.#model.services) {
      for (const backend of service.backends) backend.state = 'gone';
      this.#engine.datapath.services.remove([keyOfRow(service)]);
    }
  }

  #ofFlow(flow: ModelFlow, { isReply, flags, hostile, bytes }: Segment): void {
    const { protocol, client, frontend, backend, source } = flow;
    const [from, to] = isReply ? [backend.at, source] : [client, frontend];
    const direction = isReply && backend.isLocal ? 'egress' : 'ingress';
    this.#packet(direction, { protocol, from, to, flags }, hostile, bytes);
  }

  /** Returns the sequence numbers of a segment of an end of the connection, or guessed ones. */
  #numbers(packet: Ways, hostile: boolean, bytes: number): Numbers {
    const known = this.#model.keys.get(keyOf(packet));
    const { client, backend } = known?.flow.windows ?? newWindows();
    const [own, other] = known?.isReply ? [backend, client] : [client, backend];
    const first = known?.isReply ? 2000 : 1000;
    const seq = packet.flags.syn ? first : (own.sent ?? first);
    const ack = packet.flags.ack ? (other.sent ?? 2000) : 0;
    return hostile ? { seq: seq + 1_000_000, ack: ack + 2_000_000, bytes } : { seq, ack, bytes };
  }

  #change({ service: n, backend: m, state }: Event & { kind: 'backend' }): void {
    const service = pick(this.#model.services, n)!;
    const at = m % service.backends.length;
    const before = service.backends[at]!;
    if (before.state === state) return;
    if (before.state === 'gone') {
      service.backends[at] = new ModelBackend(before.at, before.isLocal);
      // A new backend begins active. The next event may drain it.
    } else before.state = state;
    this.#apply(service);
  }

  #apply(service: ModelService): void {
    const { protocol, at, isNodes, countsOpen, backends } = service;
    const kind = isNodes ? 'NodePort' : 'LoadBalancer';
    const present = backends.filter(({ state }) => state !== 'gone');
    const errors = this.#engine.datapath.services.update([
      row(
        [{ kind, ...at }],
        present.map(({ at: ends, state }) => ({ ...ends, state: state as 'active' | 'draining' })),
        {
          protocol,
          key: keyOfRow(service),
          algorithm: countsOpen ? 'least-connections' : 'random',
        },
      ),
    ]);
    for (const error of errors) if (error) throw error;
  }

  #packet(direction: Direction, ways: Ways, hostile = false, size = 0): void {
    const { flags } = ways;
    const packet = { ...ways, numbers: this.#numbers(ways, hostile, size) };
    const sent = build(packet, ttl);
    const length = frameHeader + sent.bytes.length;
    const drops = this.#drops();
    const { verdict, bytes } = this.#engine.run(direction, sent);
    const whole = { ...packet, length };
    const expected =
      direction === 'egress'
        ? this.#model.leaves(whole)
        : this.#model.enters(whole, {
            chosen: chosenBy(verdict, bytes, packet),
            hadNoPort: this.#drops().get(noPort)! > drops.get(noPort)!,
            hadNoRoom: this.#drops().get(noRoom)! > drops.get(noRoom)!,
            isThere: this.#isThere(),
          });
    const what = `${direction} of ${keyOf(packet)} ${JSON.stringify(flags)}`;
    const wanted = outcome(sent, packet, expected);
    assert.equal(verdict, wanted.verdict, `${what}: ${JSON.stringify(expected)}`);
    if (wanted.packet) assertPacket(bytes, wanted.packet, what);
    if (this.#model.evictions > 0) this.seen.add('evicted');
    if (this.#model.unbelieved > 0) this.seen.add('not believed');
    this.seen.add('reason' in expected ? expected.reason : expected.verdict);
    if ('reason' in expected) {
      const words = dropReasonText(dropReason[expected.reason]);
      drops.set(words, drops.get(words)! + 1);
    }
    assert.deepEqual(this.#drops(), drops, what);
  }

  /** Returns true when a flow is in the table now. */
  #isThere(): (flow: ModelFlow) => boolean {
    const found = new Set(Array.from(this.#engine.datapath.nat.flows(), textOfEntry));
    return (flow) => found.has(textOfFlow(flow));
  }

  #keys(): Set<string> {
    using index = this.#engine.openMap('nat_index');
    const flows = new Map(
      Array.from(this.#engine.datapath.nat.flows(), (flow) => [flow.number, flow]),
    );
    return new Set(Array.from(flowSlots(index), (slot) => textOfKey(flows.get(slot.flow), slot)));
  }

  #drops(): Map<string, number> {
    return new Map(
      this.#engine.datapath.drops.counts().map(({ reason, count }) => [reason, count]),
    );
  }

  #compareTables(): void {
    const { datapath } = this.#engine;
    const mine = new Set(this.#clients.map(({ address }) => address));
    const found = [...datapath.nat.flows()]
      .filter(({ client }) => mine.has(client))
      .map((flow) => `${textOfEntry(flow)} ${flow.state} ${flow.confirmed}`);
    const wanted = [...this.#model.flows].map(
      (flow) => `${textOfFlow(flow)} ${flow.state} ${flow.confirmed}`,
    );
    assert.deepEqual(found.sort(), wanted.sort(), 'flows');
    for (const { protocol, state, confirmed } of this.#model.flows) {
      this.seen.add(`${protocol} ${state}`);
      if (confirmed) this.seen.add(`${protocol} confirmed`);
    }
    const keys = this.#keys();
    const { keys: known } = this.#model;
    for (const key of known.keys()) assert.ok(keys.has(key), `${key} is not in nat_index`);
    for (const key of keys) {
      const isMine = this.#isExact || [...mine].some((address) => key.includes(` ${address} `));
      assert.ok(!isMine || known.has(key), `${key} is in nat_index`);
    }
    if (!this.#isExact) return;
    const { flows, unanswered } = datapath.nat.status();
    assert.deepEqual([flows, unanswered], [this.#model.used, this.#model.unanswered], 'counts');
    for (const service of this.#model.services) {
      const counted = datapath.services.backendCounters(keyOfRow(service));
      const present = service.backends.filter(({ state }) => state !== 'gone');
      const traffic = ({ packets, bytes }: { packets: number; bytes: number }) =>
        this.#model.hasStrays ? {} : { packets, bytes };
      assert.deepEqual(
        counted.map((found) => {
          const { address, connections, active } = found;
          return { address, connections, active, ...traffic(found) };
        }),
        present.map((wanted) => {
          const { at, connections, active } = wanted;
          return { address: at.address, connections, active, ...traffic(wanted) };
        }),
        'counters of backends',
      );
    }
  }
}

/** All that `FlowStage.seen` should have after many histories. */
export const everything: readonly string[] = [
  ...[
    'pass',
    'send',
    'evicted',
    'not believed',
    'noFlow',
    'noBackend',
    'noPort',
    'tableFull',
    'unknownPort',
  ],
  ...['syn', 'syn-ack', 'established', 'half-closed by the client', 'reset'].map((s) => `TCP ${s}`),
  ...['half-closed by the backend', 'closed', 'closed by the backend'].map((s) => `TCP ${s}`),
  ...['UDP unanswered', 'UDP answered', 'SCTP unanswered', 'SCTP answered'],
  ...['TCP confirmed', 'UDP confirmed', 'SCTP confirmed'],
];

/** Clients that are another history's as well only if `history` is the same, 0 to 255. */
export function modelClients(end: 'v4' | 'v6', history = 0): Ends[] {
  return [1, 2, 3].map((n) => {
    const address =
      end === 'v4' ? `198.18.${history}.${n}` : `fd00:198:18:${(history + 1).toString(16)}::${n}`;
    return { address, port: 40_000 };
  });
}

/**
 * Services of every protocol, at NodePorts and at a load balancer's address. `locals` are backends on
 * the node, which two of the services share; each service has one backend elsewhere at most.
 */
export function modelServices(
  end: 'v4' | 'v6',
  node: string,
  locals: readonly [string, string],
): ModelService[] {
  const external = end === 'v4' ? '198.51.100.7' : 'fd00:198:51:100::7';
  const remote = (n: number) => {
    const address = end === 'v4' ? `10.244.9.${n}` : `fd00:10:244:9::${n}`;
    return new ModelBackend({ address, port: 8080 }, false);
  };
  const [one, two] = locals.map((address) => () => {
    return new ModelBackend({ address, port: 8080 }, true);
  }) as [() => ModelBackend, () => ModelBackend];
  const nodePort = { isNodes: true, countsOpen: false };
  return [
    { ...nodePort, protocol: 'TCP', at: { address: node, port: 30_001 }, backends: [one(), two()] },
    { ...nodePort, protocol: 'TCP', at: { address: node, port: 30_002 }, backends: [remote(1)] },
    {
      ...nodePort,
      protocol: 'UDP',
      at: { address: node, port: 30_003 },
      backends: [one(), remote(2)],
    },
    { ...nodePort, protocol: 'SCTP', at: { address: node, port: 30_004 }, backends: [remote(3)] },
    {
      ...{ isNodes: false, countsOpen: true, protocol: 'TCP' },
      at: { address: external, port: 80 },
      backends: [one(), two(), remote(4)],
    },
  ];
}

/** Returns the timeout of a flow in ticks. */
export function timeoutOf(timeouts: FlowTimeouts): ModelLimits['timeout'] {
  const ticks = timeoutTicks(timeouts);
  const numbers: Readonly<Record<Protocol, Readonly<Record<string, number>>>> = {
    TCP: {
      syn: ctState.tcpSyn,
      'syn-ack': ctState.tcpSynAck,
      established: ctState.tcpEstablished,
      'half-closed by the client': ctState.tcpClientFin,
      'half-closed by the backend': ctState.tcpBackendFin,
      closed: ctState.tcpClosedByClient,
      'closed by the backend': ctState.tcpClosedByBackend,
      reset: ctState.tcpReset,
    },
    UDP: { unanswered: ctState.udpUnanswered, answered: ctState.udp },
    SCTP: { unanswered: ctState.sctpUnanswered, answered: ctState.sctp },
  };
  return (protocol, state) => ticks[numbers[protocol][state]!]!;
}

function textOfFlow({ protocol, client, frontend, backend, source }: ModelFlow): string {
  const ends = [client, frontend, backend.at, source];
  return `${protocol} ${ends.map(({ address, port }) => `${address} ${port}`).join(' ')}`;
}

function textOfEntry(flow: FlowEntry): string {
  const { protocol, client, clientPort, frontend, frontendPort } = flow;
  const { backend, backendPort, source, sourcePort } = flow;
  return `${protocol} ${client} ${clientPort} ${frontend} ${frontendPort} ${backend} ${backendPort} ${source} ${sourcePort}`;
}

function textOfKey(flow: FlowEntry | undefined, { isReply, flow: number }: FlowSlot): string {
  assert.ok(flow, `a key is of flow ${number}, which is none`);
  const { protocol, client, clientPort, frontend, frontendPort } = flow;
  const { backend, backendPort, source, sourcePort } = flow;
  return keyOf(
    isReply
      ? {
          protocol,
          from: { address: backend, port: backendPort },
          to: { address: source, port: sourcePort },
        }
      : {
          protocol,
          from: { address: client, port: clientPort },
          to: { address: frontend, port: frontendPort },
        },
  );
}

const keyOfRow = ({ protocol, at }: ModelService) => `model/${protocol}:${at.address}:${at.port}`;

function pick<Item>(items: readonly Item[], n: number): Item | undefined {
  return items[n % items.length];
}

/** Returns the ends that a packet of a new flow was given, if it was sent on and not answered. */
function chosenBy(verdict: string, bytes: Uint8Array, { from }: { from: Ends }): Chosen {
  if (verdict !== 'send') return undefined;
  const packet = Packet.parseIp(bytes);
  const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
  const ports = packet.layer('tcp') ?? packet.layer('udp') ?? packet.layer('sctp');
  if (!ports || ip.dst === from.address) return undefined;
  return {
    source: { address: ip.src, port: ports.sport },
    backend: { address: ip.dst, port: ports.dport },
  };
}

type Ways = Pick<ModelPacket, 'protocol' | 'from' | 'to' | 'flags'>;
type Shape = Ways & Pick<ModelPacket, 'numbers'>;

function header(from: string, to: string, hops: number, df = false): Packet {
  const ends = { src: from, dst: to };
  const none = new Packet({ layers: [] });
  if (to.includes(':')) return none.ipv6({ ...ends, hopLimit: hops });
  return none.ipv4({ ...ends, ttl: hops, ...(df ? { df } : {}) });
}

function build({ protocol, from, to, flags, numbers }: Shape, hops: number): Packet {
  const ip = header(from.address, to.address, hops);
  const ports = { sport: from.port, dport: to.port };
  if (protocol === 'TCP') {
    const { seq, ack, bytes } = numbers;
    return ip.tcp({ ...ports, ...flags, seq, ackSeq: ack }).payload('x'.repeat(bytes));
  }
  if (protocol === 'UDP') return ip.udp(ports).payload(payload);
  const type = flags.syn && !flags.ack && !flags.rst ? 'init' : 'data';
  return ip.sctp({ ...ports, tag: 1, chunks: [{ type, value: new Uint8Array(16) }] });
}

/** Returns the packet and verdict that the model expects. */
function outcome(
  sent: Packet,
  shape: Shape,
  expected: Expected,
): { verdict: string; packet: Packet | undefined } {
  if ('packet' in expected) {
    const hops = expected.verdict === 'send' ? ttl - 1 : ttl;
    return { verdict: expected.verdict, packet: build(expected.packet, hops) };
  }
  const { from, to, flags, numbers } = shape;
  // The bytes of a dropped packet do not matter.
  if (expected.verdict === 'drop') return { verdict: 'drop', packet: undefined };
  const back = header(to.address, from.address, 64, true);
  if (expected.verdict === 'unreachable') {
    const about = sent.first((to.address.includes(':') ? 40 : 20) + 8);
    const packet = to.address.includes(':')
      ? back.icmpv6({ type: 'port-unreachable', embedded: about })
      : back.icmp({ type: 'port-unreachable', embedded: about });
    return { verdict: 'send', packet };
  }
  const ports = { sport: to.port, dport: from.port, rst: true, window: 0 };
  const taken = numbers.seq + numbers.bytes + (flags.syn ? 1 : 0) + (flags.fin ? 1 : 0);
  const packet = flags.ack
    ? back.tcp({ ...ports, seq: numbers.ack })
    : back.tcp({ ...ports, ack: true, ackSeq: taken });
  return { verdict: 'send', packet };
}
