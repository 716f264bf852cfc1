import { linkTypes } from '@heddle/ebpf/internal';
import type { AttachPoint, LinkObject } from '../links.ts';
import type { Machine } from '../machine.ts';
import type { SocketHandle } from '../socket.ts';

/** The tracepoint inet_sock_set_state. Its programs get the socket, its old state and its new one. */
export class StateChanges implements AttachPoint {
  readonly linkType = linkTypes.raw_tracepoint;
  readonly #machine: Machine;
  readonly #links = new Set<LinkObject>();
  readonly #context = new DataView(new ArrayBuffer(24));
  readonly #region: number;

  constructor(machine: Machine) {
    this.#machine = machine;
    const bytes = new Uint8Array(this.#context.buffer);
    this.#region = machine.memory.add(
      { kind: 'kernel', what: 'the context', object: {} },
      bytes,
      false,
    );
  }

  attach(link: LinkObject): void {
    this.#links.add(link);
  }

  detach(link: LinkObject): void {
    this.#links.delete(link);
  }

  /** Writes no name of the tracepoint. */
  describe(): void {}

  report(socket: SocketHandle, before: number, after: number): void {
    this.#context.setInt32(4, socket.region, true);
    this.#context.setUint32(8, before, true);
    this.#context.setUint32(16, after, true);
    for (const link of this.#links) this.#machine.run(link.program.program, this.#region);
  }
}
