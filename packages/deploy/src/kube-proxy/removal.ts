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
  /** Left in place, as others use it or it can't be told whose it is. */
  readonly kept: readonly string[];
  /** Can't be looked at, for lack of a tool. */
  readonly skipped: readonly string[];
  /** Should be gone and is not. */
  readonly failed: readonly string[];
}

type Report = { [Outcome in keyof Removal]: string[] };

/** Removes what a kube-proxy that has ended left in this network namespace. */
export async function removeLeftovers(run: RunTool): Promise<Removal> {
  const report: Report = { removed: [], kept: [], skipped: [], failed: [] };
  await removeChains(run, report);
  await removeTables(run, report);
  // After the chains, whose rules use its sets.
  await removeIpvs(run, report);
  return report;
}

/** Does one thing. What goes wrong is reported, and false returned: the next one is to be tried. */
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

/** Both families, and both ways in which iptables talks to the kernel. */
async function removeChains(run: RunTool, report: Report): Promise<void> {
  for (const family of ['iptables', 'ip6tables']) {
    let isMissing = true;
    // Where neither is known by name, there is one way only.
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
          const gone = `${counted(chains.length, 'chain')}, ${counted(jumps.length, 'jump')}`;
          if (chains.length + jumps.length > 0) report.removed.push(`${tool}: ${table}: ${gone}`);
          for (const { chain, usedBy } of kept) {
            report.kept.push(`${tool}: ${table}: ${chain}, which a rule of others uses: ${usedBy}`);
          }
        }
      });
      if (!isDone) isMissing = false;
    }
    if (isMissing) report.skipped.push(`${family}: not installed`);
  }
}

/** kube-proxy's nftables mode has a table of its own for each family. */
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
      report.removed.push(`ip: device ${ipvsDevice}`);
    } else report.skipped.push(`ip: not installed, and there is ${ipvsDevice}`);
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

/** False when it could not, for lack of a tool. */
async function removeVirtualServices(
  run: RunTool,
  report: Report,
  hasDevice: boolean,
): Promise<boolean> {
  const saved = await run('ipvsadm', ['--save', '--numeric']);
  const onNode = await run('ip', ['-oneline', 'address', 'show']);
  if (saved === undefined || onNode === undefined) {
    const missing = saved === undefined ? 'ipvsadm' : 'ip';
    report.skipped.push(`${missing}: not installed, and there are virtual services`);
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
      report.kept.push(`ipvsadm: ${service.option} ${end}, which may be somebody else's`);
    }
  }
  if (count > 0) report.removed.push(`ipvsadm: ${counted(count, 'virtual service')}`);
  return true;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
