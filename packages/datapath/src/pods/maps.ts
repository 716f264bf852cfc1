import { formatIp } from '@heddle/sys';
import { described, type MapDescription, wordCodec } from '../core/map-description.ts';
import { type PodRates, podCodec, podDeviceCodec, podRatesCodec } from '../generated/abi.ts';

/** The maps of pods in the catalog. */
export const podMaps = {
  pods: described(
    'pods of this node by address',
    'agent',
    { key: wordCodec, value: podCodec, isOfNode: true },
    ({ value }, { networkInterface }) =>
      value && value.ifindex !== 0
        ? `${formatIp(value.address)} is a pod of this node at ${networkInterface(value.ifindex)}`
        : undefined,
  ),
  pod_devices: described(
    'pod interfaces of this node by index',
    'agent',
    { key: wordCodec, value: podDeviceCodec, isOfNode: true },
    ({ value }, { networkInterface }) =>
      value && value.ifindex !== 0
        ? `${networkInterface(value.ifindex)} is the interface of the pod ${addressText(value)}`
        : undefined,
  ),
  pod_rates: described(
    'limits of what pods send and receive',
    'both',
    { key: wordCodec, value: podRatesCodec, isOfNode: true },
    ({ value }) => value && limitsText(value),
  ),
} satisfies Record<string, MapDescription>;

function addressText({ ipv4, ipv6 }: { readonly ipv4: Uint8Array; readonly ipv6: Uint8Array }) {
  return [ipv4, ipv6]
    .filter((address) => address.some((byte) => byte !== 0))
    .map(formatIp)
    .join(' and ');
}

function limitsText({ egress, ingress, isPaced }: PodRates): string | undefined {
  const parts = [
    ['sends', egress.bytesPerSecond],
    ['receives', ingress.bytesPerSecond],
  ] as const;
  const limits = parts
    .filter(([, rate]) => rate !== 0n)
    .map(([verb, rate]) => `${verb} ${rate * 8n} bits per second at most`);
  if (limits.length === 0) return undefined;
  return `a pod ${limits.join(' and ')}, by ${isPaced ? 'departure times and drops' : 'drops'}`;
}
