import { type ObjectSpec, resizeMap, setVariable } from '@heddle/ebpf';
import {
  type DatapathOptions,
  type DatapathSizes,
  hasPolicy,
  type PodNetworkOptions,
} from './datapath-options.ts';
import {
  crc32cPowersSize,
  encodeCrc32cPowers,
  encodeNodeConfig,
  encodePodConfig,
  encodeSocketConfig,
  heddleAbi,
  type KernelFields,
  nodeConfigSize,
  podConfigSize,
  podKind,
  socketConfigSize,
} from './generated/abi.ts';
import { crc32cPowers } from './nat/crc32c.ts';
import { portStride, ticksOf, timeoutTicks, unansweredLimit } from './nat/flow-options.ts';
import { ratePlaces } from './pods/pod-rates.ts';
import { macBytes, podGatewayMac, podPlaces } from './pods/pod-tables.ts';
import { policyPortWords } from './policy/port-classes.ts';
import { defaultPolicySizes } from './policy/sizes.ts';
import { policyRules } from './policy/vectors.ts';

/** Returns the object of socket programs with constants and sizes by the options and the kernel. */
export function configuredSocket(
  spec: ObjectSpec,
  { sizes, netnsCookie, network, socketLB }: DatapathOptions,
  kernel: KernelFields,
): ObjectSpec {
  const config = new Uint8Array(socketConfigSize);
  const abi = heddleAbi.currentAbi;
  const localCubic = network?.localCongestionControl === 'cubic' ? 1 : 0;
  const nodeOnly = socketLB === 'hostNamespaceOnly' ? 1 : 0;
  encodeSocketConfig({ nodeNetnsCookie: netnsCookie, abi, localCubic, nodeOnly, kernel }, config);
  const whole = setVariable(sized(spec, sizes, network), 'config', config);
  return setVariable(whole, 'pod_config', podConfig(network));
}

/** Returns an object of programs at network interfaces, for tc or XDP, with constants and sizes by the options. */
export function configuredNode(
  spec: ObjectSpec,
  { platform, sizes, nat, network }: DatapathOptions,
): ObjectSpec {
  const config = new Uint8Array(nodeConfigSize);
  const { first, last } = nat.ports;
  encodeNodeConfig(
    {
      flows: sizes.flows,
      unconfirmedLimit: unansweredLimit(sizes.flows),
      firstPort: first,
      portCount: last - first + 1,
      portStride: portStride(last - first + 1),
      tunnelAge: ticksOf(nat.tunnelAfter),
      timeouts: timeoutTicks(nat.timeouts),
      cacheKey: [...new BigUint64Array(platform.randomBytes(16).slice().buffer)],
      visibility: network?.visibility ? 1 : 0,
    },
    config,
  );
  const powers = new Uint8Array(crc32cPowersSize);
  encodeCrc32cPowers({ bits: crc32cPowers() }, powers);
  const variables = { config, crc32c_powers: powers, pod_config: podConfig(network) };
  return Object.entries(variables).reduce(
    (into, [name, value]) => setVariable(into, name, value),
    sized(spec, sizes, network),
  );
}

/** Returns an object of pod programs, as `configuredNode` makes it, for interfaces of netkit. */
export function configuredNetkit(spec: ObjectSpec, { network }: DatapathOptions): ObjectSpec {
  return setVariable(spec, 'pod_config', podConfig(network, 'netkit'));
}

function podConfig(
  network: PodNetworkOptions | undefined,
  kind: keyof typeof podKind = 'veth',
): Uint8Array {
  const config = new Uint8Array(podConfigSize);
  if (!network) return config;
  encodePodConfig(
    {
      ...{ places: podPlaces, devicePlaces: podPlaces, enabled: 1 },
      tunnelPort: network.tunnelPort,
      gatewayMac: macBytes(podGatewayMac),
      kind: podKind[kind],
    },
    config,
  );
  return config;
}

/** Returns the sizes of the maps that grow with the number of frontends. */
export function frontendMaps({ services, backends }: DatapathSizes) {
  return { services, addresses: services + backends };
}

/** Returns an object whose maps have room for the number of frontends in `sizes`. */
export function withFrontends(spec: ObjectSpec, sizes: DatapathSizes): ObjectSpec {
  return Object.entries(frontendMaps(sizes)).reduce(
    (into, [name, count]) => resizeMap(into, name, count),
    spec,
  );
}

/** Returns an object with maps of these sizes. Each object has all of them. */
function sized(
  spec: ObjectSpec,
  sizes: DatapathSizes,
  network: PodNetworkOptions | undefined,
): ObjectSpec {
  const hasPods = network !== undefined;
  const entries: Readonly<Record<string, number>> = {
    ...frontendMaps(sizes),
    backends: sizes.backends,
    backend_stats: sizes.backends,
    slots: sizes.slots,
    affinity: sizes.affinity,
    nat_flows: sizes.flows,
    nat_index: Math.ceil(sizes.flows / 4),
    nat_windows: sizes.flows,
    nat_facts: network?.visibility ? sizes.flows : 1,
    nat_evictable: Math.ceil(sizes.flows / 8),
    pods: hasPods ? podPlaces : 1,
    pod_devices: hasPods ? podPlaces : 1,
    pod_rates: hasPods ? ratePlaces : 1,
    ...policySizes(sizes, network),
  };
  return Object.entries(entries).reduce(
    (into, [name, count]) => resizeMap(into, name, count),
    spec,
  );
}

/** Returns the sizes of the maps of network policies: 1 where there are none. */
function policySizes(
  {
    policySubjects,
    policyPeers,
    policyRanges,
    policyPeerClasses,
    policyPortClasses,
    policyNames = defaultPolicySizes.policyNames,
    policyGrants = defaultPolicySizes.policyGrants,
  }: DatapathSizes,
  network: PodNetworkOptions | undefined,
): Record<string, number> {
  const wanted: Record<string, number> = {
    policy_rules: policyRules,
    policy_ports: policyPortWords,
    policy_subjects: policySubjects ?? defaultPolicySizes.policySubjects,
    policy_peers: policyPeers ?? defaultPolicySizes.policyPeers,
    policy_ranges: policyRanges ?? defaultPolicySizes.policyRanges,
    peer_vectors: policyPeerClasses ?? defaultPolicySizes.policyPeerClasses,
    port_vectors: policyPortClasses ?? defaultPolicySizes.policyPortClasses,
    policy_names: policyNames,
    name_classes: policyNames,
    policy_grants: policyGrants,
  };
  // The fixed classes and subjects always have room.
  const least = 8;
  if (hasPolicy(network)) {
    return Object.fromEntries(
      Object.entries(wanted).map(([name, size]) => [name, Math.max(size, least)]),
    );
  }
  return Object.fromEntries(Object.keys(wanted).map((name) => [name, 1]));
}
