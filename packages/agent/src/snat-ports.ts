import type { PortRange } from '@heddle/datapath/flow-options';
import type { ServiceRow } from '@heddle/services';
import { decodeUtf8, isMissing, type Platform, readFile } from '@heddle/sys';

/** Ports that a client may have come from stay such (RFC 4787, REQ-3): below are the well-known ones. */
const firstPort = 1024;
const lastPort = 65_535;

/** A range as the configuration has it, `first-last` with ports of 1024 to 65535; else undefined. */
export function parsePortRange(text: string): PortRange | undefined {
  const found = /^(\d{4,5})-(\d{4,5})$/.exec(text);
  if (!found) return undefined;
  const [first, last] = [Number(found[1]), Number(found[2])];
  return first >= firstPort && first <= last && last <= lastPort ? { first, last } : undefined;
}

export function formatPortRange({ first, last }: PortRange): string {
  return `${first}-${last}`;
}

/** What the kernel's own choice of ports goes by, as its files read. */
export interface LocalPorts {
  /** `net.ipv4.ip_local_port_range`: two numbers. */
  readonly range: string;
  /** `net.ipv4.ip_local_reserved_ports`: ports and ranges with commas between, or nothing. */
  readonly reserved: string;
}

/** Those of this network namespace, for IPv6, too; undefined where /proc has none. Throws SysError. */
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
 * What speaks against the ports that stand for clients, in sentences with the remedy. These are
 * warnings: NodePorts and the kernel's range can change at any time, only few packets are concerned,
 * and an agent that refuses to start for it would leave the node without changes of services.
 */
export function snatPortProblems(
  snat: PortRange,
  local: LocalPorts | undefined,
  rows: Iterable<ServiceRow>,
): string[] {
  const problems: string[] = [];
  const chosen = local && overlap(snat, local);
  if (chosen) {
    const range = formatPortRange(chosen);
    problems.push(
      `snatPorts ${formatPortRange(snat)}: of these, the node's own sockets choose ${range}, too, so that a connection of theirs to a pod may get mixed up with a client's (set net.ipv4.ip_local_reserved_ports=${range}, or snatPorts to others than net.ipv4.ip_local_port_range)`,
    );
  }
  const ports = new Map<number, string>();
  for (const { namespace, name, frontends } of rows) {
    for (const { kind, port } of frontends) {
      const isWithin = port >= snat.first && port <= snat.last;
      if (kind === 'NodePort' && isWithin) ports.set(port, `${namespace}/${name}`);
    }
  }
  const [first] = ports;
  if (first) {
    const [port, service] = first;
    const more = ports.size > 1 ? ` and ${ports.size - 1} more` : '';
    problems.push(
      `snatPorts ${formatPortRange(snat)}: NodePort ${port} of ${service}${more} is one of them, so that a late datagram of a backend may be taken for a client's (set snatPorts to ports outside of the API server's --service-node-port-range)`,
    );
  }
  return problems;
}

/** Ports of `snat`, as one range, that the kernel would choose for a socket; undefined: none. */
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
