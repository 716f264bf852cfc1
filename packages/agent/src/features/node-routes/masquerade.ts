import { familyOf } from '@heddle/objects';
import type { RemoteNode } from '@heddle/routes';
import type { EffectiveConfig } from '../../status.ts';

/** The choice which destinations outside see an address of the node instead of the pod's. */
export interface MasqueradeChoice {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly exclusions: readonly string[];
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
    exclusions: [
      ...new Set([
        ...nonMasqueradeCIDRs,
        ...ownRanges,
        ...others.flatMap(({ ranges }) => ranges),
        ...others.flatMap(directAddresses),
      ]),
    ],
  };
}

function directAddresses({ addresses, paths }: RemoteNode): string[] {
  return addresses
    .filter((address) =>
      paths.some(({ family, mode }) => mode === 'direct' && family === familyOf(address)),
    )
    .map((address) => `${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`);
}
