import { untrack } from 'svelte';

/** Keeps the last answer while the next one is asked for. Its properties are reactive. */
export class Loader<Answer> {
  answer: Answer | undefined = $state.raw();
  error: Error | undefined = $state.raw();
  /** True after 150 ms without the answer: the view then dims the old one. */
  isSlow = $state(false);
  #abort: AbortController | undefined;

  /** Asks for a new answer; a request that is under way is overtaken and ended. */
  async load(ask: (signal: AbortSignal) => Promise<Answer>): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const timer = setTimeout(() => {
      this.isSlow = true;
    }, 150);
    try {
      // What the request reads must not make an effect ask again, e.g. the present time.
      const answer = await untrack(() => ask(abort.signal));
      if (abort !== this.#abort) return;
      this.answer = answer;
      this.error = undefined;
    } catch (error) {
      if (abort === this.#abort) this.error = error as Error;
    } finally {
      clearTimeout(timer);
      if (abort === this.#abort) this.isSlow = false;
    }
  }

  /** Ends a request that is under way. */
  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }
}
