import { exitCodes, Failure } from '@heddle/control/failure';
import type { Family, Protocol, ServicePort, ServiceRecord } from '@heddle/objects';
import { keyOfText } from './addresses.ts';
import type { TrafficStep } from './scenario.ts';

/** Where clients of a service's port go to. */
export interface Target {
  /** Key of the service's row. */
  readonly row: string;
  /** 16 bytes as text; undefined: a NodePort, at the address of whichever node. */
  readonly address: string | undefined;
  readonly port: number;
  readonly protocol: number;
  readonly isIpv4: boolean;
}

/** Kinds of frontends that services have; hostPorts are of pods. */
type AimedKind = NonNullable<TrafficStep['frontend']>;

const protocolNumbers: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
/** The frontend for external packets, if there are several; sockets in the cluster use the ClusterIP. */
const outsideOrder: readonly AimedKind[] = ['LoadBalancer', 'ExternalIP', 'NodePort', 'ClusterIP'];
const familyOf = (address: string): Family => (address.includes(':') ? 'IPv6' : 'IPv4');

/** The target that a traffic step means at a service. Throws Failure when the service has none. */
export function targetOf(service: ServiceRecord, step: TrafficStep): Target {
  const name = `${service.namespace}/${service.name}`;
  const refuse = (why: string): never => {
    throw new Failure(exitCodes.failed, `simulate: traffic to ${name}: ${why}`);
  };
  const port = choosePort(service, step);
  if (!port) {
    const ports = service.ports.map(
      (each) => `${each.name || each.port}/${each.protocol.toLowerCase()}`,
    );
    return refuse(`it has no such port (it has ${ports.join(', ') || 'none'})`);
  }
  if (port.protocol === 'SCTP') return refuse('SCTP is not simulated');
  const addresses: Readonly<Record<AimedKind, readonly string[]>> = {
    ClusterIP: service.clusterIPs,
    LoadBalancer: service.loadBalancerIPs,
    ExternalIP: service.externalIPs,
    // The families of its ClusterIPs; the address is a node's.
    NodePort: port.nodePort === 0 ? [] : service.clusterIPs,
  };
  const wanted = step.frontend
    ? [step.frontend]
    : step.from === 'outside'
      ? outsideOrder
      : ['ClusterIP' as const];
  for (const kind of wanted) {
    const address = addresses[kind].find((each) => !step.family || familyOf(each) === step.family);
    if (address === undefined) continue;
    if (kind === 'NodePort' && step.from !== 'outside') {
      return refuse('NodePorts are for external traffic here (write frontend: ClusterIP)');
    }
    const family = familyOf(address);
    return {
      row: `${name}:${port.name || port.port}/${port.protocol}/${family}`,
      address: kind === 'NodePort' ? undefined : keyOfText(address),
      port: kind === 'NodePort' ? port.nodePort : port.port,
      protocol: protocolNumbers[port.protocol],
      isIpv4: family === 'IPv4',
    };
  }
  const family = step.family ? `${step.family} ` : '';
  return refuse(`it has no ${family}${wanted.join(' or ')} address`);
}

function choosePort(
  service: ServiceRecord,
  { port, protocol }: TrafficStep,
): ServicePort | undefined {
  return service.ports.find(
    (each) =>
      (port === undefined || each.name === port || String(each.port) === port) &&
      (protocol === undefined || each.protocol.toLowerCase() === protocol),
  );
}
