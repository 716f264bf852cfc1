import { connect, type Socket } from 'node:net';
import { encodeRequest, parseReply, type Reply } from '@heddle/agent/protocol';
import { LineReader } from '@heddle/rpc';
import { exitCodes, Failure } from './failure.ts';
import type { ControlSource } from './source.ts';

const answerMs = 10_000;
// Pages and status are much smaller; it bounds what another server on the socket can send.
const longestReply = 64 * 1024 * 1024;

interface PendingRequest {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** A connection to the agent's control socket. Its errors are Failures. */
export class ControlClient implements ControlSource {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #reader = new LineReader(longestReply);
  readonly #pending = new Map<number, PendingRequest>();
  #onEvent: ((event: unknown) => void) | undefined;
  #onEnd: ((error?: Error) => void) | undefined;
  #failure: Error | undefined;
  /** The error of all requests from now on, once the connection has ended. */
  #ended: Error | undefined;
  #lastId = 0;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    socket.on('data', (data: Uint8Array) => this.#take(data));
    socket.on('error', (error) => {
      this.#failure = unreachable(path, error);
    });
    socket.on('close', () => {
      const error =
        this.#failure ??
        new Failure(exitCodes.unreachable, `reach agent: it closed the connection on ${path}`);
      this.#ended = error;
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
      this.#onEnd?.(error);
    });
  }

  /** Connects to the agent that listens at `path`. Rejects with Failure. */
  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const failed = (error: Error) => reject(unreachable(path, error));
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        resolve(new ControlClient(socket, path));
      });
    });
  }

  get nowMs(): number {
    return Date.now();
  }

  /** Sends a request and returns its result. Rejects with Failure. */
  async request(method: string, params: Record<string, unknown> = {}): Promise<unknown> {
    if (this.#ended) throw this.#ended;
    const id = ++this.#lastId;
    const reply = await new Promise<Reply>((resolve, reject) => {
      const timeout = setTimeout(() => {
        this.#pending.delete(id);
        reject(
          new Failure(
            exitCodes.unreachable,
            `reach agent: no answer on ${this.#path} within ${answerMs / 1000} s (is it stopped or overloaded?)`,
          ),
        );
      }, answerMs);
      const withoutTimeout =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timeout);
          then(value);
        };
      this.#pending.set(id, { resolve: withoutTimeout(resolve), reject: withoutTimeout(reject) });
      this.#socket.write(encodeRequest({ id, method, params }));
    });
    if (reply.error) throw new Failure(exitCodes.failed, reply.error.message);
    return reply.result;
  }

  /** Returns all items of a list, page by page. Throws Failure. */
  async *items<Item>(method: string, params: Record<string, unknown> = {}): AsyncGenerator<Item> {
    for (let after: string | undefined; ; ) {
      const page = (await this.request(
        method,
        after === undefined ? params : { ...params, after },
      )) as { items: Item[]; next?: string };
      yield* page.items;
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  /** Calls `onEvent` for each event, recent ones first, until the connection ends. Rejects with Failure. */
  async follow<Event>(
    onEvent: (event: Event) => void,
    method: 'events.follow' | 'drops.follow' | 'policy.verdicts' | 'dns.follow' = 'events.follow',
  ): Promise<never> {
    this.#onEvent = onEvent as (event: unknown) => void;
    const ended = new Promise<never>((_, reject) => {
      this.#onEnd = reject;
    });
    await Promise.race([this.request(method), ended]);
    return await ended;
  }

  [Symbol.dispose](): void {
    this.#onEnd = undefined;
    this.#socket.destroy();
  }

  #take(data: Uint8Array): void {
    this.#reader.push(data);
    try {
      for (let line = this.#reader.next(); line !== undefined; line = this.#reader.next()) {
        this.#dispatch(parseReply(line));
      }
      if (this.#reader.overflowed) throw new Error('a line without an end');
    } catch (error) {
      this.#failure = new Failure(
        exitCodes.unreachable,
        `understand agent on ${this.#path}: ${(error as Error).message}`,
      );
      this.#socket.destroy();
    }
  }

  #dispatch(reply: Reply): void {
    if (reply.event !== undefined) {
      this.#onEvent?.(reply.event);
    } else if (reply.id === null && reply.error) {
      this.#failure = new Failure(exitCodes.unreachable, reply.error.message);
      this.#socket.destroy();
    } else {
      const pending = this.#pending.get(reply.id as number);
      this.#pending.delete(reply.id as number);
      pending?.resolve(reply);
    }
  }
}

function unreachable(path: string, error: Error): Failure {
  const { code } = error as { code?: string };
  if (code === 'EACCES' || code === 'EPERM') {
    return new Failure(
      exitCodes.notPermitted,
      `reach agent: not permitted to open ${path} (run it as root or as the user that runs the agent)`,
    );
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') {
    return new Failure(
      exitCodes.unreachable,
      `reach agent: none listens on ${path} (start one with heddle agent --manifests DIR, or give its socket with --socket PATH)`,
    );
  }
  return new Failure(exitCodes.unreachable, `reach agent on ${path}: ${error.message}`, {
    cause: error,
  });
}
