import { type FamilyUsage, usageWarnings } from '@heddle/ipam';

/** The part of the addresses that has to be free again before a family is reported again. */
const freeAgain = 0.3;

/** Decides when the use of addresses is worth an event: once when 80 % are used, and not at each pod after that. */
export class UsageReports {
  readonly #reported = new Set<string>();

  /** Returns the sentences that are new. */
  take(usages: readonly FamilyUsage[]): string[] {
    return usages.flatMap((usage) => {
      const { family, used, total } = usage;
      if (used <= (1 - freeAgain) * total) this.#reported.delete(family);
      const warnings = this.#reported.has(family) ? [] : usageWarnings([usage]);
      if (warnings.length > 0) this.#reported.add(family);
      return warnings;
    });
  }
}
