/** Logs each problem once until it changes, and once that it has ended. */
export class ProblemLog {
  readonly #log: (message: string) => void;
  readonly #problems = new Map<string, string>();

  constructor(log: (message: string) => void) {
    this.#log = log;
  }

  /** Notes the problem of `what`; the empty text ends it, which is logged as `restored`. */
  report(what: string, problem: string, restored = `${what}: it works again`): void {
    if ((this.#problems.get(what) ?? '') === problem) return;
    this.#problems.set(what, problem);
    this.#log(problem === '' ? restored : problem);
  }
}
