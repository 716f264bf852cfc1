import type { NatStatus } from '@heddle/datapath';
import { percent, warnFrom } from '../../pressure.ts';

/** Returns warnings about unconfirmed flows and SNAT ports of which 80 % or more is taken. */
export function flowPressure({ unanswered, unansweredLimit, ports, fullest }: NatStatus): string[] {
  const warnings: string[] = [];
  if (unanswered >= warnFrom * unansweredLimit) {
    warnings.push(
      `${unanswered} flows are unconfirmed, ${percent(unanswered, unansweredLimit)} of the ${unansweredLimit} that may be, and new ones evict the oldest: a flood, or backends that do not answer (raise sizes.flows if they are clients; heddle flow list shows them)`,
    );
  }
  for (const { protocol, backend, backendPort, source, used } of fullest) {
    if (used < warnFrom * ports) continue;
    const to = backend.includes(':') ? `[${backend}]:${backendPort}` : `${backend}:${backendPort}`;
    warnings.push(
      `${used} of ${ports} ports of ${source} are taken towards ${protocol} ${to}, ${percent(used, ports)} (widen snatPorts, lower timeouts, or have more backends)`,
    );
  }
  return warnings;
}
