import type { Damage } from '../core/audit.ts';
import type { KeyedMap } from '../core/keyed-map.ts';
import { type DeviceParts, type NodeDevice, NodeDevices } from './node-devices.ts';
import { XdpDevices, type XdpMode, type XdpState } from './xdp-devices.ts';

/** Settings and maps of the programs at network interfaces. */
export interface DeviceProgramsParts extends DeviceParts {
  readonly xdpMode: XdpMode;
  /** The map `node_devices`. */
  readonly roles: KeyedMap;
  /** The map `xdp_devices`. */
  readonly linkAddresses: KeyedMap;
}

/** The programs at the node's network interfaces, by tc and XDP. Methods are called in the interfaces' network namespace. */
export class DevicePrograms {
  readonly #tc: NodeDevices;
  readonly #xdp: XdpDevices;
  /** Undefined until the interfaces are known: those of an earlier agent keep its programs. */
  #wanted: readonly NodeDevice[] | undefined;
  #attaches = false;

  constructor({ xdpMode, roles, linkAddresses, ...parts }: DeviceProgramsParts) {
    this.#tc = new NodeDevices(parts, roles);
    this.#xdp = new XdpDevices({ ...parts, mode: xdpMode, addresses: linkAddresses });
  }

  /**
   * Sets the interfaces that packets are translated at. The programs are attached at once, or else by `attach`.
   * Throws SysError, NetlinkError.
   */
  set(devices: readonly NodeDevice[]): void {
    this.#wanted = devices;
    if (this.#attaches) this.#set(devices);
  }

  /** True when the interfaces are known. */
  get isSet(): boolean {
    return this.#wanted !== undefined;
  }

  /** Attaches the programs that are not attached, and from now on in `set`. Throws SysError, NetlinkError. */
  attach(): void {
    if (this.#wanted) this.#set(this.#wanted);
    this.#attaches = true;
  }

  /** From now on nothing is attached. */
  release(): void {
    this.#attaches = false;
  }

  /** Returns the hooks by name, and whether each is attached. Throws SysError, NetlinkError. */
  states(): { hook: string; attached: boolean }[] {
    const xdp = this.xdpStates()
      .filter(({ mode, isOptional }) => mode !== 'off' || !isOptional)
      .map(({ device, mode }) => ({ hook: `node_xdp@${device}`, attached: mode !== 'off' }));
    return [...this.#tc.states(), ...xdp];
  }

  xdpStates(): XdpState[] {
    return this.#xdp.states();
  }

  /**
   * Returns the hooks of existing interfaces that lack their programs, given the links that are detached. Throws
   * SysError, NetlinkError.
   */
  detached(links: readonly Damage[]): Damage[] {
    return [...this.#tc.detached(links), ...this.#xdp.detached(links)];
  }

  #set(devices: readonly NodeDevice[]): void {
    this.#tc.set(devices);
    this.#xdp.set(devices);
  }
}
