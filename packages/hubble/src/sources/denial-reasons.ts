import type { DenialReasons } from '@heddle/agent';
import type { Side } from './decisions.ts';

/** A connection that no rule allows in one direction. */
export interface DefaultDenial {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  /** The destination port in host order. */
  readonly port: number;
  readonly direction: Side;
}

/** Returns the answer of the agent to `policy.explain`. */
export type Ask = (denial: DefaultDenial) => Promise<DenialReasons>;

interface Limits {
  /** The time for which an answer is used, in milliseconds. */
  readonly keptMs: number;
  readonly answers: number;
  /** The questions in a second. */
  readonly perSecond: number;
}

const usual: Limits = { keptMs: 10_000, answers: 4096, perSecond: 100 };

/**
 * The reasons of denials by default, which the agent is asked for once for equal connections. Questions are limited: a
 * port scan has a new connection with each packet, and its flows go without reasons.
 */
export class ReasonCache {
  readonly #ask: Ask;
  readonly #limits: Limits;
  readonly #now: () => number;
  /** By connection; the oldest first. */
  readonly #answers = new Map<
    string,
    { readonly atMs: number; readonly reasons: Promise<DenialReasons | undefined> }
  >();
  #asked = 0;
  #beganMs = 0;

  /** `now` returns milliseconds since any moment. */
  constructor(ask: Ask, { limits = usual, now = Date.now } = {}) {
    this.#ask = ask;
    this.#limits = limits;
    this.#now = now;
  }

  /** Resolves to undefined if the agent has not answered, or must not be asked now. Never rejects. */
  async of(denial: DefaultDenial): Promise<DenialReasons | undefined> {
    const { source, destination, protocol, port, direction } = denial;
    const key = `${direction} ${source} ${destination} ${protocol} ${port}`;
    const now = this.#now();
    const known = this.#answers.get(key);
    if (known && now - known.atMs < this.#limits.keptMs) return known.reasons;
    if (now - this.#beganMs >= 1000) {
      this.#beganMs = now;
      this.#asked = 0;
    }
    if (this.#asked >= this.#limits.perSecond) return undefined;
    this.#asked++;
    const reasons: Promise<DenialReasons | undefined> = this.#ask(denial).catch(() => {
      if (this.#answers.get(key)?.reasons === reasons) this.#answers.delete(key);
      return undefined;
    });
    this.#answers.delete(key);
    this.#answers.set(key, { atMs: now, reasons });
    if (this.#answers.size > this.#limits.answers) {
      const [oldest] = this.#answers.keys();
      if (oldest !== undefined) this.#answers.delete(oldest);
    }
    return reasons;
  }
}
