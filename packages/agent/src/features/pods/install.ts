import {
  decodeUtf8,
  encodeUtf8,
  isMissing,
  makeDirectory,
  type Platform,
  pathExists,
  readDirectory,
  readFile,
  removeFile,
  replaceFile,
} from '@heddle/sys';
import type { Config } from '../../config.ts';
import type { EventLog } from '../../events.ts';
import { configurationText, pluginName } from './configuration.ts';

/** The directories of the container runtime, and the agent's socket for the plug-in. */
export type CniSettings = Config['cni'];

/** The plug-in that containerd before 2.0 calls for each pod besides the configured ones. */
const loopbackName = 'loopback';
/** The name of Heddle's configuration. Runtimes take the first one by name. */
const configurationName = '05-heddle.conflist';
/** The endings of the names that runtimes read. */
const readNames = /\.(conf|conflist|json)$/;
/** Milliseconds between two looks at the files. */
const lookMs = 30_000;

export interface CniInstallationOptions {
  readonly platform: Platform;
  readonly settings: CniSettings;
  readonly events: EventLog;
  /** Returns the bytes of the CNI plug-in. */
  readonly plugin: () => Uint8Array;
}

/**
 * Keeps the CNI plug-in and its configuration where the container runtime looks for them. It is made once the agent
 * answers the plug-in, because the runtime reports the node as ready from then on. Disposing it leaves the files,
 * because pods must be removable while no agent runs.
 */
export class CniInstallation implements Disposable {
  readonly #options: CniInstallationOptions;
  #timer: Disposable | undefined;
  #problem: string | undefined;
  #preceding = '';

  constructor(options: CniInstallationOptions) {
    this.#options = options;
    this.#look();
  }

  /** Returns sentences for `heddle status`. */
  warnings(): readonly string[] {
    return [this.#problem, this.#preceding].filter((warning) => !!warning) as string[];
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  #look(): void {
    const { platform, settings, events, plugin } = this.#options;
    this.#timer = platform.setTimer(lookMs, () => this.#look());
    try {
      for (const path of installCni(platform, settings, plugin())) {
        events.add('info', 'agent', path, `wrote ${path}`);
      }
      this.#problem = undefined;
      this.#setPreceding(precedingConfigurations(platform, settings.configDir));
    } catch (error) {
      const { message } = error as Error;
      const problem = `the CNI plug-in is not installed: ${message}; until it is, the node starts no pods`;
      if (problem !== this.#problem) events.add('error', 'problem', pluginName, problem);
      this.#problem = problem;
    }
  }

  #setPreceding(names: readonly string[]): void {
    const { settings, events } = this.#options;
    const warning =
      names.length === 0
        ? ''
        : `the container runtime reads ${names.join(', ')} in ${settings.configDir} before ${configurationName} and takes the first; remove or rename what another network has left`;
    if (warning !== '' && warning !== this.#preceding) {
      events.add('warn', 'problem', configurationName, warning);
    }
    this.#preceding = warning;
  }
}

/**
 * Copies the CNI plug-in into its directory, also as the plug-in `loopback` unless there is another one, and writes
 * its configuration, last, where they differ from what is there. Returns the paths of the files that were written. Throws SysError.
 */
export function installCni(
  platform: Platform,
  { binDir, configDir, socket }: CniSettings,
  plugin: Uint8Array,
): string[] {
  const written: string[] = [];
  makeDirectory(platform, binDir, 0o755);
  const present = contentOf(platform, `${binDir}/${pluginName}`);
  const loopback = contentOf(platform, `${binDir}/${loopbackName}`);
  const copies = [{ name: pluginName, content: present }];
  // It precedes the plug-in, by which an earlier copy is recognized.
  if (loopback === undefined || isSame(loopback, present)) {
    copies.unshift({ name: loopbackName, content: loopback });
  }
  for (const { name, content } of copies) {
    if (isSame(plugin, content)) continue;
    // The runtime may be running the file, and a file that is running cannot be written, only replaced.
    const file = { path: `${binDir}/${name}`, temporaryName: `.${name}.new`, mode: 0o755 };
    replaceFile(platform, plugin, file);
    written.push(file.path);
  }
  const path = `${configDir}/${configurationName}`;
  makeDirectory(platform, configDir, 0o755);
  const existing = contentOf(platform, path);
  const text = configurationText(socket, existing && decodeUtf8(existing));
  if (text !== undefined) {
    // containerd ignores a file that is renamed into its directory, and observes one that is renamed within it. It
    // reads no file with this ending.
    const temporaryName = `${configurationName}.new`;
    replaceFile(platform, encodeUtf8(text), { path, temporaryName, mode: 0o644 });
    written.push(path);
  }
  return written;
}

/** Removes the configuration and the CNI plug-in. Returns the paths of what was there. Throws SysError. */
export function removeCni(
  platform: Platform,
  { binDir, configDir }: Pick<CniSettings, 'binDir' | 'configDir'>,
): string[] {
  const [plugin, loopback] = [`${binDir}/${pluginName}`, `${binDir}/${loopbackName}`];
  const copy = contentOf(platform, loopback);
  const isCopy = copy !== undefined && isSame(copy, contentOf(platform, plugin));
  const paths = [`${configDir}/${configurationName}`, ...(isCopy ? [loopback] : []), plugin];
  const present = paths.filter((path) => pathExists(platform, path));
  for (const path of present) removeFile(platform, path);
  return present;
}

/** Returns the names of the configurations that a runtime reads before Heddle's. Throws SysError. */
export function precedingConfigurations(platform: Platform, configDir: string): string[] {
  return readDirectory(platform, configDir)
    .filter(({ name, kind }) => kind !== 'directory' && readNames.test(name))
    .map(({ name }) => name)
    .filter((name) => name < configurationName)
    .sort();
}

function contentOf(platform: Platform, path: string): Uint8Array | undefined {
  try {
    return readFile(platform, path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isSame(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return a.length === b?.length && a.every((byte, at) => byte === b[at]);
}
