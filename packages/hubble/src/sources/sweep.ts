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
  ctState,
  decodeCtEntry,
} from '@heddle/datapath/abi';

/** The state of a connection in its entry of the conntrack table. */
export type Phase = 'opening' | 'open' | 'ended' | 'reset';

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

/** Returns the phase of an entry, or undefined if the entry is no connection. */
function phaseOf(stateWord: number): Phase | undefined {
  if (protocolOfState(stateWord) === undefined) return undefined;
  return phases[stateOf(stateWord)] ?? 'open';
}

/** A connection with packets is reported again after this time, in seconds. */
const repeatAfter = 60;

/** The words of an entry that a sweep compares, and what it remembers. */
const [clientWord, portsWord, otherPortsWord, stateAt] = [
  ctEntryCodec.offsets.client / 4 + 3,
  ctEntryCodec.offsets.clientPort / 4,
  ctEntryCodec.offsets.backendPort / 4,
  ctEntryCodec.offsets.stateWord / 4,
];
const entryWords = ctEntrySize / 4;
const rememberedWords = 5;

/**
 * Finds the changes of the conntrack table since the last sweep. An entry stays in the table longer than the
 * time between sweeps, so none is missed, whatever the rate is. A sweep compares four words of each entry
 * that was ever used, and decodes only those that have changed.
 */
export class ConnectionSweep {
  /** The last sweep's words: client, ports, other ports, state, and the second of the last report. */
  readonly #seen: Uint32Array;
  #isFirst = true;

  /** `entries` is the size of the table. */
  constructor(entries: number) {
    this.#seen = new Uint32Array(entries * rememberedWords);
  }

  /**
   * Yields the changes. `memory` is the map `nat_flows`, whose entries up to `highWater` were used; `now` is
   * in seconds. Connections that the first sweep finds are not new: they may be old.
   */
  *sweep(memory: Uint8Array, highWater: number, now: number): Generator<ConnectionChange> {
    const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length >>> 2);
    const end = Math.min(
      highWater + 1,
      this.#seen.length / rememberedWords,
      words.length / entryWords,
    );
    const seen = this.#seen;
    // The entry 0 is never used.
    for (let number = 1; number < end; number++) {
      const at = number * entryWords;
      const before = number * rememberedWords;
      const stateWord = words[at + stateAt]!;
      const isSame =
        seen[before] === words[at + clientWord] &&
        seen[before + 1] === words[at + portsWord] &&
        seen[before + 2] === words[at + otherPortsWord];
      if (isSame && seen[before + 3] === stateWord) continue;
      const entry = decodeCtEntry(memory, at * 4);
      // An entry that changes meanwhile is read by the next sweep.
      if (words[at + stateAt] !== stateWord) continue;
      const change = changeOf(entry, isSame ? seen[before + 3]! : 0, this.#isFirst);
      seen[before] = words[at + clientWord]!;
      seen[before + 1] = words[at + portsWord]!;
      seen[before + 2] = words[at + otherPortsWord]!;
      seen[before + 3] = stateWord;
      if (!change) continue;
      const isDue = isSame && now - seen[before + 4]! >= repeatAfter;
      if (!change.isNew && !change.isAnswered && !change.isEnded && !isDue && !this.#isFirst)
        continue;
      seen[before + 4] = now;
      yield change;
    }
    this.#isFirst = false;
  }
}

function changeOf(entry: CtEntry, before: number, isFirst: boolean): ConnectionChange | undefined {
  const { stateWord } = entry;
  const [protocol, phase] = [protocolOfState(stateWord), phaseOf(stateWord)];
  if (!protocol || !phase) return undefined;
  const phaseBefore = phaseOf(before);
  const isOver = (each: Phase | undefined) => each === 'ended' || each === 'reset';
  // An entry of a connection that is over serves the next one with the same addresses and ports.
  const isNew = phaseBefore === undefined || (isOver(phaseBefore) && !isOver(phase));
  const wasOpening = isNew || phaseBefore === 'opening';
  return {
    ...{ entry, protocol, phase, isTunnelled: isTunnelled(stateWord) },
    isNew: isNew && !isFirst,
    // A reset is no answer, but both sides may have wanted the connection before.
    isAnswered:
      wasOpening &&
      phase !== 'opening' &&
      (phase !== 'reset' || isConfirmed(stateWord)) &&
      !isFirst,
    isEnded: isOver(phase) && !isOver(phaseBefore) && !isFirst,
    snatIndex: snatIndexOf(stateWord),
  };
}
