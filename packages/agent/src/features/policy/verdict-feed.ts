import type { Platform } from '@heddle/sys';
import type { Follow } from '../../control/server.ts';
import type { PolicyDatapath, Verdict } from './datapath.ts';
import { type PolicyView, verdictEntry } from './policy-view.ts';
import type { VerdictLoss } from './status.ts';

/** The verdicts that are passed on in a second, which take some 5 % of a core. */
export const verdictsPerSecond = 5000;

const second = 1000;

/**
 * Passes verdicts to all followers; the programs write them only while there are some. Beyond a number of verdicts in a
 * second they are counted only, and the followers get their number.
 */
export class VerdictFeed implements Disposable {
  readonly #platform: Pick<Platform, 'monotonicNs' | 'setTimer'>;
  readonly #view: Pick<PolicyView, 'datapath'>;
  readonly #verdicts: NonNullable<PolicyDatapath['verdicts']>;
  readonly #podAt: (address: string) => string | undefined;
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;
  #beganMs = 0;
  #passed = 0;
  #lost = 0;
  /** Reports what was lost once the second is over. */
  #report: Disposable | undefined;

  constructor(
    platform: Pick<Platform, 'monotonicNs' | 'setTimer'>,
    view: Pick<PolicyView, 'datapath'>,
    verdicts: NonNullable<PolicyDatapath['verdicts']>,
    podAt: (address: string) => string | undefined,
  ) {
    this.#platform = platform;
    this.#view = view;
    this.#verdicts = verdicts;
    this.#podAt = podAt;
  }

  follow(follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= this.#verdicts.watch((verdict) => this.#take(verdict));
  }

  [Symbol.dispose](): void {
    this.#report?.[Symbol.dispose]();
    this.#watch?.[Symbol.dispose]();
  }

  #take(verdict: Verdict): void {
    const now = Number(this.#platform.monotonicNs() / 1_000_000n);
    if (now - this.#beganMs >= second) {
      this.#beganMs = now;
      this.#passed = 0;
    }
    if (this.#passed < verdictsPerSecond) {
      this.#passed++;
      this.#pass(verdictEntry(verdict, this.#view, this.#podAt));
      return;
    }
    this.#lost++;
    this.#report ??= this.#platform.setTimer(second, () => this.#reportLoss());
  }

  #reportLoss(): void {
    this.#report = undefined;
    const loss: VerdictLoss = { lost: this.#lost };
    this.#lost = 0;
    this.#pass(loss);
  }

  #pass(event: object): void {
    for (const follower of this.#followers) {
      if (!follower(event)) this.#followers.delete(follower);
    }
    if (this.#followers.size > 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}
