import type { Machine, Observer, SourceLine } from '@heddle/vm';
import { helperName, VmMap } from '@heddle/vm/internal';

/** An access of a program to an element of a map, with the element at that moment. */
export interface Access {
  readonly kind: 'access';
  readonly map: string;
  readonly action: 'lookup' | 'update' | 'delete';
  readonly key: Uint8Array;
  /** The value found or written; absent when there was none. */
  readonly value?: Uint8Array;
  readonly source?: SourceLine;
}

/** A route lookup of a program. */
export interface RouteLookup {
  readonly kind: 'route';
  /** BPF_FIB_LKUP_RET_*, or -errno. */
  readonly result: number;
  /** struct bpf_fib_lookup after the lookup. */
  readonly route: Uint8Array;
  readonly source?: SourceLine;
}

/** A source line whose code ran. */
export interface Line {
  readonly kind: 'line';
  readonly source: SourceLine;
}

export type Note = Access | RouteLookup | Line;

const CALL = 0x85;
/** The number of 32-bit words of a decoded instruction. */
const STRIDE = 4;
const ROUTE = 64;
/** The most notes of one run: a program may walk through a whole map. */
const maxNotes = 200_000;

const actions: Readonly<Record<string, Access['action']>> = {
  map_lookup_elem: 'lookup',
  map_update_elem: 'update',
  map_delete_elem: 'delete',
};

/** Observes a machine and notes what its programs do, in order. */
export class Recorder {
  readonly notes: Note[] = [];
  readonly #machine: Machine;
  readonly #withLines: boolean;
  /** Finishes the note of the helper call that runs now. */
  #pending: (() => void) | undefined;
  #last = '';

  constructor(machine: Machine, withLines: boolean) {
    this.#machine = machine;
    this.#withLines = withLines;
  }

  /** Runs `work` and records what the programs in it do. */
  during<Result>(work: () => Result): Result {
    this.#machine.observer = this.#observe;
    try {
      return work();
    } finally {
      this.#machine.observer = undefined;
    }
  }

  readonly #observe: Observer = (program, slot) => {
    this.#pending?.();
    this.#pending = undefined;
    if (this.notes.length >= maxNotes) return;
    if (this.#withLines) this.#line(program.sourceOf(slot));
    const at = slot * STRIDE;
    if ((program.code[at]! & 0xfff) !== CALL) return;
    const helper = program.calls[program.code[at + 2]!];
    const name = helper && helperName(helper);
    if (name === undefined) return;
    const source = program.sourceOf(slot);
    const action = actions[name];
    if (action) this.#access(action, source);
    else if (name === 'fib_lookup') this.#route(source);
  };

  #line(source: SourceLine | undefined): void {
    if (!source) return;
    const text = `${source.file}:${source.line}`;
    if (text === this.#last) return;
    this.#last = text;
    this.notes.push({ kind: 'line', source });
  }

  #access(action: Access['action'], source: SourceLine | undefined): void {
    const { memory, registers: R } = this.#machine;
    const owner = memory.owner(R[3]!);
    if (owner?.kind !== 'map' || !(owner.map instanceof VmMap)) return;
    const { name, keySize, valueSize } = owner.map.options;
    const key = memory.bytes(R[5]!, R[4]! >>> 0, keySize, false)?.slice();
    if (!key) return;
    const base = { kind: 'access', map: name, action, key, ...(source ? { source } : {}) } as const;
    if (action === 'lookup') {
      this.#pending = () => {
        const found = R[1] === 0 ? undefined : memory.bytes(R[1]!, R[0]! >>> 0, valueSize, false);
        this.notes.push(found ? { ...base, value: found.slice() } : base);
      };
      return;
    }
    const value =
      action === 'update' ? memory.bytes(R[7]!, R[6]! >>> 0, valueSize, false)?.slice() : undefined;
    this.#pending = () => {
      // A program retries elsewhere when an element exists already: only successful accesses are
      // noted.
      if (R[0] === 0) this.notes.push(value ? { ...base, value } : base);
    };
  }

  #route(source: SourceLine | undefined): void {
    const { memory, registers: R } = this.#machine;
    const [region, offset] = [R[5]!, R[4]! >>> 0];
    this.#pending = () => {
      const route = memory.bytes(region, offset, ROUTE, false);
      if (!route) return;
      const note = { kind: 'route', result: R[0]!, route: route.slice() } as const;
      this.notes.push(source ? { ...note, source } : note);
    };
  }
}
