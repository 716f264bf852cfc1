import type { Neighbour, WorkloadAnswer } from '../../contract.ts';
import { formatNumber, formatParty, formatTime } from '../../parts/format.ts';

/** Returns the number of namespaces of neighbours; everything outside of the cluster counts as one. */
export function namespacesOf(neighbours: readonly Neighbour[]): number {
  return new Set(neighbours.map(({ party }) => party.namespace)).size;
}

/** Returns the word of a filter that selects what a page is about. */
export function filterWord(kind: string, path: readonly string[]): string {
  const name = path.join('/');
  return kind === 'service' ? `svc:${name}` : `with:${name}`;
}

/** A caller counts as connected now if its last connection is not older than this. */
const nowMilliseconds = 120_000;
const mostNames = 3;

/**
 * Returns the sentence for the question whether something may be taken away, or undefined while connections
 * arrive: since when none has arrived, and which callers there were in 24 hours.
 */
export function quietSentence({ callers }: WorkloadAnswer, now: number): string | undefined {
  const connected = callers.filter(({ last }) => last > now - 86_400_000);
  if (connected.some(({ last }) => last > now - nowMilliseconds)) return undefined;
  if (connected.length === 0) return 'Nobody has connected in the last 24 h.';
  const names = connected.map(({ party }) => formatParty(party));
  const shown = names.slice(0, mostNames).join(', ');
  const rest = names.length - mostNames;
  const last = formatTime(Math.max(...connected.map((each) => each.last)), now);
  const count = formatNumber(names.length, 'caller');
  return `Nobody has connected since ${last}; in 24 h ${count} did: ${shown}${rest > 0 ? ` and ${rest} more` : ''}.`;
}
