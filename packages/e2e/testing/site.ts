import { startBackend } from '@heddle/lab';
import type { AgentRun } from './agent-run.ts';
import { Product } from './product.ts';
import { Client } from './traffic/client.ts';

/** Ports that every backend of a site serves; it answers with its name. */
export const ports = { http: 8080, https: 8443, dns: 5353 } as const;

/**
 * The product with an agent that runs: pods 0 and 1 are clients, pods 2 to 4 (`pod-1-3` to
 * `pod-1-5`) are backends.
 */
export class Site<Run extends AgentRun = Product> implements Disposable {
  readonly product: Run;
  readonly client: Client;
  /** Another pod. */
  readonly other: Client;
  /** A process of the node itself. */
  readonly onNode: Client;

  private constructor(product: Run) {
    this.product = product;
    this.client = new Client(product.pod(0));
    this.other = new Client(product.pod(1));
    this.onNode = new Client(product.node);
  }

  static open(name: string): Promise<Site> {
    return Site.on(new Product(name, { podsPerNode: 5 }));
  }

  /** On a lab with five pods on its first node. */
  static async on<Run extends AgentRun>(product: Run): Promise<Site<Run>> {
    try {
      const { http, https, dns } = ports;
      const backends = [2, 3, 4].map((number) =>
        startBackend(product.pod(number), { tcp: [http, https], udp: [dns], http: [80] }),
      );
      await Promise.all([product.start(), ...backends]);
      return new Site(product);
    } catch (error) {
      product[Symbol.dispose]();
      throw error;
    }
  }

  /** IPv4 addresses of backends 1 to 3. */
  v4(...numbers: readonly number[]): string[] {
    return numbers.map((number) => this.product.pod(number + 1).addresses.v4);
  }

  v6(...numbers: readonly number[]): string[] {
    return numbers.map((number) => this.product.pod(number + 1).addresses.v6);
  }

  [Symbol.dispose](): void {
    this.product[Symbol.dispose]();
  }
}

/** Names of backends 1 to 3, as they answer. */
export function named(...numbers: readonly number[]): string[] {
  return numbers.map((number) => `pod-1-${number + 2}`);
}

/** Different answers, in order. */
export function kinds(answers: readonly string[]): string[] {
  return [...new Set(answers)].sort();
}

/** How often each answer came. */
export function counts(answers: readonly string[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const each of answers.toSorted()) found[each] = (found[each] ?? 0) + 1;
  return found;
}
