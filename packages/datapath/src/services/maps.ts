import { formatEndpoint, formatIp } from '@heddle/sys';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import { protocolText } from '../core/protocols.ts';
import {
  addressKeyCodec,
  addressRole,
  affinityCodec,
  affinityKeyCodec,
  backendCodec,
  backendState,
  serviceAlgorithm,
  serviceCodec,
  serviceFlags,
  serviceKeyCodec,
  serviceScope,
  sourceRange,
  sourceRangeKeyCodec,
} from '../generated/abi.ts';

const algorithms: Readonly<Record<number, string>> = {
  [serviceAlgorithm.random]: 'random',
  [serviceAlgorithm.roundRobin]: 'round robin',
  [serviceAlgorithm.leastConnections]: 'least connections',
  [serviceAlgorithm.hash]: 'hash of the client',
};

const backendStates: Readonly<Record<number, string>> = {
  [backendState.gone]: 'gone',
  [backendState.active]: 'active',
  [backendState.draining]: 'draining',
};

const roles: readonly (readonly [role: number, text: string])[] = [
  [addressRole.service, "a service's address"],
  [addressRole.udpBackend, 'a backend of a UDP service'],
  [addressRole.node, "this node's own address"],
  [addressRole.external, "a service's external address"],
  [addressRole.peer, "another node's address, whose tunnels of services are accepted"],
  [addressRole.otherNode, "another node's address"],
];

/** The maps of services in the catalog. */
export const serviceMaps = {
  services: described(
    'frontends by address, port, protocol and scope',
    'both',
    { key: serviceKeyCodec, value: serviceCodec },
    ({ key, value }, names) => {
      const protocol = protocolText(key.protocol);
      const address = formatIp(key.address);
      const frontend = `${formatEndpoint(address, key.port)}/${protocol}`;
      const scope = key.scope === serviceScope.external ? ' for external packets' : '';
      if (!value) return `no service has ${frontend}${scope}`;
      const { id, slotCount, firstSlot, algorithm, affinitySeconds, flags } = value;
      const affinity = affinitySeconds > 0 ? `, affinity of ${affinitySeconds} s` : '';
      const slots =
        slotCount === 0
          ? 'no endpoints'
          : `${slotCount} ${slotCount === 1 ? 'slot' : 'slots'} (the first is ${firstSlot}), ${algorithms[algorithm] ?? algorithm}${affinity}`;
      const tunnel = (flags & serviceFlags.dsr) === 0 ? '' : ', tunnels to other nodes';
      const name = names.service(address, key.port, protocol) ?? id;
      return `${frontend} is a port of service ${name}${scope}: ${slots}${tunnel}`;
    },
  ),
  slots: described(
    'backends that services choose from, by slot',
    'agent',
    { key: wordCodec, value: wordCodec },
    ({ key, value }) =>
      value === undefined ? `there is no slot ${key}` : `slot ${key} has backend ${value}`,
  ),
  backends: described(
    'backends by id',
    'agent',
    { key: wordCodec, value: backendCodec },
    ({ key, value }) => {
      // Id 0 means no backend.
      if (!value || key === 0) return undefined;
      const endpoint = formatEndpoint(formatIp(value.address), value.port);
      return `backend ${key} is ${endpoint}, ${backendStates[value.state] ?? value.state}`;
    },
  ),
  backend_stats: undescribed('counters of backends by id', 'both'),
  addresses: described(
    'roles of addresses',
    'agent',
    { key: addressKeyCodec, value: wordCodec, isOfNode: false },
    ({ key, value }) => {
      const address = formatIp(key.address);
      if (value === undefined) return `${address} has no role`;
      const texts = roles.filter(([role]) => (value & role) !== 0).map(([, text]) => text);
      return `${address} is ${texts.join(' and ')}`;
    },
  ),
  address_filter: undescribed('Bloom filter of the addresses that have a role', 'agent'),
  affinity: described(
    'backends of clients of services with session affinity',
    'programs',
    { key: affinityKeyCodec, value: affinityCodec },
    ({ action, key, value }, { nowNs }) => {
      if (!value) return 'this client has no backend of the service yet';
      if (action === 'update') {
        return `the choice is remembered for this client: backend ${value.backend}`;
      }
      const seconds = Math.max(0, Math.round(Number(nowNs - value.lastUsed) / 1e9));
      return `this client had backend ${value.backend} of service ${key.service}, ${seconds} s ago`;
    },
  ),
  service_refused: undescribed('counts of what was refused, by service and reason', 'both'),
  source_ranges: described(
    'clients that loadBalancerSourceRanges allow, by frontend',
    'agent',
    { key: sourceRangeKeyCodec, value: wordCodec },
    ({ key, value }) => {
      const frontend = formatEndpoint(formatIp(key.frontend), key.port);
      const verb = value === sourceRange.allowed ? 'allows' : 'does not allow';
      return `${frontend} ${verb} the client ${formatIp(key.client)} (loadBalancerSourceRanges)`;
    },
  ),
  reply_sources: undescribed(
    'Bloom filter of the addresses and ports from which translated replies leave the node',
    'both',
  ),
} satisfies Record<string, MapDescription>;
