import { canonicalRange } from '@heddle/objects';
import { isIpv4, parseIp } from '@heddle/sys';
import { deviceMatches } from '../../node/device-names.ts';
import type { OwnAddress } from '../../node/own-addresses.ts';

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

function rangeOf(address: string): string {
  return `${address}/${isIpv4(parseIp(address)!) ? 32 : 128}`;
}
