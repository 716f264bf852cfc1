import { attachTcx, type Bpf, type BpfMap, features, type LoadedObject } from '@heddle/ebpf';
import { attachFilter, hasFilter, NetlinkSocket, removeFilter } from '@heddle/netlink';
import { makeDirectory, type Platform, pathExists, readDirectory, removeFile } from '@heddle/sys';
import { deviceRole } from './generated/abi.ts';
import { openLink } from './hooks.ts';
import type { PinFolder } from './pinned-maps.ts';

/** A network device of the node, in the network namespace that the agent is in. */
export interface NodeDevice {
  readonly name: string;
  readonly index: number;
  /** Of the link, e.g. `02:00:00:00:00:01`. */
  readonly address: string;
  /** Leads to pods of the node, not out of it. */
  readonly pods?: boolean;
}

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
  private readonly loaded: LoadedObject;
  private readonly folders: readonly PinFolder[];
  private readonly roles: BpfMap;
  private wanted: readonly NodeDevice[] = [];

  constructor(
    bpf: Bpf,
    platform: Platform,
    loaded: LoadedObject,
    folders: readonly PinFolder[],
    roles: BpfMap,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.loaded = loaded;
    this.folders = folders;
    this.roles = roles;
  }

  /** Attaches to exactly these devices. Throws SysError, NetlinkError. */
  set(devices: readonly NodeDevice[]): void {
    this.wanted = devices;
    makeDirectory(this.platform, this.folders[0]!.links);
    for (const device of devices) {
      // The role first: without one a packet would be taken for one from inside.
      this.roles.update(word(device.index), word(device.pods ? deviceRole.pods : deviceRole.front));
      for (const direction of directions) this.attach(device, direction);
    }
    const kept = new Set(devices.map(({ index }) => index));
    for (const [key] of this.roles.entries()) {
      const link = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
      if (kept.has(link)) continue;
      if (!this.usesLinks) {
        using socket = new NetlinkSocket(this.platform);
        for (const direction of directions) removeFilter(socket, { link, direction });
      }
      this.roles.delete(key);
    }
    this.detachOthers(new Set(devices.map(({ name }) => name)));
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
          return { hook, attached: hasFilter(socket, { link: index, direction }) };
        }
        using existing = openLink(this.bpf, [this.folders[0]!], hook);
        const info = existing?.link.info;
        return { hook, attached: info?.kind === 'tcx' && info.ifindex === index };
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
      attachFilter(socket, { link: index, direction, program: program.fd, name: program.name });
      return;
    }
    const own = this.folders[0]!;
    const pin = pinName(name, direction);
    using existing = openLink(this.bpf, this.folders, pin);
    const info = existing?.link.info;
    if (existing && info?.kind === 'tcx' && info.ifindex === index) {
      existing.link.update(program);
      if (existing.folder !== own) existing.link.pin(`${own.links}/${pin}`);
      return;
    }
    // The device is another one of that name than before.
    using link = attachTcx(this.bpf, program, index, direction, 'first');
    removeFile(this.platform, `${own.links}/${pin}`);
    link.pin(`${own.links}/${pin}`);
  }

  /** Detaches and unpins the links of devices that are not in `names`. */
  private detachOthers(names: ReadonlySet<string>): void {
    for (const folder of this.folders) {
      if (!pathExists(this.platform, folder.links)) continue;
      for (const { name: pin } of readDirectory(this.platform, folder.links)) {
        const device = pinPattern.exec(pin)?.[2];
        if (device === undefined || names.has(device)) continue;
        // The kernel would take its time to detach what is merely unpinned.
        using existing = openLink(this.bpf, [folder], pin);
        existing?.link.detach();
        removeFile(this.platform, `${folder.links}/${pin}`);
      }
    }
  }
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
