import { formatIp } from '@heddle/sys';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import { addressKeyCodec } from '../generated/abi.ts';

/** The maps of network policies in the catalog. */
export const policyMaps = {
  policy_state: undescribed('the state of network policies as a whole', 'agent'),
  policy_rules: undescribed('rules of network policies, and the connections they decided', 'both'),
  policy_subjects: undescribed('the rules that select a pod, in one direction', 'both'),
  policy_peers: described(
    'classes of addresses that are peers of rules',
    'agent',
    { key: addressKeyCodec, value: wordCodec },
    ({ key, value }) =>
      value === undefined
        ? `${formatIp(key.address)} is named by no rule of a policy`
        : `${formatIp(key.address)} is a peer of the rules of class ${value}`,
  ),
  policy_ranges: undescribed('classes of ranges of addresses that are peers', 'agent'),
  peer_vectors: undescribed('the rules of each class of peers', 'agent'),
  policy_ports: undescribed('classes of ports that rules name', 'agent'),
  port_vectors: undescribed('the rules of each class of ports', 'agent'),
  policy_verdicts: undescribed('verdicts about connections', 'programs', { isDumped: false }),
} satisfies Record<string, MapDescription>;
