import { formatIp, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { parseListenAddress } from '@heddle/sys/net';
import { parsePortRange } from '../snat-ports.ts';
import type { Check } from './schema.ts';

export const listenRemedy =
  'write an IP address and a port (127.0.0.1:10249, [::1]:10249), :PORT for all addresses, or off';

/** An address to listen on, or `off`. */
export const checkListenAddress: Check = (text) =>
  text === 'off' || parseListenAddress(text) !== undefined ? undefined : listenRemedy;

export const portRangeRemedy =
  'write the first and the last port, e.g. 1024-29999, of 1024 to 65535';

/** A range of SNAT ports. */
export const checkPortRange: Check = (text) =>
  parsePortRange(text) === undefined ? portRangeRemedy : undefined;

/** An entry of `nodePortAddresses`: a range of addresses, or the name of a network interface. */
export const checkNodePortEntry: Check = (entry) => {
  if (entry.includes('/')) {
    if (parseCidr(entry) !== undefined) return undefined;
    return 'write a range of addresses such as 192.0.2.0/24 or fd00:1::/64';
  }
  const address = parseIp(entry);
  if (address) {
    const range = `${formatIp(address)}/${isIpv4(address) ? 32 : 128}`;
    return `write a range of addresses, for just this one ${range}`;
  }
  // kube-proxy's word for what is the default here.
  if (entry === 'primary') return 'leave it out: the InternalIP and ExternalIP are the default';
  if (/^[^\s,/]{1,15}$/.test(entry)) return undefined;
  return 'write a range of addresses such as 192.0.2.0/24, or the name of a network interface';
};

export const rangeRemedy = 'write a list of ranges such as [10.0.0.0/8, fd00:1::/64]';

/** A range of addresses. */
export const checkRange: Check = (text) => (parseCidr(text) ? undefined : rangeRemedy);

export const nameServerRemedy =
  'write a list of addresses and services such as [192.0.2.53, kube-system/kube-dns]';

/** The address of a name server, or its service. */
export const checkNameServer: Check = (text) =>
  parseIp(text) || /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\/[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text)
    ? undefined
    : nameServerRemedy;
