import { existsSync, readFileSync } from 'node:fs';
import { planRemoval, restoreInput } from './iptables.ts';
import {
  endOf,
  ipvsDevice,
  isOwnService,
  parseAddresses,
  parseSets,
  parseVirtualServices,
} from './ipvs.ts';
import { type RunTool, ToolError } from './tools.ts';

/** The results of a removal, in sentences that begin with the tool. */
export interface Removal {
  readonly removed: readonly string[];
  /** The parts that are kept, because another program uses or may own them. */
  readonly kept: readonly string[];
  /** The parts that were not checked, because a tool is missing. */
  readonly skipped: readonly string[];
  /** The parts that an error kept from being removed. */
  readonly failed: readonly string[];
}

type Report = { [Outcome in keyof Removal]: string[] };

/** Removes the rules and interfaces that an ended kube-proxy left in this network namespace. */
export async function removeLeftovers(run: RunTool): Promise<Removal> {
  const report: Report = { removed: [], kept: [], skipped: [], failed: [] };
  await removeChains(run, report);
  await removeTables(run, report);
  // This follows the chains, whose rules use the IP sets.
  await removeIpvs(run, report);
  return report;
}

/**
 * Runs one step. An error is reported and gives false, and the caller continues with the next step.
 */
async function attempt(report: Report, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    report.failed.push(error.message);
    return false;
  }
}

/** Removes the rules of both families, through both iptables variants (legacy and nft). */
async function removeChains(run: RunTool, report: Report): Promise<void> {
  for (const family of ['iptables', 'ip6tables']) {
    let isMissing = true;
    // If neither variant has a command of its own, there is only one.
    for (const variant of ['-nft', '-legacy', '']) {
      if (variant === '' && !isMissing) break;
      const isDone = await attempt(report, async () => {
        const tool = `${family}${variant}`;
        const saved = await run(`${tool}-save`, []);
        if (saved === undefined) return;
        isMissing = false;
        const plans = planRemoval(saved);
        const input = restoreInput(plans);
        if (input !== '') await run(`${tool}-restore`, ['--noflush', '--wait', '10'], input);
        for (const { table, chains, jumps, kept } of plans) {
          const counts = `${counted(chains.length, 'chain')}, ${counted(jumps.length, 'jump')}`;
          if (chains.length + jumps.length > 0) report.removed.push(`${tool}: ${table}: ${counts}`);
          for (const { chain, usedBy } of kept) {
            report.kept.push(
              `${tool}: ${table}: ${chain}, which another program's rule uses: ${usedBy}`,
            );
          }
        }
      });
      if (!isDone) isMissing = false;
    }
    if (isMissing) report.skipped.push(`${family}: not installed`);
  }
}

/** Removes the tables of kube-proxy's nftables mode, one for each family. */
async function removeTables(run: RunTool, report: Report): Promise<void> {
  await attempt(report, async () => {
    const listed = await run('nft', ['list', 'tables']);
    if (listed === undefined) {
      report.skipped.push('nft: not installed');
      return;
    }
    for (const [, family] of listed.matchAll(/^table (ip6?) kube-proxy$/gm)) {
      await attempt(report, async () => {
        await run('nft', ['delete', 'table', family!, 'kube-proxy']);
        report.removed.push(`nft: table ${family} kube-proxy`);
      });
    }
  });
}

/** Removes the rest of the ipvs mode: virtual services, the interface and IP sets. */
async function removeIpvs(run: RunTool, report: Report): Promise<void> {
  const hasDevice = new RegExp(`^ *${ipvsDevice}:`, 'm').test(
    readFileSync('/proc/net/dev', 'latin1'),
  );
  const hasServices =
    existsSync('/proc/net/ip_vs') &&
    /^(TCP|UDP|SCTP) /m.test(readFileSync('/proc/net/ip_vs', 'latin1'));
  await attempt(report, async () => {
    // The interface shows which services are kube-proxy's, so it is removed last.
    if (hasServices && !(await removeVirtualServices(run, report, hasDevice))) return;
    if (!hasDevice) return;
    if ((await run('ip', ['link', 'delete', ipvsDevice])) !== undefined) {
      report.removed.push(`ip: interface ${ipvsDevice}`);
    } else report.skipped.push(`ip: not installed, and interface ${ipvsDevice} exists`);
  });
  await attempt(report, async () => {
    const listed = await run('ipset', ['list', '-name']);
    if (listed === undefined && (hasDevice || hasServices)) {
      report.skipped.push('ipset: not installed');
    }
    const names = parseSets(listed ?? '');
    for (const name of names) await run('ipset', ['destroy', name]);
    if (names.length > 0) report.removed.push(`ipset: ${counted(names.length, 'set')}`);
  });
}

/** Removes the virtual services; returns false if a tool is missing. */
async function removeVirtualServices(
  run: RunTool,
  report: Report,
  hasDevice: boolean,
): Promise<boolean> {
  const saved = await run('ipvsadm', ['--save', '--numeric']);
  const onNode = await run('ip', ['-oneline', 'address', 'show']);
  if (saved === undefined || onNode === undefined) {
    const missing = saved === undefined ? 'ipvsadm' : 'ip';
    report.skipped.push(`${missing}: not installed, and virtual services exist`);
    return false;
  }
  const onDevice = hasDevice
    ? ((await run('ip', ['-oneline', 'address', 'show', 'dev', ipvsDevice])) ?? '')
    : '';
  const [ofDevice, ofNode] = [parseAddresses(onDevice), parseAddresses(onNode)];
  let count = 0;
  for (const service of parseVirtualServices(saved)) {
    const end = endOf(service);
    if (isOwnService(service, ofDevice, ofNode)) {
      await run('ipvsadm', ['--delete-service', service.option, end]);
      count++;
    } else {
      report.kept.push(`ipvsadm: ${service.option} ${end}, which may belong to another program`);
    }
  }
  if (count > 0) report.removed.push(`ipvsadm: ${counted(count, 'virtual service')}`);
  return true;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
