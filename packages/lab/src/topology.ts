// Names and addresses in a lab. Numbers count from 1 and are the same in all addresses of a host: pod 3
// of node 2 is 10.244.2.3 and fd00:10:244:2::3.

/** Addresses of a node or pod in both families, as text. */
export interface Addresses {
  readonly v4: string;
  readonly v6: string;
}

/** The host beyond the nodes, with the bridge that connects them. */
export const underlayAddresses: Addresses = { v4: '192.0.2.254', v6: 'fd00:192:0:2::254' };
/** The address of the same host in the subnet of far nodes. */
export const farUnderlayAddresses: Addresses = { v4: '198.51.100.254', v6: 'fd00:198:51:100::254' };
export const underlayMac = '02:00:c0:00:02:fe';

/**
 * Source addresses for spoofed packets that no host has: the range of RFC 2544, and one of the lab.
 * The router beyond the nodes drops the answers.
 */
export const spoofedRanges: Addresses = { v4: '198.18.0.0/15', v6: 'fd00:198:18::/48' };

export const largestNode = 250;
export const largestPod = 250;
export const largestOutside = 250;

/** Returns the addresses of a node; a far one is in another subnet, beyond a router. */
export function nodeAddresses(node: number, isFar = false): Addresses {
  if (isFar) return { v4: `198.51.100.${node}`, v6: `fd00:198:51:100::${node}` };
  return { v4: `192.0.2.${node}`, v6: `fd00:192:0:2::${node}` };
}

/** Returns the address range of the pods of a node. */
export function podRange(node: number): Addresses {
  return { v4: `10.244.${node}.0/24`, v6: `fd00:10:244:${node}::/64` };
}

export function podAddresses(node: number, pod: number): Addresses {
  return { v4: `10.244.${node}.${pod}`, v6: `fd00:10:244:${node}::${pod}` };
}

/** Returns the addresses of a host beyond the router; each host is a network of its own. */
export function outsideAddresses(host: number): Addresses {
  return { v4: `203.0.113.${host}`, v6: `fd00:203:0:113::${host}` };
}

function hex(number: number): string {
  return number.toString(16).padStart(2, '0');
}

/** Returns the link-layer address of a node's eth0. */
export function nodeMac(node: number): string {
  return `02:00:c0:00:02:${hex(node)}`;
}

/** Returns the link-layer address of a pod's eth0. */
export function podMac(node: number, pod: number): string {
  return `02:00:0a:f4:${hex(node)}:${hex(pod)}`;
}

/** Returns the link-layer address of a pod interface, which is the pod's gateway. */
export function gatewayMac(node: number, pod: number): string {
  return `02:01:0a:f4:${hex(node)}:${hex(pod)}`;
}

/** Returns the link-layer address of an outside host's eth0. */
export function outsideMac(host: number): string {
  return `02:00:cb:00:71:${hex(host)}`;
}

/** Returns the link-layer address of the router's end of an outside host's veth pair. */
export function outsideGatewayMac(host: number): string {
  return `02:01:cb:00:71:${hex(host)}`;
}

/** Returns the name of the router's end of an outside host's veth pair. */
export function outsideLinkName(host: number): string {
  return `out${host}`;
}

export function outsideName(host: number): string {
  return `outside-${host}`;
}

/** Returns the name of a pod interface, the node's end of a pod's veth pair. */
export function podLinkName(pod: number): string {
  return `veth${pod}`;
}

/** Returns the name of the underlay's end of a node's veth pair. */
export function nodePortName(node: number): string {
  return `port${node}`;
}

export function nodeName(node: number): string {
  return `node${node}`;
}

export function podName(node: number, pod: number): string {
  return `pod-${node}-${pod}`;
}

/** Throws RangeError for a name that is not usable for a folder, a cgroup and a namespace. */
export function checkName(what: string, name: string): void {
  if (!/^[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?$/.test(name)) {
    throw new RangeError(
      `name ${what} ${name}: up to 62 lower-case letters, digits, dots and dashes, as in Kubernetes`,
    );
  }
}
