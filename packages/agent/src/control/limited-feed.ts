import type { Platform } from '@heddle/sys';
import type { FeedLoss } from '../status.ts';
import type { Follow } from './server.ts';

interface FeedParts<Notice> {
  readonly platform: Pick<Platform, 'monotonicNs' | 'setTimer'>;
  /** The notices that are passed on in a second. */
  readonly perSecond: number;
  /** Calls its argument for each notice, until the result is disposed. */
  readonly watch: (onNotice: (notice: Notice) => void) => Disposable;
  /** Returns a notice as followers get it. */
  readonly entryOf: (notice: Notice) => object;
}

const second = 1000;

/**
 * Passes notices of the kernel to all followers; it watches them only while there are some. Beyond a number of notices
 * in a second they are counted only, and the followers get their number (`FeedLoss`).
 */
export class LimitedFeed<Notice> implements Disposable {
  readonly #parts: FeedParts<Notice>;
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;
  #beganMs = 0;
  #passed = 0;
  #lost = 0;
  /** Reports what was lost once the second is over. */
  #report: Disposable | undefined;

  constructor(parts: FeedParts<Notice>) {
    this.#parts = parts;
  }

  follow(follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= this.#parts.watch((notice) => this.#take(notice));
  }

  [Symbol.dispose](): void {
    this.#report?.[Symbol.dispose]();
    this.#watch?.[Symbol.dispose]();
  }

  #take(notice: Notice): void {
    const { platform, perSecond, entryOf } = this.#parts;
    const now = Number(platform.monotonicNs() / 1_000_000n);
    if (now - this.#beganMs >= second) {
      this.#beganMs = now;
      this.#passed = 0;
    }
    if (this.#passed < perSecond) {
      this.#passed++;
      this.#pass(entryOf(notice));
      return;
    }
    this.#lost++;
    this.#report ??= platform.setTimer(second, () => this.#reportLoss());
  }

  #reportLoss(): void {
    this.#report = undefined;
    const loss: FeedLoss = { lost: this.#lost };
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
