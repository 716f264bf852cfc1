import { encodeUtf8, formatIp, parseIp } from '@heddle/sys';

/** The longest alias of an interface that the kernel takes, in bytes (IFALIASZ of linux/if.h, less its NUL). */
export const longestAlias = 255;

const prefix = 'heddle:';
/** Stands for an unknown UID and for a family that the pod has no address of. */
const none = '-';

/** The content of the alias of a pod interface. Nothing else records which pod has an address. */
export interface AttachmentRecord {
  /** The container runtime's id of the pod's sandbox (CNI_CONTAINERID). */
  readonly containerId: string;
  /** The name of the interface in the pod (CNI_IFNAME). */
  readonly interfaceName: string;
  /** The UID of the Pod object; undefined if the runtime did not give it. */
  readonly podUid: string | undefined;
  /** At most one of each family, IPv4 first. */
  readonly addresses: readonly string[];
  /** The Pod's namespace and name; undefined if they are unknown, or do not fit into the alias. */
  readonly pod: { readonly namespace: string; readonly name: string } | undefined;
}

/** The result of reading an alias. */
export type ParsedAlias =
  | { readonly kind: 'record'; readonly record: AttachmentRecord }
  /** There is no alias. */
  | { readonly kind: 'none' }
  /** The alias is somebody else's. */
  | { readonly kind: 'foreign' }
  /** The alias is Heddle's and cannot be read. */
  | { readonly kind: 'broken'; readonly reason: string };

/** The record does not fit into an alias. */
export class RecordTooLong extends Error {
  override readonly name = 'RecordTooLong';
}

/**
 * Returns the alias `heddle:<container>/<interface> <pod UID> <IPv4> <IPv6>`, with ` <namespace>/<name>` at its end if
 * these fit. Throws RecordTooLong.
 */
export function formatRecord(record: AttachmentRecord): string {
  const { containerId, interfaceName, podUid, addresses, pod } = record;
  const ipv4 = addresses.find((address) => !address.includes(':'));
  const ipv6 = addresses.find((address) => address.includes(':'));
  const alias = `${prefix}${containerId}/${interfaceName} ${podUid ?? none} ${ipv4 ?? none} ${ipv6 ?? none}`;
  if (encodeUtf8(alias).length > longestAlias) {
    throw new RecordTooLong(
      `record pod interface: container id ${containerId} does not fit into the alias of an interface`,
    );
  }
  if (!pod) return alias;
  const named = `${alias} ${pod.namespace}/${pod.name}`;
  return encodeUtf8(named).length > longestAlias ? alias : named;
}

/** Reads the alias of an interface. Never throws. */
export function parseRecord(alias: string | undefined): ParsedAlias {
  if (alias === undefined || alias === '') return { kind: 'none' };
  if (!alias.startsWith(prefix)) return { kind: 'foreign' };
  const broken = (reason: string): ParsedAlias => ({ kind: 'broken', reason });
  const words = alias.slice(prefix.length).split(' ');
  if (words.length < 4 || words.length > 5) return broken(`it has ${words.length} parts`);
  const [attachment, uid, ipv4, ipv6, podText] = words as [string, string, string, string, string?];
  const [containerId, interfaceName] = split(attachment);
  if (!isContainerId(containerId)) return broken(`${containerId || 'nothing'} is no container id`);
  if (!isInterfaceName(interfaceName)) {
    return broken(`${interfaceName || 'nothing'} is no name of an interface`);
  }
  if (uid === '') return broken('the pod UID is empty');
  const addresses: string[] = [];
  for (const [text, isV6] of [
    [ipv4, false],
    [ipv6, true],
  ] as const) {
    if (text === none) continue;
    const bytes = text.includes(':') === isV6 ? parseIp(text) : undefined;
    if (!bytes) return broken(`${text || 'nothing'} is no ${isV6 ? 'IPv6' : 'IPv4'} address`);
    addresses.push(formatIp(bytes));
  }
  if (addresses.length === 0) return broken('it has no address');
  const [namespace, name] = podText === undefined ? ['', ''] : split(podText);
  if (podText !== undefined && (namespace === '' || name === '')) {
    return broken(`${podText} is no namespace and name`);
  }
  const podUid = uid === none ? undefined : uid;
  const pod = podText === undefined ? undefined : { namespace, name };
  return { kind: 'record', record: { containerId, interfaceName, podUid, addresses, pod } };
}

function split(text: string): [string, string] {
  const at = text.indexOf('/');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Returns true for a CNI_CONTAINERID that the specification of CNI allows. */
export function isContainerId(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text);
}

/** Returns true for a name that the kernel accepts for an interface. */
export function isInterfaceName(text: string): boolean {
  const { length } = encodeUtf8(text);
  return length >= 1 && length <= 15 && text !== '.' && text !== '..' && !/[/:\s\0]/.test(text);
}

const fnvOffset = 0xcbf29ce484222325n;
const fnvPrime = 0x100000001b3n;

/**
 * Returns the name of the pod interface: `hd` and the lowest 52 bits of FNV-1a-64 over `CONTAINERID/IFNAME` as 13
 * hexadecimal digits. The CNI program computes it as well, to remove the interface while no agent runs.
 */
export function podInterfaceName(containerId: string, interfaceName: string): string {
  let hash = fnvOffset;
  for (const byte of encodeUtf8(`${containerId}/${interfaceName}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * fnvPrime);
  }
  return `hd${BigInt.asUintN(52, hash).toString(16).padStart(13, '0')}`;
}

/** Returns true for a name that `podInterfaceName` can return. */
export function isPodInterfaceName(name: string): boolean {
  return /^hd[0-9a-f]{13}$/.test(name);
}

/** Returns the link-layer address of the pod's end: a locally administered one that the name of the node's end determines. */
export function podMac(name: string): string {
  const digits = name.slice(-10);
  return `02:${[0, 2, 4, 6, 8].map((at) => digits.slice(at, at + 2)).join(':')}`;
}
