import { canonicalRange } from '@heddle/objects';
import { formatIp, isIpv4, parseIp } from '@heddle/sys';
import { deviceMatches } from './device-names.ts';
import type { OwnAddress } from './own-addresses.ts';

/** Where NodePorts and hostPorts are served, as the configuration says. */
export interface NodePortChoice {
  /** Ranges in canonical text; undefined: the Node object says. */
  readonly ranges: readonly string[] | undefined;
  /** Devices that are not there or have no address, in sentences. */
  readonly problems: readonly string[];
}

/**
 * Ranges of the addresses that `nodePortAddresses` means. An entry is a range of addresses or the name
 * of a device, in which `*` stands for anything: it stands for the device's addresses. Without
 * entries nothing is said.
 */
export function nodePortChoice(
  entries: readonly string[],
  own: readonly OwnAddress[],
): NodePortChoice {
  if (entries.length === 0) return { ranges: undefined, problems: [] };
  const ranges = new Set<string>();
  const problems: string[] = [];
  for (const entry of entries) {
    const range = canonicalRange(entry);
    if (range !== undefined) {
      ranges.add(range);
      continue;
    }
    const found = own.filter(({ device }) => deviceMatches(entry, device));
    for (const { address } of found) ranges.add(rangeOf(address));
    if (found.length === 0) {
      problems.push(`nodePortAddresses: no device ${entry} with an address is there`);
    }
  }
  return { ranges: [...ranges], problems };
}

/** Why an entry of `nodePortAddresses` can't be used, in words; undefined when it can. */
export function nodePortEntryProblem(entry: string): string | undefined {
  if (entry.includes('/')) {
    if (canonicalRange(entry) !== undefined) return undefined;
    return 'write a range of addresses such as 192.0.2.0/24 or fd00:1::/64';
  }
  const address = parseIp(entry);
  if (address) return `write a range of addresses, for just this one ${rangeOf(formatIp(address))}`;
  // kube-proxy's word for what is the default here.
  if (entry === 'primary') return 'leave it out: the InternalIP and ExternalIP are the default';
  if (/^[^\s,/]{1,15}$/.test(entry)) return undefined;
  return 'write a range of addresses such as 192.0.2.0/24, or the name of a device';
}

function rangeOf(address: string): string {
  return `${address}/${isIpv4(parseIp(address)!) ? 32 : 128}`;
}
