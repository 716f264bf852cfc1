import { compactList, ownText } from '@heddle/objects';
import { bySeniority, type FrontendOwner } from './conflicts.ts';
import type { ServiceRow } from './rows.ts';

/** An owner that asks for frontends, and the rows that it would have if there were room for all. */
export interface Applicant {
  readonly owner: FrontendOwner | undefined;
  readonly wanted: readonly ServiceRow[];
}

/** One service or pod may have a quarter of the frontends that a node serves, one namespace a half. */
const ownerDivisor = 4;
const namespaceDivisor = 2;

/**
 * Decides which rows are programmed when services ask for more frontends than the node may serve, so that
 * nobody who may write one Service takes the room of all others. Older objects come first, whatever
 * the order in which they arrived. As long as everything fits, each change costs a few additions.
 */
export class Admission {
  readonly #most: number;
  readonly #ofOwner: number;
  readonly #ofNamespace: number;
  readonly #namespaces = new Map<string, number>();
  #total = 0;
  /** The number of owners and namespaces that ask for more than their share. */
  #greedy = 0;

  /** `most`: frontends that the node serves at most. */
  constructor(most: number) {
    this.#most = most;
    this.#ofOwner = Math.max(1, Math.floor(most / ownerDivisor));
    this.#ofNamespace = Math.max(1, Math.floor(most / namespaceDivisor));
  }

  /** Notes that an owner's rows have changed. */
  count(namespace: string, before: readonly ServiceRow[], after: readonly ServiceRow[]): void {
    const [had, has] = [frontendsOf(before), frontendsOf(after)];
    if (had === has) return;
    this.#total += has - had;
    const held = this.#namespaces.get(namespace) ?? 0;
    const holds = held + has - had;
    if (holds === 0) this.#namespaces.delete(namespace);
    else this.#namespaces.set(namespace, holds);
    this.#greedy += Number(has > this.#ofOwner) - Number(had > this.#ofOwner);
    this.#greedy += Number(holds > this.#ofNamespace) - Number(held > this.#ofNamespace);
  }

  /** Rows that are not programmed, by key, and why, in a sentence. */
  refusals(applicants: Iterable<Applicant>): ReadonlyMap<string, string> {
    const refused = new Map<string, string>();
    if (this.#greedy === 0 && this.#total <= this.#most) return refused;
    const inOrder = [...applicants]
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
          own + count > this.#ofOwner
            ? this.#ownersShare(owner)
            : inNamespace + count > this.#ofNamespace
              ? this.#namespacesShare(owner)
              : total + count > this.#most
                ? this.#allTaken()
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

  // The sentences name no counts that change, so that a row changes only with what holds for it.
  #ownersShare({ kind }: FrontendOwner): string {
    return ownText(
      `not programmed: one ${kind} may have ${this.#ofOwner} frontends, a quarter of sizes.servicesMax (${this.#most}), and this one asks for more (use fewer ports or addresses, or raise sizes.servicesMax)`,
    );
  }

  #namespacesShare({ namespace }: FrontendOwner): string {
    return ownText(
      `not programmed: namespace ${namespace} may have ${this.#ofNamespace} frontends, a half of sizes.servicesMax (${this.#most}), and older services of it have them (remove some, or raise sizes.servicesMax)`,
    );
  }

  #allTaken(): string {
    return ownText(
      `not programmed: older services have the ${this.#most} frontends of sizes.servicesMax (raise it, or remove services)`,
    );
  }
}

/** The row of a refused one: nothing of it is in the kernel. */
export function refusedRow(row: ServiceRow, reason: string): ServiceRow {
  const { healthCheck: _, ...rest } = row;
  return { ...rest, frontends: compactList([]), backends: compactList([]), notAdmitted: reason };
}

function frontendsOf(rows: readonly ServiceRow[]): number {
  return rows.reduce((sum, { frontends }) => sum + frontends.length, 0);
}

/** Rows by port and family: what a traffic policy parts is programmed as a whole, or not at all. */
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
