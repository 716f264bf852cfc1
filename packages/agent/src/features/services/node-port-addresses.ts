import { canonicalRange } from '@heddle/objects';
import { isIpv4, parseIp } from '@heddle/sys';
import { deviceMatches } from '../../node/device-names.ts';
import type { OwnAddress } from '../../node/own-addresses.ts';

/** The addresses at which NodePorts and hostPorts are served, by the configuration. */
export interface NodePortChoice {
  /** Ranges in canonical text. If undefined, the addresses of the Node object apply. */
  readonly ranges: readonly string[] | undefined;
  /** The network interfaces that do not exist or have no address, in sentences. */
  readonly problems: readonly string[];
}

/**
 * Returns the ranges of addresses that `nodePortAddresses` selects. An entry is a range of addresses, or the name
 * of a network interface, in which `*` matches anything, for the addresses of that interface.
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
      problems.push(`nodePortAddresses: no network interface ${entry} has an address`);
    }
  }
  return { ranges: [...ranges], problems };
}

function rangeOf(address: string): string {
  return `${address}/${isIpv4(parseIp(address)!) ? 32 : 128}`;
}
