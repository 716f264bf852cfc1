import type { Memory } from '../memory.ts';
import { type Address, isMapped, toBytes } from './address.ts';
import { offsetOf, sizeOf } from './kernel-btf.ts';

// IFF_UP, IFF_LOOPBACK (linux/if.h)
const UP = 1;
const LOOPBACK = 8;
/** RT_SCOPE_HOST of loopback addresses. Global is 0 in both families. */
const HOST_SCOPE = 254;

/**
 * Writes the structs of a network namespace that programs read: loopback, and an interface with these
 * addresses. Returns the region that begins with struct net.
 */
export function addNetwork(memory: Memory, inode: bigint, addresses: readonly Address[]): number {
  const parts = new Map<string, number>();
  let size = 0;
  const place = (name: string, struct: string) => {
    parts.set(name, size);
    size += sizeOf(struct);
  };
  place('net', 'net');
  const devices = ['lo', 'eth0'];
  const addressesOf = (device: string) => (device === 'lo' ? [] : addresses);
  for (const device of devices) {
    place(device, 'net_device');
    place(`${device} IPv4`, 'in_device');
    place(`${device} IPv6`, 'inet6_dev');
  }
  for (const address of addresses) place(address, isMapped(address) ? 'in_ifaddr' : 'inet6_ifaddr');
  place('loopback', 'in_ifaddr');

  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const region = memory.add({ kind: 'kernel', what: 'struct net', object: {} }, bytes, false);
  const at = (part: string, struct: string, member: string) =>
    parts.get(part)! + offsetOf(struct, member);
  const point = (from: number, to: number) => {
    view.setUint32(from, to, true);
    view.setInt32(from + 4, region, true);
  };
  /** A list as in linux/list.h: from the head through all nodes and back to it. */
  const chain = (head: number, nodes: readonly number[]) => {
    const all = [head, ...nodes];
    all.forEach((node, i) => {
      const next = all[(i + 1) % all.length]!;
      point(node, next);
      point(next + 8, node);
    });
  };
  view.setUint32(at('net', 'net', 'ns'), Number(inode & 0xffffffffn), true);
  chain(
    at('net', 'net', 'dev_base_head'),
    devices.map((device) => at(device, 'net_device', 'dev_list')),
  );
  for (const device of devices) {
    view.setUint32(at(device, 'net_device', 'flags'), device === 'lo' ? UP | LOOPBACK : UP, true);
    point(at(device, 'net_device', 'ip_ptr'), parts.get(`${device} IPv4`)!);
    point(at(device, 'net_device', 'ip6_ptr'), parts.get(`${device} IPv6`)!);
    let link = at(`${device} IPv4`, 'in_device', 'ifa_list');
    for (const address of addressesOf(device).filter(isMapped)) {
      point(link, parts.get(address)!);
      bytes.set(toBytes(address).subarray(12), at(address, 'in_ifaddr', 'ifa_local'));
      link = at(address, 'in_ifaddr', 'ifa_next');
    }
    const ipv6 = addressesOf(device).filter((address) => !isMapped(address));
    chain(
      at(`${device} IPv6`, 'inet6_dev', 'addr_list'),
      ipv6.map((address) => at(address, 'inet6_ifaddr', 'if_list')),
    );
    for (const address of ipv6) {
      bytes.set(toBytes(address), at(address, 'inet6_ifaddr', 'addr'));
    }
  }
  point(at('lo IPv4', 'in_device', 'ifa_list'), parts.get('loopback')!);
  bytes.set([127, 0, 0, 1], at('loopback', 'in_ifaddr', 'ifa_local'));
  bytes[at('loopback', 'in_ifaddr', 'ifa_scope')] = HOST_SCOPE;
  return region;
}
