import { type Check, commandOf, type Finding } from './check.ts';
import { forwarding, rpFilter } from './checks/forwarding.ts';
import { governor, interrupts, queues, rings, tuned } from './checks/hardware.ts';
import { fq, mtu, offloads } from './checks/interfaces.ts';
import { kernelVersion, preemption } from './checks/kernel.ts';
import { kubeProxyRules, trackedConnections } from './checks/leftovers.ts';
import { descriptors, mapSizes } from './checks/limits.ts';
import { localPorts, timeWait } from './checks/ports.ts';
import type { Facts } from './facts.ts';

/** All checks, those of mistakes first. */
export const checks: readonly Check[] = [
  mapSizes,
  forwarding,
  rpFilter,
  mtu,
  localPorts,
  kubeProxyRules,
  trackedConnections,
  descriptors,
  fq,
  offloads,
  timeWait,
  kernelVersion,
  preemption,
  governor,
  tuned,
  interrupts,
  queues,
  rings,
];

/** Returns what the checks find. */
export function examine(facts: Facts): Finding[] {
  return checks.flatMap((check) =>
    check.examine(facts).map((result): Finding => {
      const { reason, risk, name } = check;
      const changes = result.changes ?? [];
      const command = result.command ?? changes.map(commandOf).join('; ');
      return {
        name,
        ...result,
        ...(command === '' ? {} : { command }),
        ...{ reason, risk },
        canApply: changes.length > 0,
      };
    }),
  );
}
