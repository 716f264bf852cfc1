import { attachXdp, type LinkInfo, type LoadedObject } from '@heddle/ebpf';
import { SysError } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import { type KeyedMap, wordBytes, wordOf } from '../core/keyed-map.ts';
import { encodeXdpDevice, xdpDeviceSize } from '../generated/abi.ts';
import { type DeviceParts, isThere, type NodeDevice } from './node-devices.ts';

/**
 * The modes of xdp.bpf.c: `native`, in the drivers of the network interfaces; `generic`, in the kernel's stack, at any
 * interface; `best-effort`, native where the driver supports it. `best-effort` does not fall back to generic XDP: it runs
 * after the kernel has allocated the packet's buffer, so it saves little, and it disables generic receive offload
 * (GRO), which costs all other traffic throughput.
 */
export const xdpModes = ['off', 'generic', 'native', 'best-effort'] as const;
export type XdpMode = (typeof xdpModes)[number];

/** The state of XDP at one network interface. */
export interface XdpState {
  readonly device: string;
  readonly mode: 'native' | 'generic' | 'off';
  /** The reason why it is off, if it is. */
  readonly problem?: string;
  /** True if it may be off (`best-effort`). */
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

/** Settings and maps of XDP. */
export interface XdpParts extends DeviceParts {
  readonly mode: XdpMode;
  /** The map `xdp_devices`: link-layer addresses of interfaces. */
  readonly addresses: KeyedMap;
}

/**
 * The program of xdp.bpf.c at the node's network interfaces. Its links are pinned like those of node.bpf.c. At an
 * interface that does not support it node.bpf.c alone does all of the translation.
 */
export class XdpDevices {
  readonly #parts: XdpParts;
  #wanted: readonly NodeDevice[] = [];
  #problems: ReadonlyMap<string, string> = new Map();

  constructor(parts: XdpParts) {
    this.#parts = parts;
  }

  /**
   * Attaches the program to exactly these interfaces. One that does not support it is no error: `states` reports it.
   * Throws SysError.
   */
  set(devices: readonly NodeDevice[]): void {
    const { programs, links, addresses } = this.#parts;
    const mode = this.#attachedMode;
    this.#wanted = programs.xdp ? devices.filter(({ pods }) => !pods) : [];
    const pins = new Set(this.#wanted.map(({ name }) => pinName(name, mode)));
    links.detach((pin) => pinPattern.test(pin) && !pins.has(pin));
    const problems = new Map<string, string>();
    for (const device of this.#wanted) {
      addresses.update(wordBytes(device.index), linkAddress(device.address));
      try {
        this.#attach(programs.xdp!, device, mode);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        problems.set(device.name, causes[error.code] ?? error.message);
      }
    }
    this.#problems = problems;
    const kept = new Set(this.#wanted.map(({ index }) => index));
    for (const [key] of addresses.entries()) {
      if (!kept.has(wordOf(key))) {
        addresses.delete(key);
      }
    }
  }

  /**
   * Returns the hooks of existing interfaces that lack the program, given the links that are detached; an interface
   * that does not support it has none. Throws SysError, NetlinkError.
   */
  detached(links: readonly Damage[]): Damage[] {
    return links.filter(({ name }) => {
      const device = pinPattern.exec(name)?.[2];
      if (device === undefined || this.#problems.has(device)) return false;
      const wanted = this.#wanted.find((other) => other.name === device);
      return wanted !== undefined && isThere(this.#parts.platform, wanted);
    });
  }

  /** Returns the state at each interface. To be called in the network namespace of the interfaces. */
  states(): XdpState[] {
    const mode = this.#attachedMode;
    const isOptional = this.#parts.mode === 'best-effort';
    return this.#wanted.map(({ name: device }) => {
      if (this.#parts.links.isAttached(pinName(device, mode))) return { device, mode, isOptional };
      const problem = this.#problems.get(device) ?? 'it was detached by another process';
      return { device, mode: 'off', problem, isOptional };
    });
  }

  get #attachedMode(): Attached {
    return this.#parts.mode === 'generic' ? 'generic' : 'native';
  }

  #attach(loaded: LoadedObject, { name, index }: NodeDevice, mode: Attached): void {
    const program = loaded.program('node_xdp');
    this.#parts.links.attach({
      name: pinName(name, mode),
      program,
      isInPlace: (info) => isOn(info, index),
      attach: () => attachXdp(this.#parts.bpf, program, index, mode),
    });
  }
}

function isOn(info: LinkInfo, ifindex: number): boolean {
  return info.kind === 'xdp' && info.ifindex === ifindex;
}

/** Returns the map's value for a link-layer address such as `02:00:00:00:00:01`. */
function linkAddress(text: string): Uint8Array {
  const bytes = new Uint8Array(xdpDeviceSize);
  const address = Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
  encodeXdpDevice({ address, reserved: 0 }, bytes);
  return bytes;
}
