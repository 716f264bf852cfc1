import { attachFilter, findLink, hasFilter, NetlinkSocket } from '@heddle/netlink';
import { familyOf } from '@heddle/objects';
import type { RemoteNode } from '@heddle/routes';
import { type Platform, parseIp } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import { type KeyedMap, keyText, wordBytes } from '../core/keyed-map.ts';
import type { Programs } from '../core/programs.ts';
import { filterPlace } from '../devices/node-devices.ts';
import { encodeTunnelEnd, masquerade, tunnelEndSize } from '../generated/abi.ts';
import type { AddressRoles, AddressUse } from '../services/address-roles.ts';
import { addressFields, NodeRanges } from './node-ranges.ts';
import { RangeEntries } from './range-map.ts';

/** This node's end of all tunnels. */
export interface TunnelEnd {
  /** The name and ifindex of the tunnel device. */
  readonly device: { readonly name: string; readonly index: number };
  /** The outer source addresses, at most one of each family; the kernel chooses one that is missing. */
  readonly addresses: readonly string[];
  /**
   * The node's addresses in tunnels, at most one of each family: what it sends to pods of other nodes has one of them
   * where the sender is no pod.
   */
  readonly sources: readonly string[];
  /** The number of the virtual network. */
  readonly id: number;
  /** The largest packet in a tunnel, by the family of the outer addresses, in bytes. */
  readonly mtu: { readonly ipv4: number; readonly ipv6: number };
}

/** The choice which destinations outside see an address of the node instead of the pod's. */
export interface MasqueradeChoice {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** The ranges of destinations that see the addresses of pods. */
  readonly exclusions: readonly string[];
  /** The ranges that see the node's address, whatever their family has. An exclusion of the same range prevails. */
  readonly always?: readonly string[];
}

export interface NodeRoutesParts {
  readonly platform: Platform;
  readonly programs: Programs;
  /** The map `node_ranges`. */
  readonly ranges: KeyedMap;
  /** The map `tunnel`. */
  readonly tunnel: KeyedMap;
  /** The map `no_masquerade`. */
  readonly noMasquerade: KeyedMap;
  /** Has SNAT use the node's addresses in tunnels. Returns their numbers; 0: there is none of the family. */
  readonly useSources: (addresses: readonly string[]) => { ipv4: number; ipv6: number };
  /** The map `addresses`. */
  readonly roles: Pick<AddressRoles, 'add' | 'drop'>;
}

const hook = 'from_tunnel';

/**
 * The paths to the pods of other nodes: entries of maps, and the program at the tunnel device. What is programmed
 * stays when the agent ends. Methods are called in the network namespace of the tunnel device.
 */
export class NodeRoutes {
  readonly #platform: Platform;
  readonly #programs: Programs;
  readonly #ranges: NodeRanges;
  readonly #tunnel: KeyedMap;
  readonly #useSources: NodeRoutesParts['useSources'];
  readonly #noMasquerade: RangeEntries;
  readonly #roles: NodeRoutesParts['roles'];
  /** The addresses of each node, by its key. */
  readonly #nodes = new Map<string, readonly AddressUse[]>();
  #device: TunnelEnd['device'] | undefined;
  #attaches = false;

  constructor(parts: NodeRoutesParts) {
    this.#platform = parts.platform;
    this.#programs = parts.programs;
    this.#ranges = new NodeRanges(parts.ranges);
    this.#tunnel = parts.tunnel;
    this.#useSources = parts.useSources;
    this.#noMasquerade = new RangeEntries(parts.noMasquerade);
    this.#roles = parts.roles;
  }

  /** The number of entries in each map. */
  get sizes(): Readonly<Record<'node_ranges' | 'no_masquerade', number>> {
    return { node_ranges: this.#ranges.size, no_masquerade: this.#noMasquerade.size };
  }

  /**
   * Programs the addresses of a node and the ranges of its pods, and removes those that it no longer has. The
   * addresses are first: before a tunnel leads there, pods must not send forged ones. Throws NoRoom, SysError.
   */
  set(node: RemoteNode): void {
    this.#setAddresses(node.key, [...node.addresses, ...(node.further ?? [])]);
    this.#ranges.set(node);
  }

  /** Removes a node, by its key; a missing one is fine. Throws SysError. */
  remove(key: string): void {
    this.#ranges.remove(key);
    this.#setAddresses(key, []);
    this.#nodes.delete(key);
  }

  /** Removes the ranges that an earlier agent has left and no node has. Throws SysError. */
  prune(): void {
    this.#ranges.prune();
  }

  /**
   * Sets this node's end of tunnels, and attaches the program to the tunnel device. Without an argument there are no tunnels.
   * Throws SysError, NoRoom, NetlinkError.
   */
  setTunnel(end: TunnelEnd | undefined): void {
    this.#device = end?.device;
    if (this.#attaches) this.#attach();
    const value = new Uint8Array(tunnelEndSize);
    const snat = this.#useSources(end?.sources ?? []);
    if (end) {
      encodeTunnelEnd(
        {
          ...addressFields(end.addresses),
          ifindex: end.device.index,
          id: end.id,
          mtuIpv4: end.mtu.ipv4,
          mtuIpv6: end.mtu.ipv6,
          ...{ snatIpv4: snat.ipv4, snatIpv6: snat.ipv6, reserved: 0 },
        },
        value,
      );
    }
    this.#tunnel.update(wordBytes(0), value);
  }

  /**
   * Sets which destinations see the addresses of pods. Unless the choice is complete, ranges that it does not name keep
   * what an earlier agent has chosen. Throws NoRoom, SysError.
   */
  setMasquerade(
    { ipv4, ipv6, exclusions, always = [] }: MasqueradeChoice,
    isComplete = true,
  ): void {
    const choices = new Map<string, number>([
      ['0.0.0.0/0', ipv4 ? masquerade.always : masquerade.never],
      ['::/0', ipv6 ? masquerade.always : masquerade.never],
      ...always.map((range) => [range, masquerade.always] as const),
      ...exclusions.map((range) => [range, masquerade.never] as const),
    ]);
    for (const [range, choice] of choices) this.#noMasquerade.set(range, wordBytes(choice));
    if (isComplete) this.#noMasquerade.keep(choices.keys());
  }

  #setAddresses(key: string, addresses: readonly string[]): void {
    const before = this.#nodes.get(key) ?? [];
    const uses = addresses.map((address) => ({
      address: keyText(parseIp(address)!),
      role: 'otherNode' as const,
    }));
    this.#roles.add(uses);
    this.#nodes.set(key, uses);
    this.#roles.drop(before);
  }

  /** Attaches the program where it is missing, and from now on in `setTunnel`. Throws NetlinkError. */
  attach(): void {
    this.#attaches = true;
    this.#attach();
  }

  /** From now on nothing is attached. */
  release(): void {
    this.#attaches = false;
  }

  /** Returns the hook if it lacks the program although its device exists. Throws SysError, NetlinkError. */
  detached(): Damage[] {
    return this.states()
      .filter(({ attached }) => !attached)
      .map(({ hook: name }) => ({ kind: 'hook', name, problem: 'is not attached' }));
  }

  /** Returns the hook of an existing tunnel device. Throws SysError, NetlinkError. */
  states(): { hook: string; attached: boolean }[] {
    const device = this.#device;
    if (!device) return [];
    using socket = new NetlinkSocket(this.#platform);
    if (findLink(socket, device.name)?.index !== device.index) return [];
    const place = { link: device.index, direction: 'ingress', ...filterPlace } as const;
    return [{ hook: `${hook}@${device.name}`, attached: hasFilter(socket, place) }];
  }

  #attach(): void {
    if (!this.#device) return;
    const program = this.#programs.node.program(hook);
    using socket = new NetlinkSocket(this.#platform);
    const place = { link: this.#device.index, direction: 'ingress', ...filterPlace } as const;
    attachFilter(socket, { ...place, program: program.fd, name: program.name });
  }
}

/** Returns the range of one address. */
export function rangeOfAddress(address: string): string {
  return `${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`;
}
