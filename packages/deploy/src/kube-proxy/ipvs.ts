/** The device to which kube-proxy gives the addresses of services in ipvs mode. */
export const ipvsDevice = 'kube-ipvs0';

/** The names of kube-proxy's IP sets; other sets that begin with KUBE- belong to others. */
const ownSet =
  /^KUBE-(6-)?(LOOP-BACK|CLUSTER-IP|EXTERNAL-IP(-LOCAL)?|LOAD-BALANCER(-LOCAL|-FW|-SOURCE-IP|-SOURCE-CIDR)?|NODE-PORT(-LOCAL)?-(TCP|UDP|SCTP(-HASH)?)|HEALTH-CHECK-NODE-PORT|IPVS-IPS)$/;

/** The default range of NodePorts (kube-apiserver --service-node-port-range). */
const nodePorts = { first: 30000, last: 32767 };

/** A virtual service, as `ipvsadm` takes it: the option for its protocol, address and port. */
export interface VirtualService {
  readonly option: string;
  readonly address: string;
  readonly port: number;
}

/** Reads the virtual services in what `ipvsadm --save --numeric` printed. */
export function parseVirtualServices(saved: string): VirtualService[] {
  const services: VirtualService[] = [];
  for (const match of saved.matchAll(/^-A (-t|-u|--sctp-service) (\S+):(\d+)( |$)/gm)) {
    const address = match[2]!.replace(/^\[(.*)\]$/, '$1');
    services.push({ option: match[1]!, address, port: Number(match[3]) });
  }
  return services;
}

/** The argument by which ipvsadm knows a virtual service. */
export function endOf({ address, port }: VirtualService): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Reads the addresses in what `ip -oneline address show` printed of one or all devices. */
export function parseAddresses(shown: string): Set<string> {
  return new Set(Array.from(shown.matchAll(/ inet6? ([^\s/]+)/g), (match) => match[1]!));
}

/**
 * Which virtual services are kube-proxy's: those for addresses that it has put on its device, and
 * NodePorts on the node's own. Any others may be a load balancer's of its own right.
 */
export function isOwnService(
  { address, port }: VirtualService,
  ofDevice: ReadonlySet<string>,
  ofNode: ReadonlySet<string>,
): boolean {
  if (ofDevice.has(address)) return true;
  return ofNode.has(address) && port >= nodePorts.first && port <= nodePorts.last;
}

/** Names of kube-proxy's sets in what `ipset list -name` printed. */
export function parseSets(listed: string): string[] {
  return listed.split('\n').filter((name) => ownSet.test(name));
}
