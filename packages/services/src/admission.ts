import { compactList, ownText } from '@heddle/objects';
import { bySeniority, type FrontendOwner } from './conflicts.ts';
import type { ServiceRow } from './rows.ts';

/** An owner that requests frontends, with the rows that it has without any limit. */
export interface FrontendRequest {
  readonly owner: FrontendOwner | undefined;
  readonly wanted: readonly ServiceRow[];
}

/**
 * One service or pod may have a quarter of the frontends that a node serves, one namespace half of
 * them.
 */
const ownerFraction = 4;
const namespaceFraction = 2;

/**
 * Decides which rows are programmed when services ask for more frontends than the node may serve,
 * so that a user who may write one Service can't exhaust the capacity for all others. Older objects
 * have precedence, independent of the order of arrival. While all requests fit, a change costs a
 * few additions.
 */
export class Admission {
  readonly #limit: number;
  readonly #ownerLimit: number;
  readonly #namespaceLimit: number;
  readonly #namespaces = new Map<string, number>();
  #total = 0;
  /** The number of owners and namespaces that request more than their share. */
  #overLimit = 0;

  /** `limit` is the number of frontends that the node may serve. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#ownerLimit = Math.max(1, Math.floor(limit / ownerFraction));
    this.#namespaceLimit = Math.max(1, Math.floor(limit / namespaceFraction));
  }

  /** Records a change of an owner's rows. */
  count(namespace: string, before: readonly ServiceRow[], after: readonly ServiceRow[]): void {
    const [had, has] = [frontendsOf(before), frontendsOf(after)];
    if (had === has) return;
    this.#total += has - had;
    const held = this.#namespaces.get(namespace) ?? 0;
    const holds = held + has - had;
    if (holds === 0) this.#namespaces.delete(namespace);
    else this.#namespaces.set(namespace, holds);
    this.#overLimit += Number(has > this.#ownerLimit) - Number(had > this.#ownerLimit);
    this.#overLimit += Number(holds > this.#namespaceLimit) - Number(held > this.#namespaceLimit);
  }

  /** Returns the keys of the rows that are not programmed, each with the reason as a sentence. */
  refusals(requests: Iterable<FrontendRequest>): ReadonlyMap<string, string> {
    const refused = new Map<string, string>();
    if (this.#overLimit === 0 && this.#total <= this.#limit) return refused;
    const inOrder = [...requests]
      .flatMap(({ owner, wanted }) => (owner && wanted.length > 0 ? [{ owner, wanted }] : []))
      .sort((a, b) => bySeniority(a.owner, b.owner));
    const namespaces = new Map<string, number>();
    let total = 0;
    for (const { owner, wanted } of inOrder) {
      let own = 0;
      for (const rows of portsOf(wanted)) {
        const count = frontendsOf(rows);
        if (count === 0) continue;
        const inNamespace = namespaces.get(owner.namespace) ?? 0;
        const reason =
          own + count > this.#ownerLimit
            ? this.#ownerLimitReached(owner)
            : inNamespace + count > this.#namespaceLimit
              ? this.#namespaceLimitReached(owner)
              : total + count > this.#limit
                ? this.#limitReached()
                : undefined;
        if (reason !== undefined) {
          for (const { key } of rows) refused.set(key, reason);
          continue;
        }
        own += count;
        total += count;
        namespaces.set(owner.namespace, inNamespace + count);
      }
    }
    return refused;
  }

  // The sentences have no counts that change, so that a row changes only when its own state does.
  #ownerLimitReached({ kind }: FrontendOwner): string {
    return ownText(
      `not programmed: one ${kind} may have ${this.#ownerLimit} frontends, a quarter of sizes.servicesMax (${this.#limit}), and this one asks for more (use fewer ports or addresses, or raise sizes.servicesMax)`,
    );
  }

  #namespaceLimitReached({ namespace }: FrontendOwner): string {
    return ownText(
      `not programmed: namespace ${namespace} may have ${this.#namespaceLimit} frontends, half of sizes.servicesMax (${this.#limit}), and older services in it use them (remove some, or raise sizes.servicesMax)`,
    );
  }

  #limitReached(): string {
    return ownText(
      `not programmed: older services use the ${this.#limit} frontends of sizes.servicesMax (raise it, or remove services)`,
    );
  }
}

/** Returns a row without frontends and backends, which has the reason for its refusal. */
export function refusedRow(row: ServiceRow, reason: string): ServiceRow {
  const { healthCheck: _, ...rest } = row;
  return { ...rest, frontends: compactList([]), backends: compactList([]), notAdmitted: reason };
}

function frontendsOf(rows: readonly ServiceRow[]): number {
  return rows.reduce((sum, { frontends }) => sum + frontends.length, 0);
}

/**
 * Groups rows by port and family: rows that a traffic policy splits are programmed together or not
 * at all.
 */
function portsOf(rows: readonly ServiceRow[]): Iterable<readonly ServiceRow[]> {
  const ports = new Map<string, ServiceRow[]>();
  for (const row of rows) {
    const port = row.key.replace(/\/(external|outside)$/, '');
    const others = ports.get(port);
    if (others) others.push(row);
    else ports.set(port, [row]);
  }
  return ports.values();
}
