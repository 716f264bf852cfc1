import { decodeCString, type SyscallArgument } from '@heddle/sys';
import type { Descriptors } from '../descriptors.ts';
import type { Files, OpenFile } from './files.ts';
import type { SocketHost } from './socket.ts';

/** The part of a host that system calls use. */
export interface CallHost extends SocketHost {
  readonly files: Files;
  readonly bpf: { readonly possibleCpus: number };
  /** Opens a path, which may depend on the calling thread. */
  open(path: string): OpenFile | undefined;
}

/** The arguments of a system call. */
export class Arguments {
  readonly #values: readonly SyscallArgument[];
  readonly #memory: (address: bigint) => Uint8Array | undefined;

  constructor(
    values: readonly SyscallArgument[],
    memory: (address: bigint) => Uint8Array | undefined,
  ) {
    this.#values = values;
    this.#memory = memory;
  }

  number(index: number): number {
    const value = this.#values[index];
    return typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : 0;
  }

  /** Returns an argument that is bytes; an empty array for others. */
  bytes(index: number): Uint8Array {
    const value = this.#values[index];
    return value instanceof Uint8Array ? value : none;
  }

  text(index: number): string {
    return decodeCString(this.bytes(index));
  }

  /** Returns the bytes from an address of `addressOf` on. */
  memory(address: bigint): Uint8Array {
    return this.#memory(address) ?? none;
  }
}

const none = new Uint8Array(0);

export type Call = (host: CallHost, descriptors: Descriptors, args: Arguments) => number;
