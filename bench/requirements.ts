import { accessSync, constants } from 'node:fs';
import { preflight } from '@heddle/control/preflight';
import type { Case } from './cases/case.ts';

/** Commands that cases need beyond Node.js, and the apt packages that have them. */
const packages: Readonly<Record<string, string>> = {
  'iptables-legacy-restore': 'iptables',
  nft: 'nftables',
  wrk: 'wrk',
};

/** Returns one sentence with what this machine lacks for the cases and the remedy, or undefined. */
export function missingRequirements(cases: readonly Case[]): string | undefined {
  const missing = preflight();
  if (missing) return missing.message;
  const commands = new Set(cases.flatMap((each) => each.commands));
  const lacking = [...commands].filter((command) => !isInstalled(command));
  if (lacking.length === 0) return undefined;
  const names = lacking.map((command) => packages[command]).join(' ');
  return `the benchmark compares with other tools and lacks ${lacking.join(', ')}: apt-get install ${names}`;
}

function isInstalled(command: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(`${folder}/${command}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
