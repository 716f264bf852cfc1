import type { Addresses } from '@heddle/lab';
import type { ManifestObject } from '../node-network-lab.ts';
import type { PolicyCase } from './policy-case.ts';
import type { ContainerPort, PodSpec } from './policy-lab.ts';
import type { ServedPorts } from './prober.ts';
import { expectedProbes, type Service, type VerdictText } from './verdicts.ts';

// What the own cases of network policies have in common: the pods of two nodes, and the services that are probed.

export const ownPorts: ServedPorts = { TCP: [80, 443], UDP: [53], SCTP: [9000] };
const services: readonly Service[] = [
  ['TCP', 80],
  ['TCP', 443],
  ['UDP', 53],
  ['SCTP', 9000],
  ['ICMP', 0],
];
const http = (containerPort: number): ContainerPort[] => [
  { name: 'http', protocol: 'TCP', containerPort },
];

function pod(
  key: `${string}/${string}`,
  node: number,
  ports: readonly ContainerPort[],
  labels: Readonly<Record<string, string>> = {},
): PodSpec {
  const [namespace, name] = key.split('/') as [string, string];
  return { namespace, name, node, ports, labels: { app: name, ...labels } };
}

/** Two teams, an operator, and a process of each node. */
export const ownPods: readonly PodSpec[] = [
  pod('shop/web', 1, http(80), { stage: 'front' }),
  pod('shop/api', 2, http(80)),
  pod('shop/db', 1, http(443)),
  pod('lab/web', 2, http(80), { stage: 'front' }),
  pod('lab/job', 1, []),
  pod('ops/probe', 2, []),
  { ...pod('edge/gate-1', 1, []), hostNetwork: true },
  { ...pod('edge/gate-2', 2, []), hostNetwork: true },
];

const namespaces: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map<
  string,
  Readonly<Record<string, string>>
>([
  ['shop', { team: 'shop' }],
  ['lab', { team: 'lab' }],
  ['ops', { team: 'ops', trusted: 'yes' }],
  ['edge', { team: 'edge' }],
]);

interface OwnStep {
  readonly policies?: readonly ManifestObject[];
  readonly verdicts: readonly VerdictText[];
  /** Other labels of pods, by `namespace/name`. */
  readonly labels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Other labels of namespaces. */
  readonly namespaceLabels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Returns a case with the pods of `ownPods`, whose steps may have other labels. */
export function ownCase(title: string, ...steps: readonly OwnStep[]): PolicyCase {
  return {
    title,
    steps: steps.map(({ policies = [], verdicts, labels = {}, namespaceLabels = {} }) => ({
      namespaces: new Map([...namespaces, ...Object.entries(namespaceLabels)]),
      pods: ownPods.map((each) => {
        const other = labels[`${each.namespace}/${each.name}`];
        return other ? { ...each, labels: other } : each;
      }),
      policies,
      expected: expectedProbes(ownPods, services, verdicts),
    })),
  };
}

/** Returns the ranges of single addresses of a host. */
export const only = ({ v4, v6 }: Addresses) => [`${v4}/32`, `${v6}/128`];
/** The addresses of all pods. */
export const pods4 = '10.244.0.0/16';
export const pods6 = 'fd00:10:244::/48';
