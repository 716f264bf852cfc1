import { Sysctls } from '@heddle/netlink';
import { isMissing, type Platform, readDirectory } from '@heddle/sys';

const ipv4 = 'ipv4/ip_forward';
const ipv6 = 'ipv6/conf/all/forwarding';

/**
 * Makes the node forward packets of these families, which its stack does between pods and other hosts. Interfaces that
 * take their IPv6 routes from router advertisements go on doing so: the kernel would ignore these once it forwards.
 * `directory` is that of the network settings. Returns sentences about what was changed. Throws SysError.
 */
export function enableForwarding(
  platform: Platform,
  directory: string,
  families: { readonly v4: boolean; readonly v6: boolean },
): string[] {
  const sysctls = new Sysctls(platform, directory);
  const changes: string[] = [];
  if (families.v4 && sysctls.read(ipv4) !== '1') {
    sysctls.write(ipv4, 1);
    changes.push('net.ipv4.ip_forward is now 1, because pods need it');
  }
  if (!families.v6 || sysctls.read(ipv6) === '1') return changes;
  for (const { name } of readDirectory(platform, `${directory}/ipv6/conf`)) {
    if (name !== 'all') keepAdvertisements(sysctls, `ipv6/conf/${name}/accept_ra`);
  }
  sysctls.write(ipv6, 1);
  changes.push('net.ipv6.conf.all.forwarding is now 1, because pods need it');
  return changes;
}

function keepAdvertisements(sysctls: Sysctls, setting: string): void {
  try {
    if (sysctls.read(setting) === '1') sysctls.write(setting, 2);
  } catch (error) {
    // The interface may be gone since the folder was read.
    if (!isMissing(error)) throw error;
  }
}
