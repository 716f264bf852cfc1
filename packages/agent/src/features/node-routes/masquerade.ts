import { familyOf } from '@heddle/objects';
import type { RemoteNode } from '@heddle/routes';
import type { EffectiveConfig } from '../../status.ts';

/** The choice which destinations outside see an address of the node instead of the pod's. */
export interface MasqueradeChoice {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly exclusions: readonly string[];
  /** Ranges that see the node's address, whatever their family has. An exclusion of the same range prevails. */
  readonly always: readonly string[];
}

/**
 * Returns which destinations see the addresses of pods: all pods, the configured ranges, and the nodes that are
 * reached directly. A node behind a tunnel has no path to reply to a pod's address but the tunnel, so it sees the
 * node's address.
 */
export function masqueradeChoice(
  { masquerade, nonMasqueradeCIDRs }: Pick<EffectiveConfig, 'masquerade' | 'nonMasqueradeCIDRs'>,
  ownRanges: readonly string[],
  nodes: Iterable<RemoteNode>,
): MasqueradeChoice {
  const others = [...nodes];
  return {
    ipv4: masquerade !== 'none',
    ipv6: masquerade === 'both',
    always: others.flatMap((node) => addressRanges(node, 'tunnel')),
    exclusions: [
      ...new Set([
        ...nonMasqueradeCIDRs,
        ...ownRanges,
        ...others.flatMap(({ ranges }) => ranges),
        ...others.flatMap((node) => addressRanges(node, 'direct')),
      ]),
    ],
  };
}

/** Returns the addresses of a node of the families whose path has this mode, as ranges; of tunnels all addresses. */
function addressRanges(
  { addresses, further = [], paths }: RemoteNode,
  mode: 'direct' | 'tunnel',
): string[] {
  return [...addresses, ...(mode === 'tunnel' ? further : [])]
    .filter((address) =>
      paths.some((path) => path.mode === mode && path.family === familyOf(address)),
    )
    .map((address) => `${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`);
}
