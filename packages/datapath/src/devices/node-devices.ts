import { attachTcx, type Bpf, features, type LoadedObject } from '@heddle/ebpf';
import { attachFilter, findLink, hasFilter, NetlinkSocket, removeFilter } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import type { PinnedLinks } from '../core/pinned-links.ts';
import type { KeyedMap } from '../core/store.ts';
import { interfaceRole } from '../generated/abi.ts';

/** A network device of the node, in the network namespace that the agent is in. */
export interface NodeDevice {
  readonly name: string;
  readonly index: number;
  /** Of the link, e.g. `02:00:00:00:00:01`. */
  readonly address: string;
  /** Leads to pods of the node, not out of it. */
  readonly pods?: boolean;
}

/**
 * Identifies Heddle's filters at a link, before Linux 6.6. The priority comes before those that tc
 * chooses; the handle is `he` in ASCII.
 */
export const filterPlace = { priority: 1, handle: 0x6865 } as const;

const directions = ['ingress', 'egress'] as const;
type Direction = (typeof directions)[number];

/** Name of a device's link below the folder of links. */
const pinName = (device: string, direction: Direction) => `node_${direction}@${device}`;
const pinPattern = /^node_(ingress|egress)@(.+)$/;

/**
 * The programs of node.bpf.c on the node's devices. A device's programs stay when the agent ends;
 * the next one puts its own in their place without a gap. Before Linux 6.6 (tcx) they are filters of
 * a clsact qdisc, which stay by themselves.
 */
export class NodeDevices {
  private readonly bpf: Bpf;
  private readonly platform: Platform;
  private loaded: LoadedObject;
  private readonly links: PinnedLinks;
  private readonly roles: KeyedMap;
  private wanted: readonly NodeDevice[] = [];

  constructor(
    bpf: Bpf,
    platform: Platform,
    loaded: LoadedObject,
    links: PinnedLinks,
    roles: KeyedMap,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.loaded = loaded;
    this.links = links;
    this.roles = roles;
  }

  /** Attaches other programs from the next `set` on. */
  use(loaded: LoadedObject): void {
    this.loaded = loaded;
  }

  /** Attaches to exactly these devices. Throws SysError, NetlinkError. */
  set(devices: readonly NodeDevice[]): void {
    this.wanted = devices;
    for (const device of devices) {
      // The role first: without one a packet would be taken for one from inside.
      this.roles.update(
        word(device.index),
        word(device.pods ? interfaceRole.pod : interfaceRole.external),
      );
      for (const direction of directions) this.attach(device, direction);
    }
    const kept = new Set(devices.map(({ index }) => index));
    for (const [key] of this.roles.entries()) {
      const link = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
      if (kept.has(link)) continue;
      if (!this.usesLinks) {
        using socket = new NetlinkSocket(this.platform);
        for (const direction of directions)
          removeFilter(socket, { link, direction, ...filterPlace });
      }
      this.roles.delete(key);
    }
    const names = new Set(devices.map(({ name }) => name));
    this.links.detach((pin) => {
      const device = pinPattern.exec(pin)?.[2];
      return device !== undefined && !names.has(device);
    });
  }

  /** Hooks of devices that are there and have lost their programs, given the links that are detached; called as `set`. */
  detached(links: readonly Damage[]): Damage[] {
    if (this.wanted.length === 0) return [];
    const problem = 'is not attached';
    const lost = this.usesLinks
      ? links.filter(({ name }) => pinPattern.test(name))
      : this.states()
          .filter(({ attached }) => !attached)
          .map(({ hook: name }): Damage => ({ kind: 'hook', name, problem }));
    const wanted = new Map(this.wanted.map((device) => [device.name, device]));
    // The programs of a device that is gone went with it.
    return lost.filter(({ name }) => {
      const device = wanted.get(pinPattern.exec(name)![2]!);
      return device !== undefined && isThere(this.platform, device);
    });
  }

  /**
   * The hooks by name, and whether each is attached to something that exists. As `set`, to be called
   * in the devices' network namespace.
   */
  states(): { hook: string; attached: boolean }[] {
    return this.wanted.flatMap(({ name, index }) =>
      directions.map((direction) => {
        const hook = pinName(name, direction);
        if (!this.usesLinks) {
          using socket = new NetlinkSocket(this.platform);
          return { hook, attached: hasFilter(socket, { link: index, direction, ...filterPlace }) };
        }
        return { hook, attached: this.links.isAttached(hook) };
      }),
    );
  }

  private get usesLinks(): boolean {
    return features(this.bpf).has('link/tcx');
  }

  private attach({ name, index }: NodeDevice, direction: Direction): void {
    const program = this.loaded.program(`node_${direction}`);
    if (!this.usesLinks) {
      using socket = new NetlinkSocket(this.platform);
      attachFilter(socket, {
        link: index,
        direction,
        ...filterPlace,
        program: program.fd,
        name: program.name,
      });
      return;
    }
    this.links.attach({
      name: pinName(name, direction),
      program,
      isInPlace: (info) => info.kind === 'tcx' && info.ifindex === index,
      attach: () => attachTcx(this.bpf, program, index, direction, 'first'),
    });
  }
}

/** True when a device is there and still the one that it was. Throws SysError, NetlinkError. */
export function isThere(platform: Platform, { name, index }: NodeDevice): boolean {
  using socket = new NetlinkSocket(platform);
  return findLink(socket, name)?.index === index;
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
