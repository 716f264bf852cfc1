import { checked, closeFd, encodeCString, type Platform, syscallNumbers } from '@heddle/sys';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '@heddle/sys/net';
import type { LabHost } from './lab-host.ts';

// linux/sockios.h, linux/ethtool.h
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;
const ETHTOOL_STSO = 0x1f;
const ETHTOOL_SGSO = 0x24;
const ETHTOOL_SGRO = 0x2c;

/** Offloads of a network interface; an absent one stays unchanged. */
export interface Offloads {
  /** Checksums of sent packets. When it is off, the stack computes them, and `tso` is off as well. */
  readonly checksum?: boolean;
  /** Segmentation of large TCP segments. */
  readonly tso?: boolean;
  /** Late segmentation of large packets by the stack. */
  readonly gso?: boolean;
  /** Aggregation of received packets; on a veth it also makes XDP redirection to it possible. */
  readonly gro?: boolean;
}

const commands = {
  checksum: ETHTOOL_STXCSUM,
  tso: ETHTOOL_STSO,
  gso: ETHTOOL_SGSO,
  gro: ETHTOOL_SGRO,
} as const;

/** Changes offloads of a network interface. Throws SysError (ENODEV without the interface). */
export function setOffloads(host: LabHost, device: string, offloads: Offloads): void {
  const { platform } = host;
  const nr = syscallNumbers(platform);
  const socket = checked(
    'socket',
    host.enter(() => platform.syscall(nr.socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
    `open socket in ${host.name}`,
  );
  try {
    for (const [name, command] of Object.entries(commands)) {
      const on = offloads[name as keyof Offloads];
      if (on === undefined) continue;
      const what = `turn ${name} of ${device} in ${host.name} ${on ? 'on' : 'off'}`;
      checked('ioctl', request(platform, socket, device, command, on), what);
    }
  } finally {
    closeFd(platform, socket);
  }
}

function request(
  platform: Platform,
  socket: number,
  device: string,
  command: number,
  on: boolean,
): number {
  // struct ethtool_value: command u32, data u32.
  const value = new Uint8Array(8);
  const values = new DataView(value.buffer);
  values.setUint32(0, command, true);
  values.setUint32(4, on ? 1 : 0, true);
  // struct ifreq: name of 16 bytes, then a pointer; 40 bytes in all.
  const ifreq = new Uint8Array(40);
  ifreq.set(encodeCString(device).subarray(0, 15));
  new DataView(ifreq.buffer).setBigUint64(16, platform.addressOf(value), true);
  return platform.syscall(syscallNumbers(platform).ioctl, socket, SIOCETHTOOL, ifreq);
}
