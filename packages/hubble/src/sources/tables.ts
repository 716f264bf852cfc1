import { currentPins, decodeCtTable } from '@heddle/datapath';
import { type Bpf, BpfMap, type Mapping } from '@heddle/ebpf';
import { allOrNothing, type IpBytes, isMissing } from '@heddle/sys';

/** The mapped tables of a node's datapath, for reading. */
export class NodeTables implements Disposable {
  readonly #bpf: Bpf;
  readonly #path: string;
  readonly #table: BpfMap;
  readonly #flows: BpfMap;
  readonly #sources: BpfMap;
  readonly #state: Mapping;
  readonly #memory: Mapping;
  readonly #facts: Mapping | undefined;
  readonly #openedFacts: number;

  /** Opens the pins below the BPF file system at `bpffs`. Throws SysError (ENOENT without pins). */
  constructor(bpf: Bpf, bpffs: string) {
    this.#bpf = bpf;
    this.#path = currentPins(bpffs).maps;
    this.#openedFacts = this.#factsId();
    // The kernel maps no memory of a handle that is open for reading only; the memory itself is read-only.
    const open = (name: string) => BpfMap.openPinned(bpf, `${this.#path}/${name}`);
    [this.#table, this.#flows, this.#sources, this.#state, this.#memory, this.#facts] =
      allOrNothing((opened) => {
        const table = opened.use(open('nat_table'));
        const flows = opened.use(open('nat_flows'));
        const sources = opened.use(open('nat_sources'));
        const state = opened.use(table.mmap(false));
        const memory = opened.use(flows.mmap(false));
        const facts = mapFacts(open, flows.info.maxEntries);
        return [table, flows, sources, state, memory, facts && opened.use(facts)] as const;
      });
  }

  /** The size of the conntrack table. */
  get entries(): number {
    return this.#flows.info.maxEntries;
  }

  /** The entries of the conntrack table, which the programs change at any moment. */
  get memory(): Uint8Array {
    return this.#memory.bytes;
  }

  /** The number of the last entry that was ever used. */
  get highWater(): number {
    return decodeCtTable(this.#state.bytes).highWater;
  }

  /** The facts about the entries by their number; undefined without the agent's setting `visibility`. */
  get facts(): Uint8Array | undefined {
    return this.#facts?.bytes;
  }

  /**
   * Returns a function that returns the SNAT address of an index, or undefined for 0. It reads each address once,
   * so it serves one sweep. It throws SysError.
   */
  snatAddresses(): (index: number) => IpBytes | undefined {
    const known = new Map<number, IpBytes | undefined>([[0, undefined]]);
    return (index) => {
      if (!known.has(index)) {
        known.set(index, this.#sources.lookup(new Uint8Array(Uint32Array.of(index).buffer)));
      }
      return known.get(index);
    };
  }

  /**
   * Returns true if the pins have other maps by now, or are gone: a new version of the agent, or one with another
   * setting, migrates maps.
   */
  isReplaced(): boolean {
    try {
      using flows = BpfMap.openReadOnly(this.#bpf, `${this.#path}/nat_flows`);
      return flows.info.id !== this.#flows.info.id || this.#factsId() !== this.#openedFacts;
    } catch {
      // Opening them anew reports the cause.
      return true;
    }
  }

  /** Returns the id of the pinned map of facts; 0 if there is none. Throws SysError. */
  #factsId(): number {
    try {
      using facts = BpfMap.openReadOnly(this.#bpf, `${this.#path}/nat_facts`);
      return facts.info.id;
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    const opened = [this.#facts, this.#memory, this.#state, this.#sources, this.#flows];
    for (const each of [...opened, this.#table]) each?.[Symbol.dispose]();
  }
}

/**
 * Maps the facts about `entries` connections. Returns undefined if the datapath has none: it is of an earlier
 * version, or does not count. Throws SysError.
 */
function mapFacts(open: (name: string) => BpfMap, entries: number): Mapping | undefined {
  let map: BpfMap;
  try {
    map = open('nat_facts');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return map.info.maxEntries < entries ? undefined : map.mmap(false);
  } finally {
    map[Symbol.dispose]();
  }
}
