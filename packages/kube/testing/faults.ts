import type { ServerResponse } from 'node:http';
import type { Kind } from './object-store.ts';

/** The kind of a request. A streaming list is a watch. */
export type Verb = 'get' | 'list' | 'watch';

/**
 * A fault of some requests. It is plain data for a server in another process. Numbers of bytes refer to the
 * body before chunked encoding.
 */
export interface Fault {
  /** The requests that it applies to. The default is all. */
  readonly verb?: Verb;
  readonly kind?: Kind;
  /** True if it applies to streaming lists only. */
  readonly isStreamingList?: boolean;
  /** The number of these requests before the first one with the fault. */
  readonly skip?: number;
  /** The number of requests with the fault; default 1. */
  readonly times?: number;

  /** The delay of the response in milliseconds. */
  readonly delayMs?: number;
  /** The status code of the response, which then has a Status object and no data. */
  readonly status?: number;
  /** Header Retry-After: seconds or a date. */
  readonly retryAfter?: string;
  /** Puts this text into the body after that number of bytes. */
  readonly garbage?: { readonly afterBytes: number; readonly text: string };
  /** The number of bytes after which the connection is broken; 0: after the head. */
  readonly cutAfter?: number;
  /** The number of bytes after which nothing more is sent, while the connection stays open. */
  readonly silentAfter?: number;
  /** The number of bytes after which the body ends regularly. */
  readonly endAfter?: number;
  /** The number of last changes that a resumed watch receives again. */
  readonly replay?: number;
  /** A streaming list begins with the last object. */
  readonly reverse?: boolean;
  /** A streaming list ends with an ERROR event of this code instead of its end bookmark. */
  readonly errorEvent?: number;
  /** A streaming list has no end bookmark, as from a server that takes it for a watch. */
  readonly isEndless?: boolean;
  /** The number of bytes in each chunk of the body. */
  readonly pieceBytes?: number;
}

/** The script of faults. */
export class Script {
  #faults: { fault: Fault; skip: number; times: number }[] = [];

  add(...faults: readonly Fault[]): void {
    for (const fault of faults) {
      this.#faults.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 });
    }
  }

  clear(): void {
    this.#faults = [];
  }

  /** Returns the first fault that applies to a request, and counts it. */
  next(verb: Verb, kind: Kind | undefined, isStreamingList: boolean): Fault | undefined {
    for (const entry of this.#faults) {
      const { fault } = entry;
      if (fault.verb && fault.verb !== verb) continue;
      if (fault.kind && fault.kind !== kind) continue;
      if (fault.isStreamingList && !isStreamingList) continue;
      if (entry.skip-- > 0) return undefined;
      if (--entry.times <= 0) this.#faults = this.#faults.filter((each) => each !== entry);
      return fault;
    }
    return undefined;
  }
}

/** The body of a response, with a fault. */
export class Body {
  readonly #response: ServerResponse;
  readonly #fault: Fault;
  #written = 0;
  #garbageDue: boolean;
  /** True if nothing more is sent: the body is cut, silent or ended. */
  #over = false;
  #onRoom = () => {};

  constructor(response: ServerResponse, fault: Fault = {}) {
    this.#response = response;
    this.#fault = fault;
    this.#garbageDue = fault.garbage !== undefined;
    response.on('close', () => {
      this.#over = true;
      this.#onRoom();
    });
    response.on('drain', () => this.#onRoom());
    this.#limit(Buffer.alloc(0));
  }

  get over(): boolean {
    return this.#over;
  }

  /** Resolves when the client has room for more. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#over) return;
    const { garbage } = this.#fault;
    if (garbage && this.#garbageDue && this.#written + bytes.length >= garbage.afterBytes) {
      this.#garbageDue = false;
      const at = garbage.afterBytes - this.#written;
      const damaged = [bytes.subarray(0, at), Buffer.from(garbage.text), bytes.subarray(at)];
      return this.write(Buffer.concat(damaged));
    }
    if (this.#limit(bytes)) return;
    this.#written += bytes.length;
    if (this.#send(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#onRoom = resolve;
    });
  }

  /** Writes the rest and ends. As in Go, a short body has its length. */
  async whole(bytes: Buffer): Promise<void> {
    const isSpoilt = Object.keys(this.#fault).some((name) => /After$|^garbage$|^pieceB/.test(name));
    if (bytes.length <= 2048 && !isSpoilt) this.#response.setHeader('content-length', bytes.length);
    await this.write(bytes);
    this.end();
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#response.end();
  }

  #send(bytes: Buffer): boolean {
    const piece = this.#fault.pieceBytes ?? bytes.length;
    let room = true;
    for (let at = 0; at < bytes.length; at += piece) {
      room = this.#response.write(bytes.subarray(at, at + piece));
    }
    return room;
  }

  /** Returns whether a limit is within these bytes, and sends those before it. */
  #limit(bytes: Buffer): boolean {
    const { cutAfter, silentAfter, endAfter } = this.#fault;
    const limit = cutAfter ?? silentAfter ?? endAfter;
    if (limit === undefined || this.#written + bytes.length < limit) return false;
    this.#over = true;
    this.#send(bytes.subarray(0, limit - this.#written));
    const response = this.#response;
    if (endAfter !== undefined) response.end();
    else if (silentAfter !== undefined) response.flushHeaders();
    else {
      response.flushHeaders();
      // An empty write's callback comes when all before it has been handed to the kernel.
      response.socket?.write('', () => response.socket?.destroy());
    }
    return true;
  }
}
