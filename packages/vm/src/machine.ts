import type { Btf } from '@heddle/ebpf';
import { type FaultKind, type SourceLine, VmFault } from './fault.ts';
import { STRIDE } from './instructions.ts';
import { Memory, type Owner, ownerText } from './memory.ts';
import { type ProgramReference, type TimerMap, Timers } from './timers.ts';

/** Bytes of a stack frame, and the largest number of frames (MAX_BPF_STACK, MAX_CALL_FRAMES). */
const FRAME_SIZE = 512;
const MAX_FRAMES = 8;
/** MAX_TAIL_CALL_CNT. */
const MAX_TAIL_CALLS = 33;
const FRAME_POINTER = 20;
/** r6 to r10. */
const SAVED = 10;

/** A helper or kernel function: it reads r1 to r5 and writes its result to r0. */
export type Helper = (machine: Machine) => void;

/** A function of a program as JavaScript: it reads r1 to r5 of the machine and writes r0. */
export type Translated = () => void;

/** A program that is prepared for the machine. */
export interface Program {
  readonly name: string;
  readonly section: string | undefined;
  /** BPF_PROG_TYPE_* and BPF_* attach type. */
  readonly type: number;
  readonly attachType: number;
  /** Four words for each slot; see instructions.ts. */
  readonly code: Int32Array;
  /** The functions that its instructions call, by their immediate. */
  readonly calls: readonly Helper[];
  /** The maps that it refers to. */
  readonly maps: readonly object[];
  /** The reference that keeps it loaded until a later run. */
  object?: ProgramReference;
  /** The region of pointers to its functions; 0: there are none. */
  readonly codeRegion: number;
  /** The number of runs of its functions, and their translations. */
  runs: number;
  translated?: ReadonlyMap<number, Translated>;
  /** The source lines of its instructions. */
  readonly sourceOf: (slot: number) => SourceLine | undefined;
}

/** Options of a machine that runs programs. */
export interface Engine {
  /** Runs a program from a decoded instruction until the function of that instruction returns. */
  readonly interpret: (machine: Machine, program: Program, pc: number) => void;
  /** Translates the functions of a program, by the slot of their first instruction. Returns undefined if it can't. */
  readonly translate: (
    machine: Machine,
    program: Program,
  ) => ReadonlyMap<number, Translated> | undefined;
}

/** The redirection of a packet by a program. */
export interface Redirection {
  readonly ifindex: number;
  /** The target: the interface's egress or ingress, the ingress of the other end of its pair, or a neighbour. */
  readonly to: 'egress' | 'ingress' | 'peer' | 'neighbour';
  /** struct bpf_redir_neigh: the next hop, if the program names one. */
  readonly nextHop?: Uint8Array;
}

/** A tunnel that a packet has come through, or is to be sent through. */
export interface TunnelKey {
  /** struct bpf_tunnel_key */
  readonly bytes: Uint8Array;
  /** The family of the outer addresses. */
  readonly isIpv6: boolean;
}

/** The surroundings and limits of a machine. */
export interface MachineOptions {
  readonly engine: Engine;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly now: () => bigint;
  /** 32 random bits. */
  readonly random: () => number;
  /** The number of CPUs with values in per-CPU maps. */
  readonly cpus: number;
  /** The largest number of instructions in one run. */
  readonly budget: number;
  /** The BTF of the simulated kernel. */
  readonly kernelBtf: Btf | undefined;
  readonly routes: Routes | undefined;
  /** Returns the link-layer address (6 bytes) of a network interface, or undefined for lo. */
  readonly linkAddress: (ifindex: number) => Uint8Array | undefined;
  /** Called with the time at which `runTimers` is due. */
  readonly onTimer: (due: bigint) => void;
  /** The number of runs after which a program is translated to JavaScript; Infinity: never. */
  readonly translateAfter: number;
}

/**
 * Implements bpf_fib_lookup: reads and completes struct bpf_fib_lookup (linux/bpf.h). Returns
 * BPF_FIB_LKUP_RET_* or -errno.
 */
export type Routes = (route: Uint8Array, flags: number) => number;

/** A map for tail calls. */
export interface ProgramTable {
  readonly programAt: (index: number) => Program | undefined;
}

/** Called before each instruction runs. */
export type Observer = (program: Program, slot: number) => void;

/**
 * The state of a run: registers, stack, memory, and the surroundings that helpers need. One program runs
 * at a time, on the CPU with the number `cpu`.
 */
export class Machine {
  /** The low and high words of r0 to r10, and two more words. */
  readonly registers = new Int32Array(24);
  readonly memory = new Memory();
  readonly cpus: number;
  readonly now: () => bigint;
  readonly random: () => number;
  readonly kernelBtf: Btf | undefined;
  readonly routes: Routes | undefined;
  readonly linkAddress: MachineOptions['linkAddress'];
  /** The timers of the running kernel. A caller with several kernels on one machine replaces them. */
  timers: Timers;
  cpu = 0;
  /** The value of bpf_set_retval, for hooks of cgroups. */
  returnValue = 0;
  /** The redirection of the packet by this run, if there is one. */
  redirection: Redirection | undefined;
  /** The tunnel that this run has chosen for the packet, if it has chosen one. */
  sentThrough: TunnelKey | undefined;
  /** The tunnel that the packets of the next runs have come through. */
  arrivedThrough: TunnelKey | undefined;
  /** The context of the programs of this run, for helpers. */
  subject: object | undefined;
  /** The program of the latest helper call. */
  program!: Program;
  pc = 0;
  /** The number of frames below the current one. */
  depth = 0;
  /** The instruction at which the calling function continues. */
  resumeAt = 0;
  /** The number of instructions until the next check (budget, observer). */
  left = 0;
  observer: Observer | undefined;
  readonly #engine: Engine;
  #remaining = 0;
  #tailCalls = 0;
  #running = false;
  readonly #budget: number;
  readonly #translateAfter: number;
  readonly #stacks: number[] = [];
  readonly #frames: Uint8Array[] = [];
  readonly #saved = new Int32Array(MAX_FRAMES * SAVED);
  readonly #returns: { program: Program; pc: number }[] = [];

  constructor(options: MachineOptions) {
    this.#engine = options.engine;
    this.cpus = options.cpus;
    this.now = options.now;
    this.random = options.random;
    this.kernelBtf = options.kernelBtf;
    this.routes = options.routes;
    this.linkAddress = options.linkAddress;
    this.timers = new Timers(options.onTimer);
    this.#budget = options.budget;
    this.#translateAfter = options.translateAfter;
    const owner: Owner = { kind: 'stack' };
    for (let i = 0; i < MAX_FRAMES; i++) {
      const frame = new Uint8Array(FRAME_SIZE);
      this.#frames.push(frame);
      this.#stacks.push(this.memory.add(owner, frame));
    }
  }

  get isRunning(): boolean {
    return this.#running;
  }

  /**
   * Runs a program with the context at (region, 0) in r1 and returns the low word of r0 as an unsigned
   * number. Throws VmFault.
   */
  run(program: Program, context: number): number {
    const R = this.registers;
    R.fill(0);
    R[3] = context;
    this.redirection = undefined;
    this.sentThrough = undefined;
    this.#start(program, 0);
    return R[0]! >>> 0;
  }

  /** Calls the functions of timers that are due. Throws VmFault. */
  runTimers(): void {
    this.timers.run(this.now());
  }

  /** Runs a function of a program as the callback of a timer. Throws VmFault. */
  fireTimer(program: Program, slot: number, map: TimerMap, region: number): void {
    const key = this.memory.add(
      { kind: 'kernel', what: 'a key' },
      new Uint8Array(Math.max(4, map.options.keySize)),
      false,
    );
    const R = this.registers;
    R.fill(0);
    R[3] = map.region;
    R[5] = key;
    R[7] = region;
    try {
      this.#start(program, slot);
    } finally {
      this.memory.remove(key);
    }
  }

  #start(program: Program, slot: number): void {
    if (this.#running) throw new Error(`run program ${program.name}: another one is running`);
    this.depth = 0;
    this.#tailCalls = 0;
    this.#remaining = this.#budget;
    this.left = 0;
    this.#enterFrame(0);
    this.#running = true;
    try {
      this.execute(program, slot);
    } finally {
      this.#running = false;
      this.memory.collect();
    }
  }

  /** Calls a function of the running program, with r1 to r5 set by the caller. The result is in r0. */
  callback(slot: number): void {
    const { program, pc } = this;
    this.enter(program, pc, pc + STRIDE);
    this.execute(program, slot);
    this.leave();
    this.program = program;
    this.pc = pc;
  }

  /** Begins the frame of a function. */
  enter(program: Program, pc: number, resumeAt: number): void {
    if (this.depth + 1 >= MAX_FRAMES) {
      this.fault('call-depth', program, pc, `more than ${MAX_FRAMES} functions deep`);
    }
    this.#saved.set(this.registers.subarray(12, 12 + SAVED), this.depth * SAVED);
    this.#returns[this.depth] = { program, pc: resumeAt };
    this.#enterFrame(++this.depth);
  }

  /** Ends the frame of a function. Returns the program that continues, at `resumeAt`. */
  leave(): Program {
    const at = --this.depth * SAVED;
    this.registers.set(this.#saved.subarray(at, at + SAVED), 12);
    const { program, pc } = this.#returns[this.depth]!;
    this.resumeAt = pc;
    return program;
  }

  #enterFrame(depth: number): void {
    this.#frames[depth]!.fill(0);
    this.registers[FRAME_POINTER] = FRAME_SIZE;
    this.registers[FRAME_POINTER + 1] = this.#stacks[depth]!;
  }

  /** bpf_tail_call: returns the next program, or undefined when the call has no effect. */
  tailCall(program: Program, pc: number): Program | undefined {
    const R = this.registers;
    const owner = this.memory.owner(R[5]!);
    const map = owner?.kind === 'map' ? (owner.map as Partial<ProgramTable>) : undefined;
    if (!map?.programAt)
      return this.fault(
        'argument',
        program,
        pc,
        'tail call through something that is no array of programs',
      );
    const target = map.programAt(R[6]! >>> 0);
    if (target === undefined || this.#tailCalls >= MAX_TAIL_CALLS) return undefined;
    this.#tailCalls++;
    return target;
  }

  /** Runs a function of a program in the current frame, until it returns. */
  execute(program: Program, slot: number): void {
    if (this.observer === undefined) {
      if (program.runs++ === this.#translateAfter) {
        program.translated = this.#engine.translate(this, program);
      }
      const translated = program.translated?.get(slot);
      if (translated) {
        translated();
        return;
      }
    }
    this.#engine.interpret(this, program, slot * STRIDE);
  }

  /** Called when `left` is 0. Returns the number of instructions until the next check. */
  refill(program: Program, pc: number): number {
    if (this.#remaining <= 0) {
      this.fault('budget', program, pc, `more than ${this.#budget} instructions in one run`);
    }
    if (this.observer) {
      this.#remaining--;
      this.observer(program, pc / STRIDE);
      return 0;
    }
    const slice = Math.min(this.#remaining, 1 << 20);
    this.#remaining -= slice;
    return slice - 1;
  }

  /** A load from a context, or a fault. `from` and `to` are indices of registers. */
  load(program: Program, pc: number, from: number, size: number, to: number): void {
    const R = this.registers;
    const region = R[from + 1]!;
    const at = (R[from]! >>> 0) + program.code[pc + 1]!;
    const view = this.memory.views[region];
    if (view !== undefined && at >= 0 && at + size <= view.byteLength) {
      R[to + 1] = size === 8 ? view.getInt32(at + 4, true) : 0;
      R[to] =
        size === 1
          ? view.getUint8(at)
          : size === 2
            ? view.getUint16(at, true)
            : view.getInt32(at, true);
      return;
    }
    const owner = this.memory.owner(region);
    if (owner?.kind === 'context' && owner.context.load(at, size, R, to)) return;
    this.#accessFault(program, pc, 'read', region, at, size);
  }

  /** A store to a context, or a fault. */
  store(program: Program, pc: number, to: number, size: number, low: number, high: number): void {
    const region = this.registers[to + 1]!;
    const at = (this.registers[to]! >>> 0) + program.code[pc + 1]!;
    const owner = this.memory.owner(region);
    if (owner?.kind === 'context' && owner.context.store(at, size, low, high)) return;
    this.#accessFault(program, pc, 'write', region, at, size);
  }

  /** Returns the offset in its region of the target of an atomic instruction, which is writable. */
  locate(program: Program, pc: number, to: number, size: number): number {
    const region = this.registers[to + 1]!;
    const at = (this.registers[to]! >>> 0) + program.code[pc + 1]!;
    const view = this.memory.writable[region];
    if (view === undefined || at < 0 || at + size > view.byteLength) {
      this.#accessFault(program, pc, 'write', region, at, size);
    }
    return at;
  }

  /** The legacy packet access. Returns false outside of the packet. */
  loadPacket(program: Program, pc: number, operation: number, from: number): boolean {
    const R = this.registers;
    const packet = this.subject as { readonly packet?: Uint8Array } | undefined;
    if (!packet?.packet)
      return this.fault('not-simulated', program, pc, 'packet access without a packet');
    const bytes = packet.packet;
    const index = operation >= 0x40 ? R[from]! : 0;
    const at = index + program.code[pc + 2]!;
    const size = [4, 2, 1][(operation >> 3) & 3]!;
    if (at < 0 || at + size > bytes.length) return false;
    let value = 0;
    for (let i = 0; i < size; i++) value = (value << 8) | bytes[at + i]!;
    R[0] = value;
    R[1] = 0;
    return true;
  }

  /** Returns the memory that a helper accesses at the address in one of r1 to r5. Throws VmFault. */
  argumentBytes(register: number, size: number, write = false): Uint8Array {
    const region = this.registers[2 * register + 1]!;
    const offset = this.registers[2 * register]! >>> 0;
    const bytes = this.memory.bytes(region, offset, size, write);
    if (bytes) return bytes;
    return this.#accessFault(this.program, this.pc, write ? 'write' : 'read', region, offset, size);
  }

  /** Returns the view of that memory's region. The caller adds the low word of the register. */
  argumentView(register: number, size: number): DataView {
    const region = this.registers[2 * register + 1]!;
    const offset = this.registers[2 * register]! >>> 0;
    const view = this.memory.views[region];
    if (view !== undefined && offset + size <= view.byteLength) return view;
    return this.#accessFault(this.program, this.pc, 'read', region, offset, size);
  }

  /** Sets r0 to a signed number of at most 53 bits. */
  answer(value: number): void {
    this.registers[0] = value | 0;
    this.registers[1] = value < 0 ? -1 : value > 0xffffffff ? Math.floor(value / 0x100000000) : 0;
  }

  answerBig(value: bigint): void {
    this.registers[0] = Number(BigInt.asIntN(32, value));
    this.registers[1] = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** Sets r0 to the start of a region; 0 is the null pointer. */
  answerPointer(region: number): void {
    this.registers[0] = 0;
    this.registers[1] = region;
  }

  /** Throws the fault of the running helper. */
  refuse(what: string, kind: FaultKind = 'argument'): never {
    return this.fault(kind, this.program, this.pc, what);
  }

  fault(kind: FaultKind, program: Program, pc: number, what: string): never {
    const { name, section } = program;
    const instruction = pc / STRIDE;
    const source = program.sourceOf(instruction);
    throw new VmFault(kind, { program: name, section, instruction, source }, what);
  }

  #accessFault(
    program: Program,
    pc: number,
    verb: string,
    region: number,
    at: number,
    size: number,
  ): never {
    const bytes = `${verb} of ${size} ${size === 1 ? 'byte' : 'bytes'}`;
    const owner = this.memory.owner(region);
    if (region === 0)
      this.fault('memory', program, pc, `${bytes} through a null pointer (plus ${at})`);
    if (!owner) {
      const address = ((BigInt(region >>> 0) << 32n) + BigInt(at)).toString(16);
      this.fault('memory', program, pc, `${bytes} at 0x${address}, which is no pointer`);
    }
    const length = this.memory.views[region]!.byteLength;
    const place = owner.kind === 'context' || length === 0 ? '' : ` of ${length} bytes`;
    const what = verb === 'write' && at >= 0 && at + size <= length ? ', which is read-only' : '';
    this.fault(
      'memory',
      program,
      pc,
      `${bytes} at offset ${at} of ${ownerText(owner)}${place}${what}`,
    );
  }
}
