/** Share of the map of frontends from which on a larger one is made, before it is full. */
const nearlyFull = 0.875;
/** The programs are loaded again for a larger map, so a failed attempt is repeated only after a while. */
const retryNs = 60_000_000_000n;

/** Has the maps of frontends made larger before they are full. */
export class FrontendRoom {
  readonly #now: () => bigint;
  readonly #makeRoom: ((entries: number) => void) | undefined;
  /** The reason why the last attempt failed, and the time of the next one. */
  #failure: { readonly message: string; readonly untilNs: bigint } | undefined;

  /** `makeRoom` enlarges the maps for that number of entries. If undefined, they do not grow. */
  constructor(now: () => bigint, makeRoom: ((entries: number) => void) | undefined) {
    this.#now = now;
    this.#makeRoom = makeRoom;
  }

  /** The configuration's name of the maps' size. */
  get setting(): string {
    return this.#makeRoom ? 'sizes.servicesMax' : 'sizes.services';
  }

  /** The reason why the maps could not be made larger. It is undefined if no attempt has failed. */
  get problem(): string | undefined {
    return this.#failure?.message;
  }

  /** Makes the maps larger if that number of entries would nearly fill one with room for `maxEntries`. */
  reserve(entries: number, maxEntries: number): void {
    if (!this.#makeRoom || entries <= maxEntries * nearlyFull) return;
    if (this.#failure && this.#now() < this.#failure.untilNs) return;
    try {
      this.#makeRoom(entries);
      this.#failure = undefined;
    } catch (error) {
      // Rows that fit are still written; the others fail with this reason.
      const { message } = error as Error;
      this.#failure = { message, untilNs: this.#now() + retryNs };
    }
  }
}
