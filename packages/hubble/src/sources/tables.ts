import { currentPins, decodeCtTable } from '@heddle/datapath';
import { type Bpf, BpfMap, type Mapping } from '@heddle/ebpf';
import { allOrNothing, type IpBytes } from '@heddle/sys';

/** The mapped tables of a node's datapath, for reading. */
export class NodeTables implements Disposable {
  readonly #bpf: Bpf;
  readonly #path: string;
  readonly #table: BpfMap;
  readonly #flows: BpfMap;
  readonly #sources: BpfMap;
  readonly #state: Mapping;
  readonly #memory: Mapping;

  /** Opens the pins below the BPF file system at `bpffs`. Throws SysError (ENOENT without pins). */
  constructor(bpf: Bpf, bpffs: string) {
    this.#bpf = bpf;
    this.#path = currentPins(bpffs).maps;
    // The kernel maps no memory of a handle that is open for reading only; the memory itself is read-only.
    const open = (name: string) => BpfMap.openPinned(bpf, `${this.#path}/${name}`);
    [this.#table, this.#flows, this.#sources, this.#state, this.#memory] = allOrNothing(
      (opened) => {
        const table = opened.use(open('nat_table'));
        const flows = opened.use(open('nat_flows'));
        const sources = opened.use(open('nat_sources'));
        const state = opened.use(table.mmap(false));
        return [table, flows, sources, state, opened.use(flows.mmap(false))] as const;
      },
    );
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

  /** Returns the SNAT address of an index, or undefined for 0. Throws SysError. */
  snatAddress(index: number): IpBytes | undefined {
    if (index === 0) return undefined;
    return this.#sources.lookup(new Uint8Array(Uint32Array.of(index).buffer));
  }

  /** Returns true if the pins have other maps by now, or are gone: a new version of the agent migrates maps. */
  isReplaced(): boolean {
    try {
      using pinned = BpfMap.openReadOnly(this.#bpf, `${this.#path}/nat_flows`);
      return pinned.info.id !== this.#flows.info.id;
    } catch {
      // Opening them anew reports the cause.
      return true;
    }
  }

  [Symbol.dispose](): void {
    for (const each of [this.#memory, this.#state, this.#sources, this.#flows, this.#table]) {
      each[Symbol.dispose]();
    }
  }
}
