import { canonicalAddress } from './addresses.ts';
import { readPodCIDRs } from './annotations.ts';
import { readRanges } from './field-values.ts';
import { labelValue, readLabels } from './labels.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import type { NodeRecord } from './records.ts';
import { type NodeObject, zoneLabel } from './schema.ts';

/** The taint that the cluster autoscaler sets on a node before it removes the node. */
const leavingTaint = 'ToBeDeletedByClusterAutoscaler';

/** Returns the record of a Node. Throws FieldError. */
export function readNode({ metadata, spec, status }: NodeObject): NodeRecord {
  const labels = readLabels(metadata.labels);
  const addresses = new Set<string>();
  const nodeIPs = new Set<string>();
  for (const { type, address } of status?.addresses ?? []) {
    // The same list has host names and DNS names.
    const canonical = canonicalAddress(address);
    if (canonical === undefined) continue;
    addresses.add(canonical);
    if (type === 'InternalIP' || type === 'ExternalIP') nodeIPs.add(canonical);
  }
  const { podCIDR, podCIDRs } = spec ?? {};
  const assigned = podCIDRs && podCIDRs.length > 0 ? podCIDRs : podCIDR ? [podCIDR] : [];
  const extra = readPodCIDRs(metadata.annotations ?? {});
  return {
    kind: 'node',
    namespace: '',
    name: ownText(metadata.name),
    zone: sharedText(labelValue(labels, zoneLabel) ?? ''),
    labels,
    addresses: compactList([...addresses]),
    nodeIPs: compactList([...nodeIPs]),
    podCIDRs: compactList([
      ...new Set([...readRanges('spec.podCIDRs', assigned), ...extra.ranges]),
    ]),
    problems: compactList(extra.problems),
    leaving:
      typeof metadata.deletionTimestamp === 'string' ||
      (spec?.taints ?? []).some(({ key }) => key === leavingTaint),
  };
}
