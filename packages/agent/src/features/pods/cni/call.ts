import { isContainerId, isInterfaceName } from '@heddle/ipam';
import { decodeUtf8 } from '@heddle/sys';
import { annotationsCapability } from '../configuration.ts';
import { CniError } from './errors.ts';
import type { CniMessage } from './message.ts';

/** The supported versions of the specification, oldest first. */
export const cniVersions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof cniVersions)[number];

/** The verbs, and the version from which on they exist. */
const since = {
  ADD: '0.3.1',
  DEL: '0.3.1',
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
  VERSION: '0.3.1',
} as const satisfies Record<string, CniVersion>;

export type CniVerb = keyof typeof since;

/** An interface of a container: what ADD attaches and DEL detaches. */
export interface AttachmentKey {
  readonly containerId: string;
  readonly interfaceName: string;
}

/** A call of the plug-in, checked. */
export type CniCall = { readonly version: CniVersion; readonly config: NetworkConfig } & (
  | ({ readonly verb: 'ADD' | 'CHECK'; readonly netns: string } & AttachmentKey & PodNames)
  | ({ readonly verb: 'DEL' } & AttachmentKey)
  | { readonly verb: 'GC' | 'STATUS' | 'VERSION' }
);

/** The Pod object, as the runtime names it in CNI_ARGS. */
export interface PodNames {
  readonly pod: { readonly namespace: string; readonly name: string } | undefined;
  readonly podUid: string | undefined;
}

/** The fields of the network configuration, which is not checked further than a verb needs it. */
export type NetworkConfig = Readonly<Record<string, unknown>>;

/** Returns true if `version` is at least as new as `other`. */
export function isAtLeast(version: CniVersion, other: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(other);
}

/** Returns the version in which errors are reported: that of the configuration, if it can be read. */
export function versionOf(input: Uint8Array): CniVersion {
  try {
    return readVersion(readConfig(input));
  } catch {
    return '1.1.0';
  }
}

/** Checks a message. Throws CniError. */
export function parseCall({ environment, input }: CniMessage): CniCall {
  const verb = environment.get('CNI_COMMAND') ?? '';
  if (!isVerb(verb)) {
    const verbs = Object.keys(since).join(', ');
    throw new CniError('environment', `read CNI_COMMAND: it is ${verb || 'empty'}, not ${verbs}`);
  }
  const config = readConfig(input);
  const version = readVersion(config);
  if (!isAtLeast(version, since[verb])) {
    throw new CniError('version', `run ${verb}: version ${version} of CNI does not have it`);
  }
  const common = { version, config };
  switch (verb) {
    case 'ADD':
    case 'CHECK': {
      checkFields(config);
      const netns = environment.get('CNI_NETNS') ?? '';
      if (netns === '') throw new CniError('environment', 'read CNI_NETNS: it is empty');
      return { ...common, verb, netns, ...readKey(environment), ...readNames(environment) };
    }
    case 'DEL':
      return { ...common, verb, ...readKey(environment) };
    default:
      return { ...common, verb };
  }
}

function isVerb(text: string): text is CniVerb {
  return Object.hasOwn(since, text);
}

function readConfig(input: Uint8Array): NetworkConfig {
  let value: unknown;
  try {
    value = JSON.parse(decodeUtf8(input));
  } catch (error) {
    const reason = (error as Error).message;
    throw new CniError('decode', 'read network configuration: it is not JSON', reason);
  }
  if (isObject(value)) return value;
  throw new CniError('decode', 'read network configuration: it is no JSON object');
}

function readVersion({ cniVersion }: NetworkConfig): CniVersion {
  const known = cniVersions.find((each) => each === cniVersion);
  if (known) return known;
  const shown = JSON.stringify(cniVersion) ?? 'absent';
  const reason = `cniVersion is ${shown}; use one of ${cniVersions.join(', ')}`;
  throw new CniError('version', `read network configuration: ${reason}`);
}

/** Refuses what would be ignored. */
function checkFields({ name, ipam, ipMasq }: NetworkConfig): void {
  if (typeof name !== 'string' || name === '') {
    throw new CniError('config', 'read network configuration: name is missing');
  }
  if (isObject(ipam) && Object.keys(ipam).length > 0) {
    const reason = 'the agent gives the addresses; leave it out';
    throw new CniError(
      'unsupportedField',
      `read network configuration: ipam is ${JSON.stringify(ipam)}; ${reason}`,
    );
  }
  if (ipMasq !== undefined && ipMasq !== false) {
    const reason = 'masquerade is a setting of the agent; leave it out';
    throw new CniError(
      'unsupportedField',
      `read network configuration: ipMasq is ${JSON.stringify(ipMasq)}; ${reason}`,
    );
  }
}

function readKey(environment: ReadonlyMap<string, string>): AttachmentKey {
  const containerId = environment.get('CNI_CONTAINERID') ?? '';
  if (!isContainerId(containerId)) {
    throw new CniError('environment', `read CNI_CONTAINERID: ${shown(containerId)} is no id`);
  }
  const interfaceName = environment.get('CNI_IFNAME') ?? '';
  if (!isInterfaceName(interfaceName)) {
    throw new CniError('environment', `read CNI_IFNAME: ${shown(interfaceName)} is no name`);
  }
  return { containerId, interfaceName };
}

/** The order of the arguments differs from call to call, and there are unknown ones. */
function readNames(environment: ReadonlyMap<string, string>): PodNames {
  const names = new Map<string, string>();
  for (const argument of (environment.get('CNI_ARGS') ?? '').split(';')) {
    if (argument === '') continue;
    const equals = argument.indexOf('=');
    if (equals < 1) {
      throw new CniError('environment', `read CNI_ARGS: ${shown(argument)} is no NAME=VALUE`);
    }
    names.set(argument.slice(0, equals), argument.slice(equals + 1));
  }
  const isName = (text: string | undefined) =>
    text !== undefined && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text);
  const namespace = names.get('K8S_POD_NAMESPACE');
  const name = names.get('K8S_POD_NAME');
  const uid = names.get('K8S_POD_UID');
  return {
    pod: isName(namespace) && isName(name) ? { namespace: namespace!, name: name! } : undefined,
    // A space would end the field of the record.
    podUid: uid !== undefined && /^[\w.-]{1,64}$/.test(uid) ? uid : undefined,
  };
}

/** Returns the annotations of the pod, as far as the runtime passes them. */
export function readAnnotations({
  runtimeConfig,
}: NetworkConfig): Readonly<Record<string, string>> {
  const found = isObject(runtimeConfig) ? runtimeConfig[annotationsCapability] : undefined;
  if (!isObject(found)) return {};
  return Object.fromEntries(
    Object.entries(found).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}

/**
 * Returns the attachments of the field `cni.dev/valid-attachments`, or undefined if it is absent: then nothing is known
 * about them. Throws CniError.
 */
export function readValidAttachments(config: NetworkConfig): AttachmentKey[] | undefined {
  const field = 'cni.dev/valid-attachments';
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  const fault = () =>
    new CniError('config', `read network configuration: ${field} is no list of attachments`);
  if (!Array.isArray(value)) throw fault();
  return value.map((each: unknown) => {
    const { containerID, ifname } = isObject(each) ? each : {};
    if (typeof containerID !== 'string' || typeof ifname !== 'string') throw fault();
    return { containerId: containerID, interfaceName: ifname };
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(text: string): string {
  if (text === '') return 'nothing';
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}
