import type { PolicyRule, PolicyUpdate } from '@heddle/policy';
import type { NumberedRule, PolicyDatapath, Verdict } from '../src/features/policy/datapath.ts';

type Policy = NonNullable<PolicyDatapath['policy']>;

/** The datapath of network policies whose kernel is an array of updates. */
export class MemoryPolicy implements Policy {
  readonly updates: PolicyUpdate[] = [];
  /** The number of updates that are programmed. */
  programmed = 0;
  /** Sentences about policies that are not programmed, by their keys. */
  readonly problems = new Map<string, string>();
  /** The names of pods by the addresses of their interfaces. */
  readonly pods = new Map<string, string>();
  /** The error with which programming fails. */
  error: Error | undefined;
  /** The error with which name servers are set. */
  resolversError: Error | undefined;
  isComplete = false;
  isReleased = false;
  retries = 0;
  resolvers: readonly string[] | undefined;
  options: readonly unknown[] = [];
  readonly sizes = {};
  #listener: (keys: readonly string[]) => void = () => {};
  #waiters: { readonly address: string; readonly done: () => void }[] = [];
  #watcher: ((verdict: Verdict) => void) | undefined;

  /** The verdicts that programs write, while somebody reads them. */
  readonly verdicts: NonNullable<PolicyDatapath['verdicts']> = {
    watch: (onVerdict) => {
      this.#watcher = onVerdict;
      return {
        [Symbol.dispose]: () => {
          this.#watcher = undefined;
        },
      };
    },
  };

  get isWatched(): boolean {
    return this.#watcher !== undefined;
  }

  report(verdict: Verdict): void {
    this.#watcher?.(verdict);
  }

  get attached(): Iterable<string> {
    return this.pods.values();
  }

  /** The rules that are programmed, in the order in which they came. */
  get present(): PolicyRule[] {
    const rules = new Set<PolicyRule>();
    for (const { rules: changes } of this.updates.slice(0, this.programmed)) {
      for (const rule of changes.added) rules.add(rule);
      for (const rule of changes.removed) rules.delete(rule);
    }
    return [...rules];
  }

  enable(...options: Parameters<Policy['enable']>): void {
    this.options = options;
  }

  setListener(listener: (keys: readonly string[]) => void): void {
    this.#listener = listener;
  }

  /** Sets the problem of a policy, as when a map has become full, or has room again. */
  setProblem(key: string, problem: string | undefined): void {
    if (problem === undefined) this.problems.delete(key);
    else this.problems.set(key, problem);
    this.#listener([key]);
  }

  take(update: PolicyUpdate): void {
    this.updates.push(update);
  }

  setComplete(): void {
    this.isComplete = true;
  }

  program(): void {
    if (!this.isComplete) return;
    if (this.error) throw this.error;
    this.programmed = this.updates.length;
    const ready = this.#waiters.filter(({ address }) => this.isProgrammed(address));
    this.#waiters = this.#waiters.filter((each) => !ready.includes(each));
    for (const { done } of ready) done();
  }

  retry(): void {
    this.retries++;
    this.program();
  }

  setResolvers(addresses: Iterable<string>): void {
    if (this.resolversError) throw this.resolversError;
    this.resolvers = [...addresses];
  }

  release(): void {
    this.isReleased = true;
  }

  attach({ pod }: { readonly pod: string }, addresses: readonly string[]): void {
    for (const address of addresses) this.pods.set(address, pod);
    this.program();
  }

  detach(addresses: readonly string[]): void {
    for (const address of addresses) this.pods.delete(address);
  }

  isProgrammed(address: string): boolean {
    const pod = this.pods.get(address);
    return this.updates
      .slice(0, this.programmed)
      .some(({ subjects }) => subjects.upserted.some((each) => each.pod === pod));
  }

  whenProgrammed(address: string, done: () => void): Disposable {
    const waiter = { address, done };
    this.#waiters.push(waiter);
    return {
      [Symbol.dispose]: () => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
      },
    };
  }

  problemOf(key: string): string | undefined {
    return this.problems.get(key);
  }

  ruleAt(number: number): PolicyRule | undefined {
    return this.present[number];
  }

  *rules(): Generator<NumberedRule> {
    for (const [number, rule] of this.present.entries()) {
      yield { number, rule, connections: BigInt(10 * (number + 1)) };
    }
  }

  denied(): ReturnType<Policy['denied']> {
    return new Map();
  }

  deniedByDefault(): ReturnType<Policy['deniedByDefault']> {
    return { egress: 1n, ingress: 2n };
  }

  wouldDeny(): ReturnType<Policy['wouldDeny']> {
    return new Map();
  }

  wouldDenyByDefault(): ReturnType<Policy['wouldDenyByDefault']> {
    return { egress: 0n, ingress: 3n };
  }
}
