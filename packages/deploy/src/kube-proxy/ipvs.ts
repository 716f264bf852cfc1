/** The network interface that has the addresses of services in kube-proxy's ipvs mode. */
export const ipvsDevice = 'kube-ipvs0';

/** The names of kube-proxy's IP sets; other sets that begin with KUBE- belong to others. */
const ownSet =
  /^KUBE-(6-)?(LOOP-BACK|CLUSTER-IP|EXTERNAL-IP(-LOCAL)?|LOAD-BALANCER(-LOCAL|-FW|-SOURCE-IP|-SOURCE-CIDR)?|NODE-PORT(-LOCAL)?-(TCP|UDP|SCTP(-HASH)?)|HEALTH-CHECK-NODE-PORT|IPVS-IPS)$/;

/** The default range of NodePorts (kube-apiserver --service-node-port-range). */
const nodePorts = { first: 30000, last: 32767 };

/** A virtual service in the form of `ipvsadm`: the option for its protocol, address and port. */
export interface VirtualService {
  readonly option: string;
  readonly address: string;
  readonly port: number;
}

/** Parses the virtual services in the output of `ipvsadm --save --numeric`. */
export function parseVirtualServices(saved: string): VirtualService[] {
  const services: VirtualService[] = [];
  for (const match of saved.matchAll(/^-A (-t|-u|--sctp-service) (\S+):(\d+)( |$)/gm)) {
    const address = match[2]!.replace(/^\[(.*)\]$/, '$1');
    services.push({ option: match[1]!, address, port: Number(match[3]) });
  }
  return services;
}

/** Returns the argument of ipvsadm for a virtual service. */
export function endOf({ address, port }: VirtualService): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Parses the addresses in the output of `ip -oneline address show`. */
export function parseAddresses(shown: string): Set<string> {
  return new Set(Array.from(shown.matchAll(/ inet6? ([^\s/]+)/g), (match) => match[1]!));
}

/**
 * Returns kube-proxy's virtual services: those for addresses on its interface, and NodePorts at the
 * node's own addresses. Others may belong to another load balancer.
 */
export function isOwnService(
  { address, port }: VirtualService,
  ofDevice: ReadonlySet<string>,
  ofNode: ReadonlySet<string>,
): boolean {
  if (ofDevice.has(address)) return true;
  return ofNode.has(address) && port >= nodePorts.first && port <= nodePorts.last;
}

/** Returns the names of kube-proxy's sets in the output of `ipset list -name`. */
export function parseSets(listed: string): string[] {
  return listed.split('\n').filter((name) => ownSet.test(name));
}
