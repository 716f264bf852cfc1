import { NetworkNamespace } from '@heddle/netlink';
import { type Client, type ServerLimits, type Session, StreamServer } from '@heddle/rpc';
import { closeFd, type Platform } from '@heddle/sys';
import { listenUnix, removeOwnSocket, socketIdentity } from '@heddle/sys/net';
import { encodeError } from './answer.ts';
import { CniError } from './errors.ts';
import { longestMessage } from './message.ts';
import { type Answered, answerCall, type CniHandler, failedAnswer } from './verbs.ts';

/** The longest time that the runtime waits for a pod, in milliseconds: the plug-in ends by itself after 20 s. */
const holdMs = 18_000;

/** A node starts some hundred pods at once after a reboot. */
const limits: ServerLimits = {
  clients: 1024,
  pendingBytes: 1024 * 1024,
  idleMs: 10_000,
  stalledMs: 10_000,
};

/** Takes note of an answered call, and of the seconds that it took. */
export type OnAnswer = (answered: Answered, seconds: number) => void;

/** Answers the calls of the CNI plug-in on a unix socket of mode 0600. */
export class CniServer implements Disposable {
  readonly #platform: Platform;
  readonly #path: string;
  readonly #identity: string | undefined;
  readonly #server: StreamServer;

  /** Starts to listen. Throws AlreadyListening, SysError. */
  constructor(platform: Platform, path: string, handler: CniHandler, onAnswer: OnAnswer) {
    this.#platform = platform;
    this.#path = path;
    const fd = listenUnix(platform, path, limits.clients);
    const busy = new CniError('tryAgain', 'answer CNI call: the agent has too many calls at once');
    // The server closes the descriptor, also when it cannot start.
    this.#server = new StreamServer(platform, fd, {
      clientName: 'CNI client',
      limits,
      takesDescriptors: true,
      refusal: () => encodeError('1.1.0', busy),
      newSession: (client) => new CniSession(platform, client, handler, onAnswer),
    });
    try {
      this.#identity = socketIdentity(platform, path);
    } catch (error) {
      this.#server[Symbol.dispose]();
      throw error;
    }
  }

  /** Stops listening and removes the socket, unless it has been replaced. */
  [Symbol.dispose](): void {
    try {
      if (this.#identity !== undefined) {
        removeOwnSocket(this.#platform, this.#path, this.#identity);
      }
    } finally {
      this.#server[Symbol.dispose]();
    }
  }
}

/** Collects the bytes of one call until its end, and answers it. */
class CniSession implements Session {
  readonly #platform: Platform;
  readonly #client: Client;
  readonly #handler: CniHandler;
  readonly #onAnswer: OnAnswer;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  #namespace: NetworkNamespace | undefined;
  #phase: 'receiving' | 'received' | 'answered' = 'receiving';
  /** While the answer to ADD waits until the pod may start. */
  #held: Disposable | undefined;

  constructor(platform: Platform, client: Client, handler: CniHandler, onAnswer: OnAnswer) {
    this.#platform = platform;
    this.#client = client;
    this.#handler = handler;
    this.#onAnswer = onAnswer;
  }

  receive(bytes: Uint8Array): void {
    if (this.#phase !== 'receiving') return;
    this.#chunks.push(bytes.slice());
    this.#length += bytes.length;
    if (this.#length > longestMessage) this.#phase = 'received';
  }

  receiveDescriptors([first, ...others]: readonly number[]): void {
    for (const each of others) closeFd(this.#platform, each);
    if (first === undefined) return;
    if (this.#namespace) closeFd(this.#platform, first);
    else this.#namespace = NetworkNamespace.adopt(this.#platform, first);
  }

  receiveEnd(): void {
    if (this.#phase === 'receiving') this.#phase = 'received';
  }

  answerNext(): boolean {
    if (this.#phase !== 'received') return false;
    this.#phase = 'answered';
    const started = this.#platform.monotonicNs();
    const answered = this.#answer();
    const { added } = answered;
    const end = (answer: Answered) => {
      this.#reply(answer);
      this.#onAnswer(answer, Number(this.#platform.monotonicNs() - started) / 1e9);
    };
    const hold = added && this.#handler.hold(added.pod, () => end(answered));
    if (!hold) {
      end(answered);
      return true;
    }
    this.#client.wait();
    const timer = this.#platform.setTimer(holdMs, () => {
      hold[Symbol.dispose]();
      end(failedAnswer(this.#message(), answered, this.#handler.giveUp(added.call)));
    });
    this.#held = {
      [Symbol.dispose]() {
        timer[Symbol.dispose]();
        hold[Symbol.dispose]();
      },
    };
    return true;
  }

  close(): void {
    this.#held?.[Symbol.dispose]();
    this.#held = undefined;
    this.#namespace?.[Symbol.dispose]();
    this.#namespace = undefined;
  }

  #reply({ bytes }: Answered): void {
    this.#client.reply(bytes);
    this.close();
    this.#client.end();
  }

  #answer(): Answered {
    if (this.#length <= longestMessage) {
      return answerCall(this.#message(), this.#namespace, this.#handler);
    }
    const error = new CniError('decode', `read CNI call: longer than ${longestMessage} bytes`);
    const bytes = encodeError('1.1.0', error);
    return { bytes, verb: '', subject: '', error };
  }

  #message(): Uint8Array {
    if (this.#chunks.length === 1) return this.#chunks[0]!;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}
