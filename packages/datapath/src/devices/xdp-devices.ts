import { attachXdp, type Bpf, type LinkInfo, type LoadedObject } from '@heddle/ebpf';
import { type Platform, SysError } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import type { PinnedLinks } from '../core/pinned-links.ts';
import type { KeyedMap } from '../core/store.ts';
import { encodeXdpDevice, xdpDeviceSize } from '../generated/abi.ts';
import { isThere, type NodeDevice } from './node-devices.ts';

/**
 * Where xdp.bpf.c runs: `native`, in the drivers of the devices; `generic`, in the kernel's stead, for
 * any device; `best-effort`, in the drivers that can. The last doesn't fall back to generic: that runs
 * after the kernel has made its own record of the packet, so it saves little, and it switches off that
 * the device puts received segments together (GRO), of which all other traffic lives.
 */
export const xdpModes = ['off', 'generic', 'native', 'best-effort'] as const;
export type XdpMode = (typeof xdpModes)[number];

/** What became of it at one device. */
export interface XdpState {
  readonly device: string;
  readonly mode: 'native' | 'generic' | 'off';
  /** Why it is off. */
  readonly problem?: string;
  /** Whether being off is in order (`best-effort`). */
  readonly isOptional: boolean;
}

type Attached = Exclude<XdpState['mode'], 'off'>;

const pinName = (device: string, mode: Attached) => `node_xdp_${mode}@${device}`;
const pinPattern = /^node_xdp_(native|generic)@(.+)$/;

const causes: Readonly<Record<string, string>> = {
  EOPNOTSUPP: 'its driver has no native XDP (use generic, or best-effort)',
  EBUSY: 'another XDP program is there',
  EEXIST: 'another XDP program is there in another mode',
  ERANGE: 'its MTU is too large for its driver’s native XDP',
};

/**
 * The program of xdp.bpf.c on the node's devices. Its links are pinned like those of node.bpf.c. A
 * device that doesn't take it is served by node.bpf.c alone, which does all of it.
 */
export class XdpDevices {
  private readonly bpf: Bpf;
  private readonly platform: Platform;
  private readonly links: PinnedLinks;
  private readonly addresses: KeyedMap;
  private readonly mode: XdpMode;
  private loaded: LoadedObject | undefined;
  private wanted: readonly NodeDevice[] = [];
  private problems: ReadonlyMap<string, string> = new Map();

  /** `loaded` is absent when the mode is off. */
  constructor(
    bpf: Bpf,
    platform: Platform,
    links: PinnedLinks,
    addresses: KeyedMap,
    mode: XdpMode,
    loaded: LoadedObject | undefined,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.links = links;
    this.addresses = addresses;
    this.mode = mode;
    this.loaded = loaded;
  }

  /** Attaches another program from the next `set` on. */
  use(loaded: LoadedObject | undefined): void {
    this.loaded = loaded;
  }

  /** Attaches to exactly these devices, as far as they take it: `states` says. Throws SysError. */
  set(devices: readonly NodeDevice[]): void {
    const mode: Attached = this.mode === 'generic' ? 'generic' : 'native';
    this.wanted = this.loaded ? devices.filter(({ pods }) => !pods) : [];
    const pins = new Set(this.wanted.map(({ name }) => pinName(name, mode)));
    this.links.detach((pin) => pinPattern.test(pin) && !pins.has(pin));
    const problems = new Map<string, string>();
    for (const device of this.wanted) {
      this.addresses.update(word(device.index), linkAddress(device.address));
      try {
        this.attach(this.loaded!, device, mode);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        problems.set(device.name, causes[error.code] ?? error.message);
      }
    }
    this.problems = problems;
    const kept = new Set(this.wanted.map(({ index }) => index));
    for (const [key] of this.addresses.entries()) {
      if (!kept.has(new DataView(key.buffer, key.byteOffset).getUint32(0, true))) {
        this.addresses.delete(key);
      }
    }
  }

  /** Hooks of devices that are there and have lost the program; a device that does not take it has none. */
  detached(links: readonly Damage[]): Damage[] {
    return links.filter(({ name }) => {
      const device = pinPattern.exec(name)?.[2];
      if (device === undefined || this.problems.has(device)) return false;
      const wanted = this.wanted.find((other) => other.name === device);
      return wanted !== undefined && isThere(this.platform, wanted);
    });
  }

  /** Of each device that it was wanted for. To be called in the devices' network namespace. */
  states(): XdpState[] {
    const mode: Attached = this.mode === 'generic' ? 'generic' : 'native';
    const isOptional = this.mode === 'best-effort';
    return this.wanted.map(({ name: device }) => {
      if (this.links.isAttached(pinName(device, mode))) return { device, mode, isOptional };
      const problem = this.problems.get(device) ?? 'somebody has detached it';
      return { device, mode: 'off', problem, isOptional };
    });
  }

  private attach(loaded: LoadedObject, { name, index }: NodeDevice, mode: Attached): void {
    const program = loaded.program('node_xdp');
    this.links.attach({
      name: pinName(name, mode),
      program,
      isInPlace: (info) => isOn(info, index),
      attach: () => attachXdp(this.bpf, program, index, mode),
    });
  }
}

function isOn(info: LinkInfo, ifindex: number): boolean {
  return info.kind === 'xdp' && info.ifindex === ifindex;
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);

/** Of text such as `02:00:00:00:00:01`. */
function linkAddress(text: string): Uint8Array {
  const bytes = new Uint8Array(xdpDeviceSize);
  const address = Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
  encodeXdpDevice({ address, reserved: 0 }, bytes);
  return bytes;
}
