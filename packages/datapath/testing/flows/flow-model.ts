import assert from 'node:assert/strict';
import type { Protocol } from '@heddle/objects';
import type { dropReason } from '../../src/generated/abi.ts';
import { type Flags, judge, type Numbers, newWindows, type Windows } from './flow-windows.ts';

// A model of the flow table: its guarantees, one packet at a time, without its data structures (hash, list of free
// entries, atomic words).

export interface Ends {
  readonly address: string;
  /** Host order. */
  readonly port: number;
}

/** The fields of a packet that the flow table reads. For SCTP, `syn` is an INIT. */
export interface ModelPacket {
  readonly protocol: Protocol;
  readonly from: Ends;
  readonly to: Ends;
  readonly flags: Flags;
  /** The sequence numbers. Only segments of TCP have them. */
  readonly numbers: Numbers;
  /** Length of the frame in bytes. */
  readonly length: number;
}

/** An endpoint during one stay in its service: if it leaves and comes back, it is another one. */
export class ModelBackend {
  readonly at: Ends;
  readonly isLocal: boolean;
  state: 'active' | 'draining' | 'gone' = 'active';
  connections = 0;
  active = 0;
  packets = 0;
  bytes = 0;

  constructor(at: Ends, isLocal: boolean) {
    this.at = at;
    this.isLocal = isLocal;
  }
}

export interface ModelService {
  readonly protocol: Protocol;
  readonly at: Ends;
  /** Packets to other ports of its address are the node's own affair. */
  readonly isNodes: boolean;
  readonly countsOpen: boolean;
  readonly backends: ModelBackend[];
}

type State =
  | 'syn'
  | 'syn-ack'
  | 'established'
  | 'half-closed by the client'
  | 'half-closed by the backend'
  | 'closed'
  | 'closed by the backend'
  | 'reset'
  | 'unanswered'
  | 'answered';

export interface ModelFlow {
  readonly protocol: Protocol;
  readonly client: Ends;
  readonly frontend: Ends;
  readonly backend: ModelBackend;
  /** The address and port that the backend sees in place of the client's. */
  readonly source: Ends;
  readonly isCounted: boolean;
  /** True when both sides have confirmed the flow; else it may be evicted. */
  confirmed: boolean;
  state: State;
  readonly windows: Windows;
  /** The tick of the last packet. */
  seen: number;
}

export interface ModelLimits {
  readonly flows: number;
  /** The limit of unconfirmed flows. Above it, new flows evict others. */
  readonly unanswered: number;
  readonly full: number;
  /** The limit of confirmed UDP flows. */
  readonly confirmedUdp: number;
  readonly ports: { readonly first: number; readonly last: number };
  /** The SNAT address. */
  readonly node: string;
  /** The number of ticks without a packet after which a flow expires. */
  readonly timeout: (protocol: Protocol, state: State) => number;
}

export type Expected =
  /** The packet goes to the stack or leaves a device, with this content. */
  | { readonly verdict: 'pass' | 'send'; readonly packet: ModelPacket }
  | {
      readonly verdict: 'drop' | 'reset' | 'unreachable';
      readonly reason: keyof typeof dropReason;
    };

/** The choice of the programs for a new flow, where the model allows several. */
export type Chosen = { readonly source: Ends; readonly backend: Ends } | undefined;

/** The outcome for a packet and for the table, where the table is free to choose. */
export interface Outcome {
  readonly chosen: Chosen;
  /** True when the packet was dropped for lack of a port. */
  readonly hadNoPort: boolean;
  /** True when it was dropped because the table was full, or the index, which may be full before the table is. */
  readonly hadNoRoom: boolean;
  /** Returns true when a flow is in the table afterwards. */
  readonly isThere: (flow: ModelFlow) => boolean;
}

const unanswered: ReadonlySet<State> = new Set<State>(['syn', 'syn-ack', 'unanswered']);
const closed: ReadonlySet<State> = new Set<State>(['closed', 'closed by the backend', 'reset']);

export class FlowModel {
  readonly services: ModelService[];
  readonly flows = new Set<ModelFlow>();
  readonly #limits: ModelLimits;
  /** Flows by tuple, with the direction of the packet. */
  readonly keys = new Map<string, { readonly flow: ModelFlow; readonly isReply: boolean }>();
  /** The entries of ended flows: for each, the number of sweeps since then. */
  #ended: number[] = [];
  /** The tick in which a search found no free port for a backend. */
  readonly #exhausted = new Map<string, number>();
  tick = 0;
  /** The number of evicted flows. */
  evictions = 0;
  /** Counts of TCP segments that were invalid and changed nothing. */
  unbelieved = 0;
  /** True when a flow of a removed backend had a packet: it is counted for the backend that has the id now. */
  hasStrays = false;

  constructor(limits: ModelLimits, services: ModelService[]) {
    this.#limits = limits;
    this.services = services;
  }

  /** Places that are not free. */
  get used(): number {
    return this.flows.size + this.#ended.length;
  }

  get unanswered(): number {
    return [...this.flows].filter(({ confirmed }) => !confirmed).length;
  }

  /** Returns the expected outcome of a packet that enters by the node's device. */
  enters(packet: ModelPacket, outcome: Outcome): Expected {
    const known = this.keys.get(keyOf(packet));
    if (known?.isReply) return { verdict: 'send', packet: this.#back(packet, known.flow) };
    if (known && this.#goesOn(packet, known.flow)) {
      return { verdict: 'send', packet: this.#there(packet, known.flow) };
    }
    if (known) this.#leave(packet, known.flow);
    return this.#begin(packet, outcome);
  }

  /** Returns the expected outcome of a packet that leaves by it, e.g. the answer of a backend on this node. */
  leaves(packet: ModelPacket): Expected {
    const known = this.keys.get(keyOf(packet));
    if (!known?.isReply) return { verdict: 'pass', packet };
    const { flow } = known;
    if (flow.backend.state !== 'gone') {
      return { verdict: 'pass', packet: this.#back(packet, flow) };
    }
    // A pod's word after it has left the service is lost, unless it begins a connection of its own.
    const isSyn = packet.protocol === 'TCP' && packet.flags.syn === true;
    const begins = (isSyn || isFirst(packet.protocol, packet.flags)) && !unanswered.has(flow.state);
    if (!begins) return { verdict: 'drop', reason: 'noBackend' };
    this.#end(flow);
    return { verdict: 'pass', packet };
  }

  /** Does what one pass of the garbage collection does. */
  sweep(): void {
    const isTight = this.used * 2 > this.#limits.flows + 1;
    this.#ended = this.#ended.map((sweeps) => sweeps + 1).filter((sweeps) => sweeps < 2);
    for (const flow of this.flows) {
      // Without its backend a flow is kept no longer than one that was reset; but while there is room,
      // one to a pod of this node is, so that what the pod still sends is known.
      const isOver = flow.backend.state === 'gone' && (isTight || !isLocal(flow));
      const isShort = flow.state === 'answered' && !flow.confirmed;
      const state = isOver ? 'reset' : isShort ? 'unanswered' : flow.state;
      const limit = this.#limits.timeout('TCP', 'reset');
      const most = state === 'reset' ? limit : this.#limits.timeout(flow.protocol, state);
      if (this.tick - flow.seen > most) this.#end(flow);
    }
  }

  #goesOn({ protocol, flags }: ModelPacket, { backend, state }: ModelFlow): boolean {
    if (backend.state === 'gone') return false;
    if (!isFirst(protocol, flags)) return true;
    return !closed.has(state) && (state !== 'syn' || backend.state === 'active');
  }

  #begin(packet: ModelPacket, outcome: Outcome): Expected {
    const { protocol, flags, to } = packet;
    const { chosen } = outcome;
    const here = this.services.filter(({ at }) => at.address === to.address);
    const service = here.find((each) => each.protocol === protocol && each.at.port === to.port);
    if (!service) {
      if (here.length === 0 || here[0]!.isNodes) return { verdict: 'pass', packet };
      return { verdict: 'drop', reason: 'unknownPort' };
    }
    if (protocol !== 'UDP' && !isFirst(protocol, flags)) {
      // The stack's own connections may have that port of the node.
      return here[0]!.isNodes ? { verdict: 'pass', packet } : refused(packet, 'noFlow');
    }
    let candidates = service.backends.filter(({ state }) => state === 'active');
    if (candidates.length === 0) return refused(packet, 'noBackend');
    if (service.countsOpen) {
      const fewest = Math.min(...candidates.map(({ active }) => active));
      candidates = candidates.filter(({ active }) => active === fewest);
    }
    // Once per tick, the search for a port takes an entry first.
    const isKnownExhausted = candidates.some(
      ({ at, isLocal }) => !isLocal && this.#exhausted.get(textOf(at)) === this.tick,
    );
    if (outcome.hadNoPort && isKnownExhausted) return { verdict: 'drop', reason: 'noPort' };
    this.#makeRoom(packet, outcome);
    if (this.used >= this.#limits.flows) return { verdict: 'drop', reason: 'tableFull' };
    if (outcome.hadNoRoom && this.used > 0.7 * this.#limits.flows) {
      this.#ended.push(0);
      return { verdict: 'drop', reason: 'tableFull' };
    }
    const backend = chosen
      ? candidates.find(({ at }) => sameEnds(at, chosen.backend))
      : candidates.find((each) => this.#sources(packet, each).length === 0);
    assert.ok(backend, chosen ? 'a backend was chosen that may not be' : 'there is a free port');
    const sources = this.#sources(packet, backend);
    if (sources.length === 0) {
      this.#exhausted.set(textOf(backend.at), this.tick);
      this.#ended.push(0);
      return { verdict: 'drop', reason: 'noPort' };
    }
    const source = sources.find((each) => chosen && sameEnds(each, chosen.source));
    assert.ok(source, 'a source was chosen that may not be');
    const flow: ModelFlow = {
      ...{ protocol, backend, source, client: packet.from, frontend: packet.to },
      isCounted: service.countsOpen,
      confirmed: false,
      windows: newWindows(),
      state: protocol === 'TCP' ? 'syn' : 'unanswered',
      seen: this.tick,
    };
    this.flows.add(flow);
    this.keys.set(keyOf(packet), { flow, isReply: false });
    this.keys.set(replyKey(packet, source, backend), { flow, isReply: true });
    backend.connections++;
    if (flow.isCounted) backend.active++;
    return { verdict: 'send', packet: this.#there(packet, flow) };
  }

  /** Evicts the flows that the programs have evicted. Each of them must be evictable. */
  #makeRoom({ protocol }: ModelPacket, { chosen, isThere }: Outcome): void {
    const { unanswered, full } = this.#limits;
    const isFull = this.used >= full;
    const evictable = [...this.flows].filter(
      (flow) => !flow.confirmed || (this.unanswered < unanswered && closed.has(flow.state)),
    );
    const holder =
      chosen && this.keys.get(keyOf({ protocol, from: chosen.backend, to: chosen.source }))?.flow;
    // The new flow may look like the one whose reply key it has taken.
    const evicted = [...this.flows].filter((flow) => flow === holder || !isThere(flow));
    if (isFull || this.unanswered >= unanswered) {
      assert.equal(evicted.length > 0, evictable.length > 0, 'room is made where it can be');
    }
    for (const flow of evicted) {
      const isPort = flow === holder && (!flow.confirmed || closed.has(flow.state));
      assert.ok(isPort || evictable.includes(flow), 'a flow was evicted that may not be');
      assert.ok(isPort || isFull || this.unanswered >= unanswered, 'there was room');
    }
    for (const flow of evicted) {
      this.#end(flow);
      // Its entry is free at once.
      this.#ended.pop();
      this.evictions++;
    }
  }

  /** Returns the sources that the backend may see: the client towards a local backend, else an SNAT port. */
  #sources(packet: ModelPacket, backend: ModelBackend): Ends[] {
    const isFree = (source: Ends) => !this.keys.has(replyKey(packet, source, backend));
    if (backend.isLocal && isFree(packet.from)) return [packet.from];
    if (this.#exhausted.get(textOf(backend.at)) === this.tick) return [];
    const { ports, node } = this.#limits;
    const address = backend.isLocal ? packet.from.address : node;
    const all = Array.from({ length: ports.last - ports.first + 1 }, (_, i) => ports.first + i);
    const sources = all.map((port) => ({ address, port }));
    const free = sources.filter(isFree);
    if (free.length > 0) return free;
    return [];
  }

  #there(packet: ModelPacket, flow: ModelFlow): ModelPacket {
    this.#note(packet, flow, false);
    return { ...packet, from: flow.source, to: flow.backend.at };
  }

  #back(packet: ModelPacket, flow: ModelFlow): ModelPacket {
    this.#note(packet, flow, true);
    return { ...packet, from: flow.frontend, to: flow.client };
  }

  #note({ flags, numbers, length }: ModelPacket, flow: ModelFlow, isReply: boolean): void {
    const { backend } = flow;
    const before = flow.state;
    flow.seen = this.tick;
    if (flow.protocol === 'TCP') {
      const said = judge(flow.windows, before, flags, numbers, isReply);
      if (said.isBelieved) flow.state = nextState(before, flags, isReply);
      else this.unbelieved++;
      flow.confirmed ||= said.confirms;
    } else {
      if (isReply) flow.state = 'answered';
      flow.confirmed ||= this.#isConfirmedBy(flow, before, flags, isReply);
    }
    if (backend.state === 'gone') this.hasStrays = true;
    backend.packets++;
    backend.bytes += length;
    if (flow.isCounted && closed.has(flow.state) && !closed.has(before)) backend.active--;
  }

  #isConfirmedBy(
    { protocol }: ModelFlow,
    before: State,
    { syn, ack, rst }: Flags,
    isReply: boolean,
  ): boolean {
    if (before !== 'answered') return false;
    // An association is confirmed by what only follows a cookie.
    if (protocol === 'SCTP') return isReply && !(syn && !ack && !rst);
    const confirmed = [...this.flows].filter((flow) => flow.protocol === 'UDP' && flow.confirmed);
    return !isReply && confirmed.length < this.#limits.confirmedUdp;
  }

  /** A flow that the client's packet, which has its key, does not go on with. */
  #leave(packet: ModelPacket, flow: ModelFlow): void {
    if (flow.backend.state === 'gone' && isLocal(flow)) this.keys.delete(keyOf(packet));
    else this.#end(flow);
  }

  #end(flow: ModelFlow): void {
    this.flows.delete(flow);
    for (const [key, { flow: other }] of this.keys) if (other === flow) this.keys.delete(key);
    if (flow.isCounted && !closed.has(flow.state)) flow.backend.active--;
    this.#ended.push(0);
  }
}

/**
 * Before a client has acknowledged what the backend answered, a FIN of it says nothing: who invents
 * addresses must not come by the long timeout of a connection that is half closed.
 */
function nextState(state: State, { syn, ack, fin, rst }: Flags, isReply: boolean): State {
  if (rst) return 'reset';
  if (isReply) {
    if (fin && (state === 'half-closed by the client' || state === 'closed')) return 'closed';
    if (fin && state !== 'closed by the backend' && state !== 'reset') {
      return 'half-closed by the backend';
    }
    return state === 'syn' && syn ? 'syn-ack' : state;
  }
  if (state === 'syn') return state;
  if (state === 'syn-ack') {
    if (syn || !ack) return state;
    return fin ? 'half-closed by the client' : 'established';
  }
  if (fin && state === 'established') return 'half-closed by the client';
  if (fin && state === 'half-closed by the backend') return 'closed by the backend';
  if (state === 'closed' && !fin && !syn) return 'reset';
  return state;
}

/** Returns true when the backend sees the client's own address. */
const isLocal = ({ backend }: ModelFlow) => backend.isLocal;

function isFirst(protocol: Protocol, { syn, ack, rst }: Flags): boolean {
  return protocol !== 'UDP' && syn === true && !ack && !rst;
}

function refused({ protocol, flags }: ModelPacket, reason: 'noFlow' | 'noBackend'): Expected {
  if (protocol !== 'TCP') return { verdict: 'unreachable', reason };
  return { verdict: flags.rst ? 'drop' : 'reset', reason };
}

const textOf = ({ address, port }: Ends) => `${address} ${port}`;
const sameEnds = (one: Ends, other: Ends) =>
  one.address === other.address && one.port === other.port;

/** Returns the key of a packet, as text. */
export function keyOf({
  protocol,
  from,
  to,
}: Pick<ModelPacket, 'from' | 'to'> & { readonly protocol: string }) {
  return `${protocol} ${from.address} ${from.port} ${to.address} ${to.port}`;
}

const replyKey = ({ protocol }: ModelPacket, source: Ends, { at }: ModelBackend) =>
  keyOf({ protocol, from: at, to: source });
