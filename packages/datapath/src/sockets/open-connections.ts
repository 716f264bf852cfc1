import { attachTracepoint, type Bpf, type BpfMap, type ObjectSpec } from '@heddle/ebpf';
import { type Platform, removeFile } from '@heddle/sys';
import { loadShared } from '../core/load-shared.ts';
import type { PinFolder } from '../core/pinned-maps.ts';

const program = 'connection_over';

/** The parts of a datapath that the program needs. */
export interface OpenConnectionsParts {
  readonly bpf: Bpf;
  readonly platform: Platform;
  /** The object `stale`. */
  readonly spec: ObjectSpec;
  readonly maps: Readonly<Record<string, BpfMap>>;
  readonly folder: PinFolder;
}

/**
 * Counts TCP connections as closed when they end, although the application keeps the socket. The program runs at
 * each change of state of the machine's TCP sockets, so it is attached only while a service chooses backends by
 * their open connections. The link is pinned: it outlives the agent.
 */
export class OpenConnections {
  readonly #parts: OpenConnectionsParts;
  readonly #pin: string;
  #wanted = false;
  /** The last state that was set in the kernel. It is undefined if this agent has set none. */
  #counted: boolean | undefined;
  #attaches = false;

  constructor(parts: OpenConnectionsParts) {
    this.#parts = parts;
    this.#pin = `${parts.folder.links}/${program}`;
  }

  /** Sets whether a service chooses by open connections. The program is attached at once, or else by `attach`. */
  set(wanted: boolean): void {
    this.#wanted = wanted;
    if (this.#attaches) this.#apply();
  }

  /** Attaches the program if it is wanted, and from now on in `set`. */
  attach(): void {
    this.#attaches = true;
    this.#apply();
  }

  /** From now on nothing is attached or detached. */
  release(): void {
    this.#attaches = false;
  }

  #apply(): void {
    if (this.#counted === this.#wanted) return;
    this.#counted = this.#wanted;
    const { platform } = this.#parts;
    try {
      if (this.#wanted) this.#attachProgram();
      else removeFile(platform, this.#pin);
    } catch (error) {
      const reason = (error as Error).message;
      platform.log('warn', 'closed connections count as open until their socket is closed', {
        reason,
      });
    }
  }

  /** Replaces the link of an earlier agent: the link of a tracepoint cannot be given another program. */
  #attachProgram(): void {
    const { bpf, platform, spec, maps } = this.#parts;
    using loaded = loadShared(bpf, spec, maps, [program]);
    using link = attachTracepoint(bpf, loaded.program(program));
    removeFile(platform, this.#pin);
    link.pin(this.#pin);
  }
}
