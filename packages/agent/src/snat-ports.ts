import type { PortRange } from '@heddle/datapath/flow-options';
import { decodeUtf8, isMissing, type Platform, readFile } from '@heddle/sys';

/** SNAT ports are dynamic ports, as the client's port was (RFC 4787, REQ-3); those below are well-known. */
const firstPort = 1024;
const lastPort = 65_535;

/** Parses a range of the configuration, `first-last` with ports of 1024 to 65535. Returns undefined for other texts. */
export function parsePortRange(text: string): PortRange | undefined {
  const found = /^(\d{4,5})-(\d{4,5})$/.exec(text);
  if (!found) return undefined;
  const [first, last] = [Number(found[1]), Number(found[2])];
  return first >= firstPort && first <= last && last <= lastPort ? { first, last } : undefined;
}

export function formatPortRange({ first, last }: PortRange): string {
  return `${first}-${last}`;
}

/** The settings by which the kernel chooses ports, as its files have them. */
export interface LocalPorts {
  /** `net.ipv4.ip_local_port_range`: two numbers. */
  readonly range: string;
  /** `net.ipv4.ip_local_reserved_ports`: ports and ranges with commas between, or nothing. */
  readonly reserved: string;
}

/** Returns this network namespace's settings of both families, or undefined where /proc has none. Throws SysError. */
export function localPorts(platform: Platform): LocalPorts | undefined {
  const read = (name: string) =>
    decodeUtf8(readFile(platform, `/proc/sys/net/ipv4/${name}`)).trim();
  try {
    return { range: read('ip_local_port_range'), reserved: read('ip_local_reserved_ports') };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Returns a warning, with the remedy, if the kernel chooses SNAT ports for the node's own sockets, too. It is no
 * error: the kernel's range can change at any time, few packets are concerned, and an agent that refused to start
 * would leave the node without changes of services.
 */
export function snatPortConflict(
  snat: PortRange,
  local: LocalPorts | undefined,
): string | undefined {
  const chosen = local && overlap(snat, local);
  if (!chosen) return undefined;
  const range = formatPortRange(chosen);
  return `snatPorts ${formatPortRange(snat)}: of these, the node's own sockets choose ${range}, too, so that a connection of theirs to a pod may get mixed up with a client's (set net.ipv4.ip_local_reserved_ports=${range}, or snatPorts to others than net.ipv4.ip_local_port_range)`;
}

/** Returns the range of the ports of `snat` that the kernel may choose for a socket, or undefined if it is empty. */
function overlap(snat: PortRange, { range, reserved }: LocalPorts): PortRange | undefined {
  const [first = 0, last = -1] = range.split(/\s+/).map(Number);
  let at = Math.max(snat.first, first);
  let end = Math.min(snat.last, last);
  const kept = reserved
    .split(',')
    .filter((part) => part !== '')
    .map((part) => part.split('-').map(Number))
    .map(([from = 0, to = from]) => ({ from, to }))
    .sort((a, b) => a.from - b.from);
  for (const { from, to } of kept) if (from <= at && to >= at) at = to + 1;
  for (const { from, to } of kept.reverse()) if (to >= end && from <= end) end = from - 1;
  return at <= end ? { first: at, last: end } : undefined;
}
