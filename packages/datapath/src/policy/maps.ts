import { formatIp } from '@heddle/sys';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import {
  addressKeyCodec,
  dnsGrantsCodec,
  dnsNameCodec,
  dnsNameKeyCodec,
  type PolicyRule,
  policyAction,
  policyRuleCodec,
  policySubjectCodec,
} from '../generated/abi.ts';
import { subjectFlags } from './constants.ts';
import { nameOf } from './name-key.ts';

/** The maps of network policies in the catalog. */
export const policyMaps = {
  policy_state: undescribed('the state of network policies as a whole', 'agent'),
  policy_rules: described(
    'rules of network policies, and the connections they decided',
    'both',
    { key: wordCodec, value: policyRuleCodec },
    ({ key, value }, { policyRule }) => {
      const name = policyRule(key);
      return `rule ${key}${name === undefined ? '' : ` (${name})`} ${actionText(value)}`;
    },
  ),
  policy_subjects: described(
    'the rules that select a pod, in one direction',
    'both',
    { key: wordCodec, value: policySubjectCodec },
    ({ key, value }) => `subject ${key}: ${subjectText(value?.flags)}`,
  ),
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
  policy_names: described(
    'names of hosts that rules have',
    'agent',
    { key: dnsNameKeyCodec, value: dnsNameCodec },
    ({ key, value }) => {
      if (!value) return undefined;
      const bytes = new Uint8Array(dnsNameKeyCodec.size);
      dnsNameKeyCodec.encode(key, bytes);
      return `a rule names ${nameOf(bytes)}`;
    },
  ),
  name_classes: undescribed('the class of peers of each name', 'agent'),
  policy_grants: described(
    'addresses of hosts that rules name, from answers of name servers',
    'programs',
    { key: addressKeyCodec, value: dnsGrantsCodec },
    ({ key, value }) =>
      value === undefined
        ? `${formatIp(key.address)} is of no host that a rule names`
        : `${formatIp(key.address)} is of a host that a rule names`,
  ),
  dns_resolvers: described(
    'name servers whose answers count',
    'agent',
    { key: addressKeyCodec, value: wordCodec },
    ({ key, value }) =>
      value === undefined
        ? `the answers of ${formatIp(key.address)} do not count`
        : `the answers of ${formatIp(key.address)} count`,
  ),
  dns_state: undescribed('the state of names of hosts as a whole', 'agent'),
  dns_events: undescribed('counts of answers of name servers', 'programs'),
  dns_scratch: undescribed('the answer of a name server that a program reads', 'programs', {
    isDumped: false,
  }),
  dns_answers: undescribed('answers of name servers to pods, while they are watched', 'programs', {
    isDumped: false,
  }),
  dns_copier: undescribed('the answer of a name server that a program copies', 'programs', {
    isDumped: false,
  }),
  peer_names: undescribed('the names of the peer that a program decides about', 'programs', {
    isDumped: false,
  }),
  policy_verdicts: undescribed('verdicts about connections', 'programs', { isDumped: false }),
} satisfies Record<string, MapDescription>;

function actionText(rule: Pick<PolicyRule, 'action'> | undefined): string {
  switch (rule?.action) {
    case policyAction.allow:
      return 'allows';
    case policyAction.pass:
      return 'passes to the next tier';
    case policyAction.deny:
      return 'denies';
    default:
      return 'is not programmed';
  }
}

/** Returns what the flags of a subject mean for its pods. */
function subjectText(flags: number | undefined): string {
  if (flags === undefined) return 'not programmed, so everything is denied';
  if ((flags & subjectFlags.closed) !== 0) {
    return 'a policy of the pod is not programmed, so everything is denied';
  }
  return (flags & subjectFlags.isolated) !== 0
    ? 'NetworkPolicies isolate the pod'
    : 'no NetworkPolicy isolates the pod';
}
