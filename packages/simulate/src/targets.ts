import { exitCodes, Failure } from '@heddle/control/failure';
import type { Family, Protocol, ServicePort, ServiceRecord } from '@heddle/objects';
import { keyOfText } from './addresses.ts';
import type { TrafficStep } from './scenario.ts';

/** The destination of the clients of a service port. */
export interface Target {
  /** The key of the service's row. */
  readonly row: string;
  /** 16 bytes as text; undefined for a NodePort, which clients use at any node's address. */
  readonly address: string | undefined;
  readonly port: number;
  readonly protocol: number;
  readonly isIpv4: boolean;
}

/** The kinds of frontends that services have. */
type ServiceFrontendKind = NonNullable<TrafficStep['frontend']>;

const protocolNumbers: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
/** The order in which external clients prefer frontends; pods and nodes use the ClusterIP. */
const externalPreference: readonly ServiceFrontendKind[] = [
  'LoadBalancer',
  'ExternalIP',
  'NodePort',
  'ClusterIP',
];
const familyOf = (address: string): Family => (address.includes(':') ? 'IPv6' : 'IPv4');

/** Returns the target of a traffic step at a service. Throws Failure if the service has none. */
export function targetOf(service: ServiceRecord, step: TrafficStep): Target {
  const name = `${service.namespace}/${service.name}`;
  const refuse = (reason: string): never => {
    throw new Failure(exitCodes.failed, `simulate: traffic to ${name}: ${reason}`);
  };
  const port = choosePort(service, step);
  if (!port) {
    const ports = service.ports.map(
      (each) => `${each.name || each.port}/${each.protocol.toLowerCase()}`,
    );
    return refuse(`it has no such port (it has ${ports.join(', ') || 'none'})`);
  }
  if (port.protocol === 'SCTP') return refuse('SCTP is not simulated');
  const addresses: Readonly<Record<ServiceFrontendKind, readonly string[]>> = {
    ClusterIP: service.clusterIPs,
    LoadBalancer: service.loadBalancerIPs,
    ExternalIP: service.externalIPs,
    // Only the families of the ClusterIPs matter; the address is a node's.
    NodePort: port.nodePort === 0 ? [] : service.clusterIPs,
  };
  const wanted = step.frontend
    ? [step.frontend]
    : step.from === 'outside'
      ? externalPreference
      : ['ClusterIP' as const];
  for (const kind of wanted) {
    const address = addresses[kind].find((each) => !step.family || familyOf(each) === step.family);
    if (address === undefined) continue;
    if (kind === 'NodePort' && step.from !== 'outside') {
      return refuse('simulated NodePorts take external traffic only (write frontend: ClusterIP)');
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
