import { externalInterfaces, filterPlace, podFilters } from '@heddle/datapath';
import { decodeTunnelEnd } from '@heddle/datapath/abi';
import { filterProgram, findLink, type NetlinkSocket } from '@heddle/netlink';
import { type Dump, type DumpedFilter, elementsOf } from './dump.ts';

/**
 * Returns the programs that run as filters of traffic control: those of pod interfaces and of the tunnel device, and
 * before Linux 6.6 those of external interfaces. The socket is of the node's namespace. Throws NetlinkError.
 */
export function readFilters(socket: NetlinkSocket, dump: Pick<Dump, 'maps'>): DumpedFilter[] {
  const found: DumpedFilter[] = [];
  const add = (hook: string, programId: number | undefined) => {
    if (programId !== undefined) found.push({ hook, programId });
  };
  for (const { program, place } of podFilters) add(program, filterProgram(socket, place));
  for (const link of externalInterfaces(elementsOf(dump, 'node_devices'))) {
    const name = findLink(socket, link)?.name;
    if (name === undefined) continue;
    for (const direction of ['ingress', 'egress'] as const) {
      const place = { link, direction, ...filterPlace };
      add(`node_${direction}@${name}`, filterProgram(socket, place));
    }
  }
  for (const [, value] of elementsOf(dump, 'tunnel')) {
    const link = decodeTunnelEnd(value).ifindex;
    const name = link === 0 ? undefined : findLink(socket, link)?.name;
    if (name === undefined) continue;
    const place = { link, direction: 'ingress', ...filterPlace } as const;
    add(`from_tunnel@${name}`, filterProgram(socket, place));
  }
  return found;
}
