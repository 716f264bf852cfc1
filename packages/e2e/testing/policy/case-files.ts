import { readFileSync } from 'node:fs';
import type { ManifestObject } from '../node-network-lab.ts';
import { dualStack } from './dual-stack.ts';
import {
  type ExpectedProbe,
  type PolicyCase,
  type PolicyStep,
  probesOfTable,
  type ReachTable,
} from './policy-case.ts';
import { type ContainerPort, type PodSpec, podKey } from './policy-lab.ts';
import type { ProbeProtocol, ServedPorts } from './prober.ts';

// Readers of files with recorded cases of network policies, which are not part of this project. Each step of a
// case becomes the whole state after it.

/** A file's cases, and what the lab must have to play them. */
export interface CaseFile {
  readonly cases: readonly PolicyCase[];
  /** Pods that most cases have, with the IPv4 addresses that ranges in their policies count on. */
  readonly pods: readonly {
    readonly spec: PodSpec;
    readonly address?: string;
    readonly ports?: ServedPorts;
  }[];
  readonly ports: ServedPorts;
}

interface FilePod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ip: string;
  readonly node?: string;
  readonly hostNetwork?: boolean;
}

type FilePolicy = ManifestObject & { readonly metadata: { readonly namespace?: string } };
type Labels = Readonly<Record<string, string>>;
/** The addresses that pods of a file have in the lab, by the address in the file. */
export type AddressesOf = (pod: string) => { readonly v4: string; readonly v6: string } | undefined;

const nodeNumber = ({ ip, node }: FilePod) =>
  Number(node ? /\d+$/.exec(node)![0] : ip.split('.')[2]);
const protocols = ['TCP', 'UDP', 'SCTP'] as const;
const servedPorts = [80, 81];
const eightyAndNext: ContainerPort[] = protocols.flatMap((protocol) =>
  servedPorts.map((port) => ({
    name: `serve-${port}-${protocol.toLowerCase()}`,
    protocol,
    containerPort: port,
  })),
);

function specOf(pod: FilePod, ports: readonly ContainerPort[]): PodSpec {
  const { namespace, name, labels, hostNetwork = false } = pod;
  return { namespace, name, labels, node: nodeNumber(pod), ports, hostNetwork };
}

function read<Content>(path: string): Content {
  return JSON.parse(readFileSync(path, 'utf8')) as Content;
}

interface TruthTables {
  readonly cases: readonly {
    readonly id: number;
    readonly description: string;
    readonly steps: readonly {
      readonly actions: readonly { readonly kind: string; readonly policy?: FilePolicy }[];
      readonly namespaces: Readonly<Record<string, Labels>>;
      readonly pods: readonly FilePod[];
      /** `namespace/name`. */
      readonly policies: readonly string[];
      readonly podOrder: readonly string[];
      /** By `PROTOCOL/PORT`; a port may have a name. */
      readonly expected: Readonly<Record<string, ReachTable>>;
    }[];
  }[];
}

/** Reads tables of who reaches whom after each step. */
export function readTruthTables(path: string): (addressesOf: AddressesOf) => CaseFile {
  const file = read<TruthTables>(path);
  const pods = file.cases[0]!.steps[0]!.pods;
  return () => {
    const cases = file.cases.map(({ id, description, steps }): PolicyCase => {
      const known = new Map<string, FilePolicy>();
      return {
        title: `${id} ${description}`,
        steps: steps.map((step): PolicyStep => {
          for (const { policy } of step.actions)
            if (policy) known.set(podKey(policy.metadata as never), policy);
          return {
            namespaces: new Map(Object.entries(step.namespaces)),
            pods: step.pods.map((pod) => specOf(pod, eightyAndNext)),
            policies: step.policies.map((key) => dualStack(known.get(key)!, new Map())),
            expected: Object.entries(step.expected).flatMap(([what, table]) => {
              const [protocol, port] = what.split('/') as [ProbeProtocol, string];
              const number = Number(/\d+/.exec(port)![0]);
              return probesOfTable(table, step.podOrder, protocol, number);
            }),
          };
        }),
      };
    });
    const byAddress = [...pods].sort(
      (a, b) => Number(a.ip.split('.')[3]) - Number(b.ip.split('.')[3]),
    );
    return {
      cases,
      pods: byAddress.map((pod) => ({ spec: specOf(pod, eightyAndNext), address: pod.ip })),
      ports: { TCP: servedPorts, UDP: servedPorts, SCTP: servedPorts },
    };
  };
}

interface Specs {
  readonly cases: readonly {
    readonly id: number;
    readonly description: string;
    readonly namespaces: Readonly<Record<string, Labels>>;
    readonly pods: readonly FilePod[];
    readonly steps: readonly {
      readonly op: string;
      readonly policy?: FilePolicy;
      readonly namespace?: string;
      readonly name?: string;
      readonly labels?: Labels;
      readonly port?: number;
      readonly protocol?: ProbeProtocol;
      readonly podOrder?: readonly string[];
      readonly expected?: ReachTable;
    }[];
  }[];
}

/** Reads specs of a suite: operations on objects, and tables of who reaches whom. */
export function readSpecs(path: string): (addressesOf: AddressesOf) => CaseFile {
  const file = read<Specs>(path);
  const pods = new Map<string, FilePod>();
  for (const each of file.cases) for (const pod of each.pods) pods.set(podKey(pod), pod);
  return (addressesOf) => ({
    cases: file.cases.map(({ id, description, namespaces, pods: own, steps }) => ({
      title: `${id} ${description}`,
      steps: foldSpecs(namespaces, own, steps, addressesOf),
    })),
    pods: [...pods.values()].map((pod) => ({ spec: specOf(pod, eightyAndNext) })),
    ports: { TCP: servedPorts, UDP: servedPorts, SCTP: servedPorts },
  });
}

function foldSpecs(
  namespaces: Readonly<Record<string, Labels>>,
  pods: readonly FilePod[],
  operations: Specs['cases'][number]['steps'],
  addressesOf: AddressesOf,
): PolicyStep[] {
  const policies = new Map<string, FilePolicy>();
  const labels = new Map(Object.entries(namespaces));
  const current = new Map(pods.map((pod) => [podKey(pod), pod]));
  const known = knownAddresses(pods, addressesOf);
  const steps: PolicyStep[] = [];
  for (const { op, policy, namespace, name, labels: changed, ...probe } of operations) {
    const key = `${namespace}/${name}`;
    if (op === 'createPolicy' || op === 'updatePolicy') {
      policies.set(podKey(policy!.metadata as never), dualStack(policy!, known));
    } else if (op === 'deleteAllPolicies') policies.clear();
    else if (op === 'setPodLabels') current.set(key, { ...current.get(key)!, labels: changed! });
    else if (op === 'setNamespaceLabels') labels.set(name!, changed!);
    else if (op === 'probe') {
      const { expected, podOrder, protocol, port } = probe;
      steps.push({
        namespaces: new Map(labels),
        pods: [...current.values()].map((pod) => specOf(pod, eightyAndNext)),
        policies: [...policies.values()],
        expected: probesOfTable(expected!, podOrder!, protocol!, port!),
      });
    } else if (op !== 'note') throw new Error(`read operation ${op}: it is unknown`);
  }
  return steps;
}

interface ClusterTests {
  readonly namespaces: Readonly<Record<string, Labels>>;
  readonly pods: readonly FilePod[];
  readonly podPorts: {
    readonly TCP: readonly number[];
    readonly UDP: readonly number[];
    readonly SCTP: readonly number[];
    /** `PORT/PROTOCOL` by name. */
    readonly named: Readonly<Record<string, string>>;
  };
  readonly hostNetworkPorts: readonly number[];
  readonly cases: readonly {
    readonly shortName: string;
    readonly objects: readonly FilePolicy[];
    readonly subtests: readonly {
      readonly name: string;
      readonly steps: readonly {
        readonly op: string;
        readonly policy?: FilePolicy;
        readonly namespace?: string;
        readonly name?: string;
        readonly labels?: Labels;
        readonly from?: FilePod;
        readonly to?: FilePod;
        readonly protocol?: ProbeProtocol;
        readonly port?: number;
        readonly expect?: 'connect' | 'drop';
      }[];
    }[];
  }[];
}

/** Reads tests of policies of the cluster: operations on objects, and single probes. */
export function readClusterTests(path: string): (addressesOf: AddressesOf) => CaseFile {
  const file = read<ClusterTests>(path);
  const named: ContainerPort[] = Object.entries(file.podPorts.named).map(([name, text]) => {
    const [port, protocol] = text.split('/') as [string, 'TCP'];
    return { name, protocol, containerPort: Number(port) };
  });
  const pods = file.pods.map((pod) => specOf(pod, pod.hostNetwork ? [] : named));
  const hostPorts = file.hostNetworkPorts;
  const host: ServedPorts = { TCP: hostPorts, UDP: hostPorts, SCTP: hostPorts };
  return (addressesOf) => ({
    cases: file.cases.map(({ shortName, objects, subtests }) => ({
      title: shortName,
      steps: foldClusterTests(file, pods, objects, subtests, addressesOf),
    })),
    pods: pods.map((spec) => ({ spec, ...(spec.hostNetwork && { ports: host }) })),
    ports: { TCP: file.podPorts.TCP, UDP: file.podPorts.UDP, SCTP: file.podPorts.SCTP },
  });
}

function foldClusterTests(
  file: ClusterTests,
  pods: readonly PodSpec[],
  objects: readonly FilePolicy[],
  subtests: ClusterTests['cases'][number]['subtests'],
  addressesOf: AddressesOf,
): PolicyStep[] {
  const known = knownAddresses(file.pods, addressesOf);
  const nameOf = ({ kind, metadata }: FilePolicy) =>
    `${kind} ${metadata.namespace}/${metadata.name}`;
  const policies = new Map(objects.map((each) => [nameOf(each), dualStack(each, known)]));
  const labels = new Map(Object.entries(file.namespaces));
  const steps: PolicyStep[] = [];
  let probes: ExpectedProbe[] = [];
  const end = () => {
    const expected = probes;
    probes = [];
    if (expected.length === 0) return;
    steps.push({ namespaces: new Map(labels), pods, policies: [...policies.values()], expected });
  };
  for (const { op, policy, namespace, name, labels: changed, ...probe } of subtests.flatMap(
    (each) => each.steps,
  )) {
    if (op === 'probe') {
      const { from, to, protocol, port, expect } = probe;
      const allowed = expect === 'connect';
      probes.push({
        from: podKey(from!),
        to: podKey(to!),
        protocol: protocol!,
        port: port!,
        allowed,
      });
      continue;
    }
    end();
    if (op === 'updatePolicy') policies.set(nameOf(policy!), dualStack(policy!, known));
    else if (op === 'setNamespaceLabels') labels.set(name!, changed!);
    else if (op === 'deleteNetworkPolicy') policies.delete(`NetworkPolicy ${namespace}/${name}`);
    else throw new Error(`read operation ${op}: it is unknown`);
  }
  end();
  return steps;
}

/** Returns the lab's addresses of pods by their address in the file. */
function knownAddresses(pods: readonly FilePod[], addressesOf: AddressesOf) {
  return new Map(
    pods.flatMap((pod) => {
      const addresses = addressesOf(podKey(pod));
      return addresses ? [[pod.ip, addresses] as const] : [];
    }),
  );
}
