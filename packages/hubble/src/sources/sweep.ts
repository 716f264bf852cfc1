import {
  type FlowEntry,
  isConfirmed,
  isTunnelled,
  protocolOfState,
  snatIndexOf,
  stateOf,
} from '@heddle/datapath';
import {
  type CtEntry,
  ctEntryCodec,
  ctEntrySize,
  ctFactsCodec,
  ctFactsSize,
  ctState,
} from '@heddle/datapath/abi';
import type { IpBytes } from '@heddle/sys';

/** The state of a connection in its entry of the conntrack table. */
export type Phase = 'opening' | 'open' | 'ended' | 'reset';

/** The packets and bytes that a side has sent since the last report. */
export interface Amount {
  readonly packets: number;
  readonly bytes: number;
}

/** A connection at the moment in which a sweep has found a change. */
export interface ConnectionChange {
  readonly entry: CtEntry;
  readonly protocol: FlowEntry['protocol'];
  /** True if the sweep before has not seen the connection. */
  readonly isNew: boolean;
  /** True if the other side has answered, and the sweep before did not know it. */
  readonly isAnswered: boolean;
  /** True if one side has ended it, and the sweep before did not know it. */
  readonly isEnded: boolean;
  readonly phase: Phase;
  /** The index of the source address in `nat_sources`; 0 if the client's own is kept. */
  readonly snatIndex: number;
  /** True if packets to the backend are in a tunnel. */
  readonly isTunnelled: boolean;
  /** The service that the client's socket has asked for, if the datapath knows it. */
  readonly asked: { readonly address: IpBytes; readonly port: number } | undefined;
  /** The amounts of the client and of the backend; zeros if the datapath does not count them. */
  readonly sent: readonly [client: Amount, backend: Amount];
}

/** The memory that a sweep reads. */
export interface SweptTable {
  /** The map `nat_flows`. */
  readonly flows: Uint8Array;
  /** The map `nat_facts`, if the datapath has counters. */
  readonly facts: Uint8Array | undefined;
  /** The number of the last entry that was ever used. */
  readonly highWater: number;
}

/** The phases of states other than `open`. */
const phases: Readonly<Record<number, Phase>> = {
  [ctState.tcpSyn]: 'opening',
  [ctState.tcpClientFin]: 'ended',
  [ctState.tcpBackendFin]: 'ended',
  [ctState.tcpClosedByClient]: 'ended',
  [ctState.tcpClosedByBackend]: 'ended',
  [ctState.tcpReset]: 'reset',
  [ctState.udpUnanswered]: 'opening',
  [ctState.sctpUnanswered]: 'opening',
  [ctState.icmpUnanswered]: 'opening',
};

/** The phase of each state; undefined if an entry in it is no connection. */
const phaseOfState: readonly (Phase | undefined)[] = Array.from({ length: 16 }, (_, state) =>
  protocolOfState(state << 16) === undefined ? undefined : (phases[state] ?? 'open'),
);

/** A connection with packets is reported again after this time, in seconds. */
const repeatAfter = 60;

const { client, frontend, backend, clientPort, backendPort, stateWord, backendId } =
  ctEntryCodec.offsets;
/** The words of an entry that a sweep compares. */
const [clientAt, portsAt, otherPortsAt, stateAt] = [
  client / 4 + 3,
  clientPort / 4,
  backendPort / 4,
  stateWord / 4,
];
const entryWords = ctEntrySize / 4;
const factsWords = ctFactsSize / 4;
const [packetsAt, bytesAt] = [ctFactsCodec.offsets.packets / 4, ctFactsCodec.offsets.bytes / 4];

const [frontendAt, frontendPortAt] = [
  ctFactsCodec.offsets.frontend / 4,
  ctFactsCodec.offsets.frontendPort / 4,
];

/** The words that are remembered: client, ports, other ports, state, second of the last report, packets of both. */
const rememberedWords = 7;

/**
 * Finds the changes of the conntrack table since the last sweep. An entry stays in the table longer than the
 * time between sweeps, so none is missed, whatever the rate is. A sweep compares four words of each entry
 * that was ever used, and reads only those that have changed.
 */
export class ConnectionSweep {
  readonly #seen: Uint32Array;
  /** The bytes of both sides at the last report. */
  readonly #bytes: Float64Array;
  /** The numbers of the entries that a sweep is to report. */
  readonly #found: Uint32Array;
  readonly #entry = new EntryCopy();
  readonly #asked = new AskedService();
  #isFirst = true;

  /** `entries` is the size of the table. */
  constructor(entries: number) {
    this.#seen = new Uint32Array(entries * rememberedWords);
    this.#bytes = new Float64Array(entries * 2);
    this.#found = new Uint32Array(entries);
  }

  /**
   * Reports the changes, at most `most` of them, which are an even sample. Returns the number of those left
   * out. `now` is in seconds. A change is valid until the callback returns. Connections that the first sweep
   * finds are not new: they may be old.
   */
  sweep(
    { flows, facts, highWater }: SweptTable,
    now: number,
    most: number,
    report: (change: ConnectionChange) => void,
  ): number {
    const words = wordsOf(flows);
    const counts = facts && wordsOf(facts);
    const found = this.#find(words, highWater, now);
    let [share, left] = [0, 0];
    for (let i = 0; i < found; i++) {
      const number = this.#found[i]!;
      share += most;
      const isTaken = share >= found || found <= most;
      if (share >= found) share -= found;
      const change = this.#take(words, counts, number, now);
      if (!change) continue;
      if (isTaken) report(change);
      else left++;
    }
    this.#isFirst = false;
    return left;
  }

  /** Writes the numbers of the entries to report into `#found`. Returns how many there are. */
  #find(words: Uint32Array, highWater: number, now: number): number {
    const [seen, found] = [this.#seen, this.#found];
    const end = Math.min(highWater + 1, found.length, words.length / entryWords);
    let count = 0;
    // The entry 0 is never used.
    for (let number = 1; number < end; number++) {
      const at = number * entryWords;
      const before = number * rememberedWords;
      const word = words[at + stateAt]!;
      const isSame =
        seen[before] === words[at + clientAt] &&
        seen[before + 1] === words[at + portsAt] &&
        seen[before + 2] === words[at + otherPortsAt];
      if (isSame && seen[before + 3] === word) continue;
      const phase = phaseOfState[stateOf(word)];
      if (
        phase !== undefined &&
        isSame &&
        phase === phaseOfState[stateOf(seen[before + 3]!)] &&
        now - seen[before + 4]! < repeatAfter &&
        !this.#isFirst
      ) {
        // The connection has had packets.
        seen[before + 3] = word;
        continue;
      }
      if (phase === undefined) this.#remember(before, words, at, word);
      else found[count++] = number;
    }
    return count;
  }

  /** Reads an entry. Returns its change, or undefined if it changes meanwhile: the next sweep reads it. */
  #take(
    words: Uint32Array,
    facts: Uint32Array | undefined,
    number: number,
    now: number,
  ): ConnectionChange | undefined {
    const at = number * entryWords;
    const before = number * rememberedWords;
    const seen = this.#seen;
    const word = this.#entry.read(words, at);
    const phase = phaseOfState[stateOf(word)];
    if (words[at + stateAt] !== word || phase === undefined) return undefined;
    const own = this.#entry.words;
    const isSame =
      seen[before] === own[clientAt] &&
      seen[before + 1] === own[portsAt] &&
      seen[before + 2] === own[otherPortsAt];
    const phaseBefore = isSame ? phaseOfState[stateOf(seen[before + 3]!)] : undefined;
    // An entry of a connection that is over serves the next one with the same addresses and ports.
    const isNew = phaseBefore === undefined || (isOver(phaseBefore) && !isOver(phase));
    this.#remember(before, own, 0, word);
    seen[before + 4] = now;
    const isFirst = this.#isFirst;
    const sent = facts ? this.#sent(facts, number, isNew && !isFirst) : nothing;
    return {
      entry: this.#entry.entry,
      protocol: protocolOfState(word)!,
      phase,
      isTunnelled: isTunnelled(word),
      isNew: isNew && !isFirst,
      // A reset is no answer, but both sides may have wanted the connection before.
      isAnswered:
        (isNew || phaseBefore === 'opening') &&
        phase !== 'opening' &&
        (phase !== 'reset' || isConfirmed(word)) &&
        !isFirst,
      isEnded: isOver(phase) && !isOver(phaseBefore) && !isFirst,
      snatIndex: snatIndexOf(word),
      sent: isFirst ? nothing : sent,
      asked: facts && this.#asked.read(facts, number),
    };
  }

  #remember(before: number, words: Uint32Array, at: number, word: number): void {
    const seen = this.#seen;
    seen[before] = words[at + clientAt]!;
    seen[before + 1] = words[at + portsAt]!;
    seen[before + 2] = words[at + otherPortsAt]!;
    seen[before + 3] = word;
  }

  /** Returns the amounts since the last report of the entry, and remembers the present ones. */
  #sent(facts: Uint32Array, number: number, isNew: boolean): ConnectionChange['sent'] {
    return [this.#sentBy(facts, number, 0, isNew), this.#sentBy(facts, number, 1, isNew)];
  }

  #sentBy(facts: Uint32Array, number: number, side: 0 | 1, isNew: boolean): Amount {
    const at = number * factsWords;
    const packetsBefore = number * rememberedWords + 5 + side;
    const bytesBefore = number * 2 + side;
    const packets = facts[at + packetsAt + 2 * side]!;
    const bytes = facts[at + bytesAt + 2 * side]! + facts[at + bytesAt + 2 * side + 1]! * 2 ** 32;
    const amount = {
      // The lower half of the counter may wrap between two reports.
      packets: isNew ? packets : (packets - this.#seen[packetsBefore]!) >>> 0,
      bytes: isNew ? bytes : Math.max(0, bytes - this.#bytes[bytesBefore]!),
    };
    this.#seen[packetsBefore] = packets;
    this.#bytes[bytesBefore] = bytes;
    return amount;
  }
}

const nothing: ConnectionChange['sent'] = [
  { packets: 0, bytes: 0 },
  { packets: 0, bytes: 0 },
];

function isOver(phase: Phase | undefined): boolean {
  return phase === 'ended' || phase === 'reset';
}

function wordsOf(memory: Uint8Array): Uint32Array {
  return new Uint32Array(memory.buffer, memory.byteOffset, memory.length >>> 2);
}

/** The copy of an entry. Its addresses are views that are made once: a view costs more than the copy. */
class EntryCopy {
  readonly words = new Uint32Array(entryWords);
  readonly #view = new DataView(this.words.buffer);
  readonly entry: { -readonly [Field in keyof CtEntry]: CtEntry[Field] } = {
    client: new Uint8Array(this.words.buffer, client, 16),
    frontend: new Uint8Array(this.words.buffer, frontend, 16),
    backend: new Uint8Array(this.words.buffer, backend, 16),
    ...{ clientPort: 0, frontendPort: 0, backendPort: 0, sourcePort: 0 },
    ...{ backendId: 0, stateWord: 0 },
  };

  /** Copies the entry that begins at a word of the table. Returns its state word. */
  read(table: Uint32Array, at: number): number {
    const { words, entry } = this;
    for (let i = 0; i < entryWords; i++) words[i] = table[at + i]!;
    const view = this.#view;
    entry.clientPort = view.getUint16(clientPort);
    entry.frontendPort = view.getUint16(ctEntryCodec.offsets.frontendPort);
    entry.backendPort = view.getUint16(backendPort);
    entry.sourcePort = view.getUint16(ctEntryCodec.offsets.sourcePort);
    entry.backendId = words[backendId / 4]!;
    entry.stateWord = words[stateAt]!;
    return entry.stateWord;
  }
}

/** The copy of the service in the facts about a connection. */
class AskedService {
  readonly #words = new Uint32Array(4);
  readonly #value = { address: new Uint8Array(this.#words.buffer), port: 0 };

  /** Returns the service of an entry; it is valid until the next call. */
  read(facts: Uint32Array, number: number): ConnectionChange['asked'] {
    const at = number * factsWords;
    // The port is in the first bytes of its word, in network order.
    const port = facts[at + frontendPortAt]! & 0xffff;
    if (port === 0) return undefined;
    for (let i = 0; i < 4; i++) this.#words[i] = facts[at + frontendAt + i]!;
    this.#value.port = ((port & 0xff) << 8) | (port >>> 8);
    return this.#value;
  }
}
