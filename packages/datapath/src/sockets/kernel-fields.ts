import { type Bpf, features, kernelBtf } from '@heddle/ebpf';
import { memberOffset } from '@heddle/ebpf/internal';
import type { Platform } from '@heddle/sys';
import type { KernelFields } from '../generated/abi.ts';

/** The kernel's struct and member of each offset in `struct kernel_fields`; see bpf/abi/socket.h. */
const members: Readonly<Record<Exclude<keyof KernelFields, 'known'>, readonly [string, string]>> = {
  contextSocket: ['bpf_sock_addr_kern', 'sk'],
  socketNet: ['sock_common', 'skc_net'],
  netDevices: ['net', 'dev_base_head'],
  deviceList: ['net_device', 'dev_list'],
  deviceFlags: ['net_device', 'flags'],
  deviceIpv4: ['net_device', 'ip_ptr'],
  deviceIpv6: ['net_device', 'ip6_ptr'],
  ipv4Addresses: ['in_device', 'ifa_list'],
  ipv4Next: ['in_ifaddr', 'ifa_next'],
  ipv4Address: ['in_ifaddr', 'ifa_local'],
  ipv4Scope: ['in_ifaddr', 'ifa_scope'],
  ipv6Addresses: ['inet6_dev', 'addr_list'],
  ipv6List: ['inet6_ifaddr', 'if_list'],
  ipv6Address: ['inet6_ifaddr', 'addr'],
  ipv6Scope: ['inet6_ifaddr', 'scope'],
};

const unknown = Object.fromEntries(
  ['known', ...Object.keys(members)].map((name) => [name, 0]),
) as unknown as KernelFields;

/** The helper with which programs of sockets read the kernel's memory. */
export const readsKernel = 'helper/cgroup_sock_addr/probe_read_kernel';

/**
 * Returns the offsets of the kernel's fields that socket programs read. All are zero where programs may not read kernel
 * memory (the kernel is locked down for confidentiality) or where a member has another name. Throws NotSupported,
 * BtfError.
 */
export function kernelFields(platform: Platform, bpf: Bpf): KernelFields {
  if (!features(bpf).has(readsKernel)) return unknown;
  const btf = kernelBtf(platform);
  // struct sock begins with struct sock_common.
  const start = memberOffset(btf, 'sock', '__sk_common');
  const fields: Record<string, number> = { known: 1 };
  for (const [name, [struct, member]] of Object.entries(members)) {
    const offset = memberOffset(btf, struct, member);
    if (offset === undefined || start === undefined) return unknown;
    fields[name] = name === 'socketNet' ? start + offset : offset;
  }
  return fields as unknown as KernelFields;
}
