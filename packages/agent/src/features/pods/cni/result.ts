import { gateway, gatewayMac } from '@heddle/podnet';
import { type CniVersion, cniVersions, isAtLeast, type NetworkConfig } from './call.ts';
import { CniError } from './errors.ts';

/** A pod that ADD has connected. */
export interface AddedPod {
  readonly kind: 'veth' | 'netkit';
  /** The name of the node's end. */
  readonly name: string;
  /** The name of the pod's end. */
  readonly interfaceName: string;
  /** The link-layer address of the pod's end. */
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
  /** CNI_NETNS. */
  readonly netns: string;
}

/** Returns the result of ADD in a version of the specification. */
export function addResult(cniVersion: CniVersion, pod: AddedPod): object {
  const { kind, name, interfaceName, mac, addresses, netns } = pod;
  const isVeth = kind === 'veth';
  const mtu = isAtLeast(cniVersion, '1.1.0') ? { mtu: pod.mtu } : {};
  const isOld = !isAtLeast(cniVersion, '1.0.0');
  const families = addresses.map((address) => {
    const isV6 = address.includes(':');
    return { address, isV6, via: isV6 ? gateway.v6 : gateway.v4 };
  });
  return {
    cniVersion,
    interfaces: [
      { name, ...(isVeth ? { mac: gatewayMac } : {}), ...mtu },
      { name: interfaceName, ...(isVeth ? { mac } : {}), ...mtu, sandbox: netns },
    ],
    ips: families.map(({ address, isV6, via }) => ({
      ...(isOld ? { version: isV6 ? '6' : '4' } : {}),
      address: `${address}/${isV6 ? 128 : 32}`,
      ...(isVeth ? { gateway: via } : {}),
      interface: 1,
    })),
    routes: families.map(({ isV6, via }) => ({
      dst: isV6 ? '::/0' : '0.0.0.0/0',
      ...(isVeth ? { gw: via } : {}),
    })),
    dns: {},
  };
}

/** Returns what a failed call prints. */
export function errorResult(cniVersion: CniVersion, error: CniError): object {
  const { code, message, details } = error;
  return { cniVersion, code, msg: message, ...(details === '' ? {} : { details }) };
}

/** Returns what VERSION prints. */
export function versionResult(cniVersion: CniVersion): object {
  return { cniVersion, supportedVersions: cniVersions };
}

/** Returns the addresses of the interface in the pod, by the result of ADD that CHECK is given. Throws CniError. */
export function previousAddresses({ prevResult }: NetworkConfig): string[] {
  if (prevResult === undefined || prevResult === null) {
    throw new CniError('config', 'check pod: the configuration has no prevResult');
  }
  const { ips } = prevResult as { readonly ips?: unknown };
  const addresses = (Array.isArray(ips) ? ips : []).map((each: unknown) => {
    const { address } = (each ?? {}) as { readonly address?: unknown };
    return typeof address === 'string' ? address.replace(/\/.*/, '') : '';
  });
  if (addresses.includes('')) {
    throw new CniError('config', 'check pod: prevResult has an address that cannot be read');
  }
  return addresses;
}
