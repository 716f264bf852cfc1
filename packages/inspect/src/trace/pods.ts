import {
  decodePod,
  decodePodDevice,
  decodeRangeKey,
  decodeRemoteNode,
  decodeTunnelEnd,
  nodePath,
  podKind,
} from '@heddle/datapath/abi';
import { formatIp, parseIp } from '@heddle/sys';
import { type Dump, elementsOf, listOf, mapNamed } from '../dump/dump.ts';

/** A pod of the dumped node, as the programs know it. */
export interface TracedPod {
  readonly ifindex: number;
  /** The link-layer address of the pod's end. */
  readonly mac: string;
  readonly kind: 'veth' | 'netkit';
  /** At most one of each family. */
  readonly addresses: readonly string[];
  /** NAMESPACE/NAME; absent if no agent knows it. */
  readonly name?: string;
}

/** Another node, as the programs know it. */
export interface RemotePath {
  /** The other end of the tunnel; absent if routes lead there directly. */
  readonly tunnel?: { readonly to: string };
}

/** This node's end of tunnels. */
export interface TunnelDevice {
  readonly ifindex: number;
  /** The number of the virtual network. */
  readonly id: number;
}

/** The pods of the dumped node and the paths to those of other nodes. Without a pod network there are none. */
export class PodNetwork {
  readonly #dump: Dump;

  constructor(dump: Dump) {
    this.#dump = dump;
  }

  /** True if Heddle is the network of the node's pods. */
  get exists(): boolean {
    return (mapNamed(this.#dump, 'pods')?.info.maxEntries ?? 0) > 1;
  }

  /** Returns the pod at an interface. */
  at(ifindex: number): TracedPod | undefined {
    if (!this.exists || ifindex === 0) return undefined;
    for (const [, value] of elementsOf(this.#dump, 'pod_devices')) {
      const device = decodePodDevice(value);
      if (device.ifindex !== ifindex) continue;
      const addresses = [device.ipv4, device.ipv6]
        .filter((each) => each.some((byte) => byte !== 0))
        .map(formatIp);
      const name = this.#names().find(([, all]) => all.some((each) => addresses.includes(each)));
      return {
        ...{
          ifindex,
          mac: Array.from(device.mac, (byte) => byte.toString(16).padStart(2, '0')).join(':'),
          addresses,
        },
        kind: device.kind === podKind.netkit ? 'netkit' : 'veth',
        ...(name ? { name: name[0] } : {}),
      };
    }
    return undefined;
  }

  /** Returns the pod with an address. */
  withAddress(address: string): TracedPod | undefined {
    if (!this.exists) return undefined;
    for (const [, value] of elementsOf(this.#dump, 'pods')) {
      const pod = decodePod(value);
      if (pod.ifindex !== 0 && formatIp(pod.address) === address) return this.at(pod.ifindex);
    }
    return undefined;
  }

  /** Returns the pod with a name, NAMESPACE/NAME or NAME. */
  named(which: string): TracedPod | undefined {
    const found = this.#names().find(
      ([name]) => name === which || name.slice(name.indexOf('/') + 1) === which,
    );
    return found?.[1].map((address) => this.withAddress(address)).find((each) => each);
  }

  /** Returns the path to the node whose pods have an address. */
  remote(address: string): RemotePath | undefined {
    const bytes = parseIp(address);
    if (!bytes || !this.exists) return undefined;
    const found = elementsOf(this.#dump, 'node_ranges')
      .map(([key, value]) => ({ key: decodeRangeKey(key), node: decodeRemoteNode(value) }))
      .filter(({ key }) => hasPrefix(bytes, key.address, key.prefixLength))
      .sort((a, b) => b.key.prefixLength - a.key.prefixLength)[0]?.node;
    if (!found) return undefined;
    const ipv4 = [24, 16, 8, 0].map((shift) => (found.ipv4 >>> shift) & 0xff).join('.');
    const isIpv6 = found.path === nodePath.tunnelIpv6;
    const to = isIpv6 || found.ipv4 === 0 ? formatIp(found.ipv6) : ipv4;
    return found.path === nodePath.direct ? {} : { tunnel: { to } };
  }

  /** Returns the name of the other node with an address, or undefined if no agent knows it. */
  nodeName(address: string): string | undefined {
    const { answers } = this.#dump;
    if ('missing' in answers) return undefined;
    return listOf(answers, 'node.list').find(({ addresses }) => addresses.includes(address))?.name;
  }

  /** This node's end of tunnels, if there are any. */
  get tunnel(): TunnelDevice | undefined {
    if (!this.exists) return undefined;
    const [end] = elementsOf(this.#dump, 'tunnel').map(([, value]) => decodeTunnelEnd(value));
    return end && end.ifindex !== 0 ? { ifindex: end.ifindex, id: end.id } : undefined;
  }

  #names(): (readonly [name: string, addresses: readonly string[]])[] {
    const { answers } = this.#dump;
    if ('missing' in answers) return [];
    return [...listOf(answers, 'attachment.list'), ...listOf(answers, 'pod.list')]
      .filter(({ name }) => name !== '')
      .map(({ namespace, name, addresses }) => [`${namespace}/${name}`, addresses] as const);
  }
}

function hasPrefix(address: Uint8Array, prefix: Uint8Array, length: number): boolean {
  for (let bit = 0; bit < length; bit += 8) {
    const mask = length - bit >= 8 ? 0xff : (0xff00 >> (length - bit)) & 0xff;
    if (((address[bit / 8]! ^ prefix[bit / 8]!) & mask) !== 0) return false;
  }
  return true;
}
