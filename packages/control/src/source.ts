/** Answers requests of the control protocol: a running agent, or a dump of its answers. */
export interface ControlSource extends Disposable {
  /** The time of the answers, in milliseconds since 1970; ages are relative to it. */
  readonly nowMs: number;
  /** Returns the result of `method`. Throws Failure. */
  request(method: string, params?: Record<string, unknown>): Promise<unknown>;
  /** Returns all items of a list. Throws Failure. */
  items<Item>(method: string, params?: Record<string, unknown>): AsyncGenerator<Item>;
}
