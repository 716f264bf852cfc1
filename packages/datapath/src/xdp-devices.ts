import { attachXdp, type Bpf, type BpfMap, type Link, type LoadedObject } from '@heddle/ebpf';
import {
  makeDirectory,
  type Platform,
  pathExists,
  readDirectory,
  removeFile,
  SysError,
} from '@heddle/sys';
import { encodeXdpDevice, xdpDeviceSize } from './generated/abi.ts';
import { openLink } from './hooks.ts';
import type { NodeDevice } from './node-devices.ts';
import type { PinFolder } from './pinned-maps.ts';

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
  private readonly folders: readonly PinFolder[];
  private readonly addresses: BpfMap;
  private readonly mode: XdpMode;
  private readonly loaded: LoadedObject | undefined;
  private wanted: readonly NodeDevice[] = [];
  private problems: ReadonlyMap<string, string> = new Map();

  /** `loaded` is absent when the mode is off. */
  constructor(
    bpf: Bpf,
    platform: Platform,
    folders: readonly PinFolder[],
    addresses: BpfMap,
    mode: XdpMode,
    loaded: LoadedObject | undefined,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.folders = folders;
    this.addresses = addresses;
    this.mode = mode;
    this.loaded = loaded;
  }

  /** Attaches to exactly these devices, as far as they take it: `states` says. Throws SysError. */
  set(devices: readonly NodeDevice[]): void {
    const mode: Attached = this.mode === 'generic' ? 'generic' : 'native';
    this.wanted = this.loaded ? devices.filter(({ pods }) => !pods) : [];
    this.detachOthers(new Set(this.wanted.map(({ name }) => pinName(name, mode))));
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

  /** Of each device that it was wanted for. To be called in the devices' network namespace. */
  states(): XdpState[] {
    const mode: Attached = this.mode === 'generic' ? 'generic' : 'native';
    const isOptional = this.mode === 'best-effort';
    return this.wanted.map(({ name: device, index }) => {
      using existing = openLink(this.bpf, [this.folders[0]!], pinName(device, mode));
      if (existing && isOn(existing.link, index)) return { device, mode, isOptional };
      const problem = this.problems.get(device) ?? 'somebody has detached it';
      return { device, mode: 'off', problem, isOptional };
    });
  }

  private attach(loaded: LoadedObject, { name, index }: NodeDevice, mode: Attached): void {
    const program = loaded.program('node_xdp');
    const own = this.folders[0]!;
    makeDirectory(this.platform, own.links);
    const pin = pinName(name, mode);
    using existing = openLink(this.bpf, this.folders, pin);
    if (existing && isOn(existing.link, index)) {
      existing.link.update(program);
      if (existing.folder !== own) existing.link.pin(`${own.links}/${pin}`);
      return;
    }
    // The device is another one of that name than before.
    removeFile(this.platform, `${own.links}/${pin}`);
    using link = attachXdp(this.bpf, program, index, mode);
    link.pin(`${own.links}/${pin}`);
  }

  /** Detaches and unpins links that are not in `pins`. */
  private detachOthers(pins: ReadonlySet<string>): void {
    for (const folder of this.folders) {
      if (!pathExists(this.platform, folder.links)) continue;
      for (const { name: pin } of readDirectory(this.platform, folder.links)) {
        if (!pinPattern.test(pin) || pins.has(pin)) continue;
        using existing = openLink(this.bpf, [folder], pin);
        existing?.link.detach();
        removeFile(this.platform, `${folder.links}/${pin}`);
      }
    }
  }
}

function isOn(link: Link, ifindex: number): boolean {
  const { info } = link;
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
