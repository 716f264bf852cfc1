import {
  checked,
  closeFd,
  decodeCString,
  encodeCString,
  type Platform,
  syscallNumbers,
} from '@heddle/sys';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '@heddle/sys/net';
import type { Channels, Feature, Rings } from '../facts.ts';
import { isSysError } from './files.ts';

// linux/sockios.h, linux/ethtool.h
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GRINGPARAM = 0x10;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETHTOOL_GCHANNELS = 0x3c;
const ETH_SS_FEATURES = 4;
const nameSize = 32;
/** A bound on the number of features, of which Linux 6.18 has 64. */
const maxFeatures = 1024;

/** Reads and changes settings of network interfaces in the network namespace in which it is made. */
export class Ethtool implements Disposable {
  readonly #platform: Platform;
  readonly #socket: number;

  /** Throws SysError. */
  constructor(platform: Platform) {
    this.#platform = platform;
    const nr = syscallNumbers(platform).socket;
    const socket = platform.syscall(nr, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    this.#socket = checked('socket', socket, 'open socket for ethtool');
  }

  [Symbol.dispose](): void {
    closeFd(this.#platform, this.#socket);
  }

  /** Returns the offloads by the kernel's names. Throws SysError. */
  features(device: string): Map<string, Feature> {
    const names = this.#featureNames(device);
    const words = Math.ceil(names.length / 32);
    // struct ethtool_gfeatures: four u32 for each 32 features: available, requested, active, never_changed.
    const bits = this.#ask(device, ETHTOOL_GFEATURES, 8 + words * 16, [words]);
    const features = new Map<string, Feature>();
    names.forEach((name, i) => {
      const at = 8 + (i >>> 5) * 16;
      const has = (field: number) =>
        ((bits.getUint32(at + field * 4, true) >>> (i & 31)) & 1) === 1;
      if (name !== '') features.set(name, { active: has(2), changeable: has(0) && !has(3) });
    });
    return features;
  }

  /** Turns an offload on or off. Throws SysError, and Error for a name that the kernel does not know. */
  setFeature(device: string, feature: string, on: boolean): void {
    const names = this.#featureNames(device);
    const index = names.indexOf(feature);
    if (index < 0) throw new Error(`turn ${feature} of ${device}: the kernel has no such feature`);
    const words = Math.ceil(names.length / 32);
    // struct ethtool_sfeatures: two u32 for each 32 features: valid, requested.
    const blocks = new Array<number>(words * 2).fill(0);
    const bit = (1 << (index & 31)) >>> 0;
    blocks[(index >>> 5) * 2] = bit;
    blocks[(index >>> 5) * 2 + 1] = on ? bit : 0;
    this.#ask(device, ETHTOOL_SFEATURES, 8 + words * 8, [words, ...blocks]);
  }

  /** Returns the ring sizes, or undefined for an interface without rings. Throws SysError. */
  rings(device: string): Rings | undefined {
    // struct ethtool_ringparam: rx, rx_mini, rx_jumbo and tx, first the largest, then the current values.
    const view = this.#askIfAny(device, ETHTOOL_GRINGPARAM, 36);
    const at = (word: number) => view!.getUint32(word * 4, true);
    return view && { rxMax: at(1), txMax: at(4), rx: at(5), tx: at(8) };
  }

  /** Returns the numbers of queues, or undefined for an interface without a choice. Throws SysError. */
  channels(device: string): Channels | undefined {
    // struct ethtool_channels: rx, tx, other and combined, first the largest, then the current values.
    const view = this.#askIfAny(device, ETHTOOL_GCHANNELS, 36);
    const at = (word: number) => view!.getUint32(word * 4, true);
    return view && { combinedMax: at(4), combined: at(8) };
  }

  #featureNames(device: string): string[] {
    // struct ethtool_sset_info: reserved u32, mask u64, then the number of strings of each set of the mask.
    const info = this.#ask(device, ETHTOOL_GSSET_INFO, 20, [0, 1 << ETH_SS_FEATURES, 0]);
    const count = Math.min(info.getUint32(16, true), maxFeatures);
    const size = 12 + count * nameSize;
    const strings = this.#ask(device, ETHTOOL_GSTRINGS, size, [ETH_SS_FEATURES, count]);
    return Array.from({ length: count }, (_, i) => {
      const at = 12 + i * nameSize;
      return decodeCString(new Uint8Array(strings.buffer, at, nameSize));
    });
  }

  #askIfAny(device: string, command: number, size: number): DataView | undefined {
    try {
      return this.#ask(device, command, size, []);
    } catch (error) {
      if (isSysError(error, 'EOPNOTSUPP')) return undefined;
      throw error;
    }
  }

  /** Sends a command with the words that follow it, and returns the answer with the command. */
  #ask(device: string, command: number, size: number, words: readonly number[]): DataView {
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    [command, ...words].forEach((word, i) => {
      view.setUint32(i * 4, word, true);
    });
    // struct ifreq: name of 16 bytes, then a pointer; 40 bytes in all.
    const ifreq = new Uint8Array(40);
    ifreq.set(encodeCString(device).subarray(0, 15));
    new DataView(ifreq.buffer).setBigUint64(16, this.#platform.addressOf(bytes), true);
    const nr = syscallNumbers(this.#platform).ioctl;
    const result = this.#platform.syscall(nr, this.#socket, SIOCETHTOOL, ifreq);
    checked('ioctl', result, `ask ${device} for settings (ethtool ${command})`);
    return view;
  }
}
