import { formatIp } from '@heddle/sys';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import {
  ctBucketCodec,
  ctEntryCodec,
  ctFactsCodec,
  ctTableCodec,
  fragmentKeyCodec,
  fragmentPortsCodec,
  narrowPathCodec,
  snatAddressCodec,
  tunnelBackendKeyCodec,
  tupleCodec,
} from '../generated/abi.ts';
import { flowText } from './flows.ts';

/** The maps of the flow table and of address translation in the catalog. */
export const natMaps = {
  nat_table: described(
    'the state of the flow table, and options of the programs',
    'both',
    { key: wordCodec, value: ctTableCodec, isOfNode: true },
    ({ value }) =>
      value && `the flow table has ${value.used} flows, ${value.unconfirmed} of them unconfirmed`,
  ),
  nat_flows: described(
    'flows by number',
    'programs',
    { key: wordCodec, value: ctEntryCodec },
    ({ key, value }) =>
      value && value.stateWord !== 0 ? `flow ${key} is ${flowText(value)}` : undefined,
  ),
  nat_index: described(
    'numbers of flows by a hash of their tuples',
    'programs',
    { key: wordCodec, value: ctBucketCodec },
    ({ value }) => value && bucketText(value.slots),
  ),
  nat_windows: undescribed('TCP sequence windows of flows by number', 'programs'),
  nat_facts: described(
    'packets and bytes of flows by number, with the setting visibility',
    'programs',
    { key: wordCodec, value: ctFactsCodec },
    ({ key, value }) => {
      if (!value || value.created === 0n) return undefined;
      const [client, backend] = value.packets;
      return `flow ${key} has ${client} packets of the client and ${backend} of the backend`;
    },
  ),
  nat_evictable: undescribed('flows that may be evicted', 'programs'),
  nat_shares: undescribed('shares of services and clients of the flow table', 'programs'),
  nat_held: undescribed('shares of pods of the flow table and of SNAT ports', 'programs'),
  nat_timer: undescribed('the timer of the garbage collection', 'programs'),
  nat_sources: described(
    'SNAT addresses of the node by index',
    'agent',
    { key: wordCodec, value: snatAddressCodec, isOfNode: true },
    // Index 0 means no address.
    ({ key, value }) =>
      value && key !== 0
        ? `${formatIp(value.address)} is an SNAT address of this node (number ${key})`
        : undefined,
  ),
  port_searches: undescribed('where searches for free SNAT ports continue', 'programs'),
  stack_answers: described(
    "tuples of replies to what the node's own stack has sent",
    'programs',
    { key: tupleCodec, value: wordCodec },
    ({ value }) =>
      value === undefined
        ? "the node's stack has sent nothing that this could answer"
        : "it answers what the node's stack sent, or a pod that it masquerades",
  ),
  tunnel_backends: described(
    'backends of tunnelled packets',
    'programs',
    { key: tunnelBackendKeyCodec, value: wordCodec },
    ({ key, value }) => {
      const address = formatIp(key.address);
      return value === undefined
        ? `the backend of service ${key.service} with the address ${address} is to be searched`
        : `${address} is backend ${value} of service ${key.service}`;
    },
  ),
  narrow_paths: described(
    'tunnels whose path MTU is too small',
    'programs',
    { key: narrowPathCodec, value: wordCodec },
    ({ key, value }) =>
      value === undefined
        ? undefined
        : `the path MTU of the tunnel from ${formatIp(key.client)} to ${formatIp(key.backend)} was too small`,
  ),
  fragments: described(
    'ports of fragmented packets',
    'programs',
    { key: fragmentKeyCodec, value: fragmentPortsCodec },
    ({ value }) =>
      value
        ? `the fragment's ports are ${value.sourcePort} and ${value.destinationPort}`
        : 'the first fragment of the packet was not seen',
  ),
  early_fragments: undescribed('fragments that arrived before the first one', 'programs'),
  known_flows: undescribed('the flow cache of each CPU', 'programs', { isDumped: false }),
  answer_budget: undescribed('resets and ICMP errors that each CPU may still send', 'programs'),
} satisfies Record<string, MapDescription>;

/** Returns a text about the flows whose tuples may have the hash of a bucket. */
function bucketText(slots: readonly bigint[]): string {
  const flows = slots.flatMap((slot) => {
    const reference = Number(slot & 0xffff_ffffn);
    if (reference === 0) return [];
    return `flow ${reference >>> 1}${reference & 1 ? ', as a reply' : ''}`;
  });
  return flows.length === 0
    ? 'it belongs to no flow'
    : `it may belong to ${flows.join(', or to ')}`;
}
