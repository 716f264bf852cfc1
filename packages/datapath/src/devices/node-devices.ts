import { attachTcx, type Bpf, features } from '@heddle/ebpf';
import { attachFilter, findLink, hasFilter, NetlinkSocket, removeFilter } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import { type KeyedMap, wordBytes, wordOf } from '../core/keyed-map.ts';
import type { PinnedLinks } from '../core/pinned-links.ts';
import type { Programs } from '../core/programs.ts';
import { interfaceRole } from '../generated/abi.ts';

/** A network interface of the node, in the network namespace that the agent is in. */
export interface NodeDevice {
  readonly name: string;
  readonly index: number;
  /** The link-layer address, e.g. `02:00:00:00:00:01`. */
  readonly address: string;
  /** True if it leads to pods of the node; else it is an external one. */
  readonly pods?: boolean;
}

/**
 * Identifies Heddle's filters at a link, before Linux 6.6. The priority comes before those that tc
 * chooses; the handle is `he` in ASCII.
 */
export const filterPlace = { priority: 1, handle: 0x6865 } as const;

/** The parts of a datapath that programs at network interfaces need. */
export interface DeviceParts {
  readonly bpf: Bpf;
  readonly platform: Platform;
  readonly programs: Programs;
  readonly links: PinnedLinks;
}

const directions = ['ingress', 'egress'] as const;
type Direction = (typeof directions)[number];

/** Returns the name of an interface's link below the folder of links. */
const pinName = (device: string, direction: Direction) => `node_${direction}@${device}`;
const pinPattern = /^node_(ingress|egress)@(.+)$/;

/**
 * The programs of node.bpf.c at the node's network interfaces. They stay when the agent ends; the next agent
 * replaces them without a gap. Before Linux 6.6 (tcx) they are filters of a clsact qdisc, which stay by themselves.
 */
export class NodeDevices {
  readonly #parts: DeviceParts;
  readonly #roles: KeyedMap;
  #wanted: readonly NodeDevice[] = [];

  /** `roles` is the map `node_devices`. */
  constructor(parts: DeviceParts, roles: KeyedMap) {
    this.#parts = parts;
    this.#roles = roles;
  }

  /** Attaches the programs to exactly these interfaces. Throws SysError, NetlinkError. */
  set(devices: readonly NodeDevice[]): void {
    this.#wanted = devices;
    for (const device of devices) {
      // The role comes first: without one the programs would take a packet for internal traffic.
      this.#roles.update(
        wordBytes(device.index),
        wordBytes(device.pods ? interfaceRole.pod : interfaceRole.external),
      );
      for (const direction of directions) this.#attach(device, direction);
    }
    const kept = new Set(devices.map(({ index }) => index));
    for (const [key] of this.#roles.entries()) {
      const link = wordOf(key);
      if (kept.has(link)) continue;
      if (!this.#usesLinks) {
        using socket = new NetlinkSocket(this.#parts.platform);
        for (const direction of directions)
          removeFilter(socket, { link, direction, ...filterPlace });
      }
      this.#roles.delete(key);
    }
    const names = new Set(devices.map(({ name }) => name));
    this.#parts.links.detach((pin) => {
      const device = pinPattern.exec(pin)?.[2];
      return device !== undefined && !names.has(device);
    });
  }

  /**
   * Returns the hooks of existing interfaces that lack their programs, given the links that are detached. To be
   * called in the network namespace of the interfaces. Throws SysError, NetlinkError.
   */
  detached(links: readonly Damage[]): Damage[] {
    if (this.#wanted.length === 0) return [];
    const problem = 'is not attached';
    const lost = this.#usesLinks
      ? links.filter(({ name }) => pinPattern.test(name))
      : this.states()
          .filter(({ attached }) => !attached)
          .map(({ hook: name }): Damage => ({ kind: 'hook', name, problem }));
    const wanted = new Map(this.#wanted.map((device) => [device.name, device]));
    // The kernel removes programs with their interface.
    return lost.filter(({ name }) => {
      const device = wanted.get(pinPattern.exec(name)![2]!);
      return device !== undefined && isThere(this.#parts.platform, device);
    });
  }

  /**
   * Returns the hooks by name, and whether each is attached to an existing interface. To be called in the network
   * namespace of the interfaces. Throws SysError, NetlinkError.
   */
  states(): { hook: string; attached: boolean }[] {
    return this.#wanted.flatMap(({ name, index }) =>
      directions.map((direction) => {
        const hook = pinName(name, direction);
        if (!this.#usesLinks) {
          using socket = new NetlinkSocket(this.#parts.platform);
          return { hook, attached: hasFilter(socket, { link: index, direction, ...filterPlace }) };
        }
        return { hook, attached: this.#parts.links.isAttached(hook) };
      }),
    );
  }

  get #usesLinks(): boolean {
    return features(this.#parts.bpf).has('link/tcx');
  }

  #attach({ name, index }: NodeDevice, direction: Direction): void {
    const program = this.#parts.programs.node.program(`node_${direction}`);
    if (!this.#usesLinks) {
      using socket = new NetlinkSocket(this.#parts.platform);
      attachFilter(socket, {
        link: index,
        direction,
        ...filterPlace,
        program: program.fd,
        name: program.name,
      });
      return;
    }
    this.#parts.links.attach({
      name: pinName(name, direction),
      program,
      isInPlace: (info) => info.kind === 'tcx' && info.ifindex === index,
      attach: () => attachTcx(this.#parts.bpf, program, index, direction, 'first'),
    });
  }
}

/** Returns true when an interface exists with the index that it had. Throws SysError, NetlinkError. */
export function isThere(platform: Platform, { name, index }: NodeDevice): boolean {
  using socket = new NetlinkSocket(platform);
  return findLink(socket, name)?.index === index;
}
