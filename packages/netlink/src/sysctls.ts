import {
  decodeUtf8,
  encodeUtf8,
  type Platform,
  pathExists,
  readFile,
  writeFile,
} from '@heddle/sys';

/** The kernel's directory of network settings. */
const kernelDirectory = '/proc/sys/net';

/**
 * The network settings of the namespace that the calling thread is in, whichever mount they are
 * reached through. A container's /proc/sys is read-only; another mount of the directory that can be
 * written serves there. Names are paths in the directory, e.g. `ipv4/ip_forward`.
 */
export class Sysctls {
  readonly #platform: Platform;
  readonly #directory: string;

  /** Default: /proc/sys/net. */
  constructor(platform: Platform, directory: string = kernelDirectory) {
    this.#platform = platform;
    this.#directory = directory;
  }

  /** Returns true if the kernel has the setting, or settings below this name. */
  has(name: string): boolean {
    return pathExists(this.#platform, this.#path(name));
  }

  /** Returns a value without the line break. Throws SysError. */
  read(name: string): string {
    return decodeUtf8(readFile(this.#platform, this.#path(name))).trim();
  }

  /** Throws SysError. */
  write(name: string, value: string | number): void {
    writeFile(this.#platform, this.#path(name), encodeUtf8(`${value}`));
  }

  #path(name: string): string {
    return `${this.#directory}/${name}`;
  }
}
