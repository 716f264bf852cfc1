import type { Memory } from './memory.ts';

/** What programs see of a socket (struct bpf_sock). */
export interface SocketFields {
  readonly family: number;
  /** SOCK_STREAM, SOCK_DGRAM. */
  readonly type: number;
  /** IPPROTO_*. */
  readonly protocol: number;
  /** Cookie of the network namespace. */
  readonly netnsCookie: bigint;
  readonly cookie: bigint;
}

/** Bytes of struct bpf_sock. */
const SIZE = 80;

/** A socket as programs know it: an address, and storage that hangs on it. */
export class SocketHandle {
  readonly fields: SocketFields;
  /** Region of its struct bpf_sock. */
  readonly region: number;
  /** The struct; see linux/bpf.h for the offsets. */
  readonly view: DataView;
  readonly #memory: Memory;

  constructor(memory: Memory, fields: SocketFields) {
    this.fields = fields;
    const bytes = new Uint8Array(SIZE);
    this.view = new DataView(bytes.buffer);
    this.view.setUint32(4, fields.family, true);
    this.view.setUint32(8, fields.type, true);
    this.view.setUint32(12, fields.protocol, true);
    this.#memory = memory;
    this.region = memory.add({ kind: 'kernel', what: 'a socket', object: this }, bytes);
  }

  dispose(): void {
    this.#memory.remove(this.region);
  }
}
