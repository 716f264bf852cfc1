import { isLoopback } from '@heddle/objects';
import type { ServiceRow } from '@heddle/services';
import type { FeatureHost } from '../../feature.ts';
import { listeners, shadowedListeners } from './listeners.ts';

/** Sockets are listed once for all frontends that are programmed within this time. */
const lookAfterMs = 1000;

/** Warns of frontends that take the traffic of a process of this node that listens at their port. */
export class ShadowedListeners implements Disposable {
  readonly #host: FeatureHost;
  readonly #rows: () => Iterable<ServiceRow>;
  #own: ReadonlySet<string> = new Set();
  #timer: Disposable | undefined;
  /** The warnings that events have reported. */
  #reported: ReadonlySet<string> = new Set();

  constructor(host: FeatureHost, rows: () => Iterable<ServiceRow>) {
    this.#host = host;
    this.#rows = rows;
  }

  /** Takes the node's own addresses. */
  setAddresses(own: readonly string[]): void {
    this.#own = new Set(own);
  }

  /** Reports new warnings as events, some time from now. */
  lookSoon(): void {
    this.#timer ??= this.#host.platform.setTimer(lookAfterMs, () => {
      this.#timer = undefined;
      const now = new Set(this.warnings());
      const { events, config } = this.#host;
      for (const warning of now) {
        if (!this.#reported.has(warning)) events.add('warn', 'problem', config.node, warning);
      }
      this.#reported = now;
    });
  }

  /** Treats the present warnings as reported. */
  markReported(): void {
    this.#reported = new Set(this.warnings());
  }

  /** Returns the present warnings, in sentences with the remedy. */
  warnings(): readonly string[] {
    try {
      const isOwn = (address: string) => isLoopback(address) || this.#own.has(address);
      return shadowedListeners(this.#rows(), listeners(this.#host.platform), isOwn);
    } catch (error) {
      return [`look for processes that listen at a service's port: ${(error as Error).message}`];
    }
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }
}
