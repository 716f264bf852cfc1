import { compactList, isLoopback, isUnspecified } from '@heddle/objects';
import type { Frontend, ServiceRow } from '@heddle/services';
import { parseIp } from '@heddle/sys';
import { keyText } from '../core/keyed-map.ts';
import { protocolNumbers } from '../core/protocols.ts';
import {
  addressKeySize,
  encodeServiceKey,
  type ServiceScope,
  serviceKeySize,
  serviceScope,
} from '../generated/abi.ts';
import type { AddressUse } from './address-roles.ts';

const keyBuffer = new Uint8Array(serviceKeySize);

/** Returns the keys of a row's frontends in the map `services`, as `keyText` has them. */
export function frontendKeys({ frontends, scope }: ServiceRow): string[] {
  return frontends.map((frontend) =>
    frontendKey(frontend, scope === 'outside' ? serviceScope.external : serviceScope.internal),
  );
}

/** Returns the key of one frontend. Throws Error when its address is none. */
export function frontendKey({ address, port, protocol }: Frontend, scope: ServiceScope): string {
  const ip = parseIp(address);
  if (!ip) throw new Error(`read frontend address ${address}: not an IP address`);
  encodeServiceKey({ address: ip, port, protocol: protocolNumbers[protocol], scope }, keyBuffer, 0);
  return keyText(keyBuffer);
}

/** The role in the map `addresses` that a frontend's address has, for packets and sockets to any of its ports. */
const frontendRoles = {
  ClusterIP: 'service',
  NodePort: 'node',
  LoadBalancer: 'external',
  ExternalIP: 'external',
  HostPort: 'node',
} as const;

/** Returns the uses of addresses that a row needs; `keys` are those of its frontends. */
export function addressesOf(row: ServiceRow, keys: readonly string[]): readonly AddressUse[] {
  const uses: AddressUse[] = [];
  row.frontends.forEach(({ kind, address }, i) => {
    // No packet from another host may have these, so the programs at network interfaces do not look them up.
    if (isUnspecified(address) || isLoopback(address)) return;
    // A service key begins with its address.
    uses.push({ address: keys[i]!.slice(0, addressKeySize), role: frontendRoles[kind] });
  });
  if (row.protocol === 'UDP') {
    for (const { address } of row.backends) {
      uses.push({ address: keyText(parseIp(address)!), role: 'udpBackend' });
    }
  }
  return compactList(uses);
}
