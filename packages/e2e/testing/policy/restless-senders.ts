import { MessageChannel, Worker } from 'node:worker_threads';
import type { SocketAddress } from '@heddle/sys/net';

/** A message that a socket sends again and again; a TCP socket connects instead. */
export interface RestlessSend {
  readonly fd: number;
  readonly to: SocketAddress;
  /** Undefined for a TCP socket. */
  readonly bytes: Uint8Array | undefined;
  /** The number of the counter of accepted sends. */
  readonly counter: number;
}

/**
 * A thread that sends on many sockets without a pause, also while the sockets' hosts have no network yet. The kernel
 * refuses what it cannot send.
 */
export class RestlessSenders implements Disposable {
  readonly #worker: Worker;
  readonly #channel = new MessageChannel();
  readonly #counts: Int32Array;
  readonly #done: Int32Array;

  /** `counters`: the number of counters. */
  constructor(counters: number) {
    this.#counts = new Int32Array(new SharedArrayBuffer(4 * counters));
    this.#done = new Int32Array(new SharedArrayBuffer(4));
    this.#worker = new Worker(new URL('./restless-worker.ts', import.meta.url), {
      workerData: { port: this.#channel.port2, counts: this.#counts, done: this.#done },
      transferList: [this.#channel.port2],
    });
    this.#worker.unref();
  }

  /** Replaces what is sent. When it returns, the thread does so. Throws an Error when the thread does not run. */
  send(sends: readonly RestlessSend[]): void {
    const before = Atomics.load(this.#done, 0);
    this.#channel.port1.postMessage(sends);
    const result = Atomics.wait(this.#done, 0, before, 10_000);
    if (result === 'timed-out') throw new Error('send without a pause: the thread does not answer');
  }

  /** Returns the number of sends that the kernel has accepted. */
  accepted(counter: number): number {
    return Atomics.load(this.#counts, counter);
  }

  [Symbol.dispose](): void {
    this.#channel.port1.close();
    void this.#worker.terminate();
  }
}
