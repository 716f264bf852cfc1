import type { PortRange } from '@heddle/datapath/flow-options';
import type { ServiceRow } from '@heddle/services';
import { formatPortRange } from '../../snat-ports.ts';

/** Returns a warning, with the remedy, if NodePorts are SNAT ports, too. */
export function snatNodePorts(snat: PortRange, rows: Iterable<ServiceRow>): string[] {
  const ports = new Map<number, string>();
  for (const { namespace, name, frontends } of rows) {
    for (const { kind, port } of frontends) {
      const isWithin = port >= snat.first && port <= snat.last;
      if (kind === 'NodePort' && isWithin) ports.set(port, `${namespace}/${name}`);
    }
  }
  const [first] = ports;
  if (!first) return [];
  const [port, service] = first;
  const more = ports.size > 1 ? ` and ${ports.size - 1} more` : '';
  return [
    `snatPorts ${formatPortRange(snat)}: NodePort ${port} of ${service}${more} is one of them, so that a late datagram of a backend may be taken for a client's (set snatPorts to ports outside of the API server's --service-node-port-range)`,
  ];
}
