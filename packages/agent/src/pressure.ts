import type { DatapathStatus } from '@heddle/datapath';

/** Share of a bound from which on it is time to act. */
export const warnFrom = 0.8;

/** What bounds a map, as the configuration calls it. */
const settings: Readonly<Record<string, string>> = {
  services: 'raise sizes.servicesMax',
  backends: 'raise sizes.backends',
  slots: 'raise sizes.slots',
  addresses: 'raise sizes.servicesMax or sizes.backends',
  nat_flows: 'raise sizes.flows',
};

/** Bounds of which 80 % or more are taken, in sentences that say what to do. */
export function pressureWarnings({ maps, nat }: DatapathStatus): string[] {
  const warnings: string[] = [];
  for (const { name, entries, maxEntries } of maps) {
    if (entries < warnFrom * maxEntries) continue;
    const remedy = settings[name] ?? 'its size is fixed: have fewer of what it holds';
    warnings.push(
      `map ${name} has ${entries} of ${maxEntries} entries, ${percent(entries, maxEntries)} (${remedy})`,
    );
  }
  const { unanswered, unansweredLimit, ports } = nat;
  if (unanswered >= warnFrom * unansweredLimit) {
    warnings.push(
      `${unanswered} flows are unconfirmed, ${percent(unanswered, unansweredLimit)} of the ${unansweredLimit} that may be, and new ones evict the oldest: a flood, or backends that do not answer (raise sizes.flows if they are clients; heddle flow list shows them)`,
    );
  }
  for (const { protocol, backend, backendPort, source, used } of nat.fullest) {
    if (used < warnFrom * ports) continue;
    const to = backend.includes(':') ? `[${backend}]:${backendPort}` : `${backend}:${backendPort}`;
    warnings.push(
      `${used} of ${ports} ports of ${source} are taken towards ${protocol} ${to}, ${percent(used, ports)} (widen snatPorts, lower timeouts, or have more backends)`,
    );
  }
  return warnings;
}

function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)}%`;
}
