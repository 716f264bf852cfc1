import { ManifestSet } from '@heddle/agent/source';
import { type ServiceInput, serviceReader } from '@heddle/objects';
import { encodeUtf8 } from '@heddle/sys';
import type { SimulationReport } from '../src/report.ts';
import { readScenario } from '../src/scenario.ts';
import { simulate } from '../src/simulation.ts';

/** Returns the objects in manifests. */
export function objectsOf(manifests: string): ServiceInput[] {
  const set = new ManifestSet(serviceReader);
  set.accept('test.yaml', set.parse('test.yaml', encodeUtf8(manifests)));
  const [problem] = set.problems();
  if (problem) throw new Error(`read manifests: line ${problem.line}: ${problem.message}`);
  return set.takeChanges().flatMap((change) => (change.op === 'set' ? [change.object] : []));
}

/** Runs a scenario with the services of manifests. */
export function runScenario(manifests: string, scenario: string): SimulationReport {
  return simulate(readScenario('test.yaml', scenario), objectsOf(manifests));
}

export interface ServiceText {
  readonly algorithm?: string;
  /** Additional lines of the spec. */
  readonly spec?: string;
  readonly type?: string;
}

/** Returns the manifest of service `web` at 192.0.2.80 and 10.96.0.20, TCP 80 and UDP 443. */
export function webService({
  algorithm = 'random',
  spec = '',
  type = 'LoadBalancer',
}: ServiceText = {}): string {
  return `
apiVersion: v1
kind: Service
metadata: { name: web, annotations: { heddle.io/algorithm: ${algorithm} } }
spec:
  type: ${type}
  clusterIPs: [10.96.0.20, "fd00:10:96::20"]
  ports:
    - { name: http, port: 80, nodePort: 30080 }
    - { name: quic, port: 443, protocol: UDP, nodePort: 30443 }
  ${spec}
status: { loadBalancer: { ingress: [{ ip: 192.0.2.80 }, { ip: "2001:db8:80::1" }] } }
`;
}
