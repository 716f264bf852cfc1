import { type ObjectSpec, resizeMap, setVariable } from '@heddle/ebpf';
import type { DatapathOptions, DatapathSizes } from './datapath-options.ts';
import {
  crc32cPowersSize,
  encodeCrc32cPowers,
  encodeNodeConfig,
  encodeSocketConfig,
  heddleAbi,
  type KernelFields,
  nodeConfigSize,
  socketConfigSize,
} from './generated/abi.ts';
import { crc32cPowers } from './nat/crc32c.ts';
import { portStride, ticksOf, timeoutTicks, unansweredLimit } from './nat/flow-options.ts';

/** Returns the object of socket programs with constants and sizes by the options and the kernel. */
export function configuredSocket(
  spec: ObjectSpec,
  { sizes, netnsCookie }: DatapathOptions,
  kernel: KernelFields,
): ObjectSpec {
  const config = new Uint8Array(socketConfigSize);
  const abi = heddleAbi.currentAbi;
  encodeSocketConfig({ nodeNetnsCookie: netnsCookie, abi, reserved: 0, kernel }, config);
  return setVariable(sized(spec, sizes), 'config', config);
}

/** Returns an object of programs at network interfaces, for tc or XDP, with constants and sizes by the options. */
export function configuredNode(spec: ObjectSpec, { sizes, nat }: DatapathOptions): ObjectSpec {
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
    },
    config,
  );
  const powers = new Uint8Array(crc32cPowersSize);
  encodeCrc32cPowers({ bits: crc32cPowers() }, powers);
  const whole = setVariable(sized(spec, sizes), 'config', config);
  return setVariable(whole, 'crc32c_powers', powers);
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
function sized(spec: ObjectSpec, sizes: DatapathSizes): ObjectSpec {
  const entries: Readonly<Record<string, number>> = {
    ...frontendMaps(sizes),
    backends: sizes.backends,
    backend_stats: sizes.backends,
    slots: sizes.slots,
    affinity: sizes.affinity,
    nat_flows: sizes.flows,
    nat_index: Math.ceil(sizes.flows / 4),
    nat_windows: sizes.flows,
    nat_evictable: Math.ceil(sizes.flows / 8),
  };
  return Object.entries(entries).reduce(
    (into, [name, count]) => resizeMap(into, name, count),
    spec,
  );
}
