import type { ServerResponse } from 'node:http';
import type { Kind } from './object-store.ts';

/** What a client does; a streaming list is a watch. */
export type Verb = 'get' | 'list' | 'watch';

/**
 * Something that goes wrong with certain requests. Plain data, so that it can be told to a server
 * in another process. Counts of bytes are bytes of the body, before chunked encoding.
 */
export interface Fault {
  /** Which requests it concerns; absent: all. */
  readonly verb?: Verb;
  readonly kind?: Kind;
  /** Concerns only streaming lists. */
  readonly isStreamingList?: boolean;
  /** Lets so many of them pass first. */
  readonly skip?: number;
  /** How many requests it then spoils; default 1. */
  readonly times?: number;

  /** Waits before it answers. */
  readonly delayMs?: number;
  /** Answers with this status (and a Status object) instead of the data. */
  readonly status?: number;
  /** Header Retry-After: seconds or a date. */
  readonly retryAfter?: string;
  /** Puts this text into the body after so many bytes. */
  readonly garbage?: { readonly afterBytes: number; readonly text: string };
  /** Breaks the connection after so many bytes; 0: after the head. */
  readonly cutAfter?: number;
  /** Sends nothing more after so many bytes, and keeps the connection open. */
  readonly silentAfter?: number;
  /** Ends the body in good order after so many bytes. */
  readonly endAfter?: number;
  /** A watch that resumes is sent so many of the changes again that it has seen. */
  readonly replay?: number;
  /** A streaming list begins with the last object. */
  readonly reverse?: boolean;
  /** A streaming list ends with an ERROR event of this code instead of its end bookmark. */
  readonly errorEvent?: number;
  /** A streaming list has no end bookmark, as from a server that takes it for a watch. */
  readonly isEndless?: boolean;
  /** Writes the body in pieces of so many bytes, each as a chunk of its own. */
  readonly pieceBytes?: number;
}

/** Faults still to come. */
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

  /** The fault that this request suffers, used up by that. The first that concerns it counts. */
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

/** The body of an answer, spoilt as a fault wants it. */
export class Body {
  readonly #response: ServerResponse;
  readonly #fault: Fault;
  #written = 0;
  #garbageDue: boolean;
  /** Nothing more goes out: cut, silent, ended or gone. */
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
      const spoilt = [bytes.subarray(0, at), Buffer.from(garbage.text), bytes.subarray(at)];
      return this.write(Buffer.concat(spoilt));
    }
    if (this.#limit(bytes)) return;
    this.#written += bytes.length;
    if (this.#send(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#onRoom = resolve;
    });
  }

  /** Writes all there is, and ends. As Go does it, a short one comes with its length. */
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

  /** Whether a limit falls into these bytes; what comes before it is sent. */
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
