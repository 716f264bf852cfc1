import { isMissing, type Platform, readDirectory } from '@heddle/sys';
import type { Known } from '../facts.ts';
import { known, readText } from './files.ts';

const always = [
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
  'net/ipv4/ip_local_port_range',
  'net/ipv4/ip_local_reserved_ports',
  'net/ipv4/tcp_tw_reuse',
];

/**
 * Returns the values below /proc/sys that the checks look at, in the network namespace of the thread.
 * Those that the kernel does not have are absent.
 */
export function readSysctls(
  platform: Platform,
  devices: readonly string[],
): Map<string, Known<string>> {
  const values = new Map<string, Known<string>>();
  const read = (name: string) => {
    const fact = known(() => {
      try {
        return readText(platform, `/proc/sys/${name}`).replace(/\s+/g, ' ');
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
    if ('unknown' in fact) values.set(name, fact);
    else if (fact.value !== undefined) values.set(name, { value: fact.value });
    return 'value' in fact ? fact.value : undefined;
  };
  for (const name of always) read(name);
  for (const name of ['all', ...devices]) read(`net/ipv4/conf/${name}/rp_filter`);
  // Turning forwarding on changes these, so they are read where it is off.
  if (read('net/ipv4/ip_forward') === '0') {
    for (const name of interfaces(platform, 'net/ipv4/conf')) read(`${name}/forwarding`);
    read('net/ipv4/conf/all/accept_redirects');
  }
  if (read('net/ipv6/conf/all/forwarding') === '0') {
    for (const name of interfaces(platform, 'net/ipv6/conf')) {
      read(`${name}/forwarding`);
      read(`${name}/accept_ra`);
    }
  }
  return values;
}

/** Returns the folders of interfaces, and `all` and `default`, below /proc/sys. */
function interfaces(platform: Platform, folder: string): string[] {
  return readDirectory(platform, `/proc/sys/${folder}`).map(({ name }) => `${folder}/${name}`);
}
