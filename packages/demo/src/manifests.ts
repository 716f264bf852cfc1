import { cpSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder with the manifests of the demo: one service and its endpoints. */
export const exampleFolder = fileURLToPath(new URL('../../../examples/hello', import.meta.url));
export const serviceName = 'default/hello';
/** The port that the backends listen on. */
export const backendPort = 8080;

/** A pod that serves the service. */
export interface Endpoint {
  readonly pod: string;
  readonly node: string;
  readonly addresses: { readonly v4: string; readonly v6: string };
}

/** A node of the demo. */
export interface DemoNode {
  readonly name: string;
  readonly number: number;
  readonly addresses: { readonly v4: string; readonly v6: string };
}

/** Creates `folder` with a copy of the example that has these nodes and no endpoints. */
export function copyExample(folder: string, nodes: readonly DemoNode[]): void {
  cpSync(exampleFolder, folder, { recursive: true });
  writeFileSync(`${folder}/node.yaml`, nodes.map(nodeManifest).join('---\n'));
  writeEndpoints(folder, []);
}

/** Returns a Node with ranges of addresses for its pods, as a cluster's control plane writes it. */
function nodeManifest({ name, number, addresses }: DemoNode): string {
  return `apiVersion: v1
kind: Node
metadata: { name: ${name} }
spec: { podCIDRs: ["10.244.${number}.0/24", "fd00:10:244:${number}::/64"] }
status:
  addresses:
  - { type: InternalIP, address: "${addresses.v4}" }
  - { type: InternalIP, address: "${addresses.v6}" }
`;
}

/** Replaces the endpoints atomically. */
export function writeEndpoints(folder: string, endpoints: readonly Endpoint[]): void {
  writeFileSync(`${folder}/.endpoints.new`, endpointSlices(endpoints));
  renameSync(`${folder}/.endpoints.new`, `${folder}/endpoints.yaml`);
}

/** Returns endpoints.yaml in the form of the example: a slice for each family. */
export function endpointSlices(endpoints: readonly Endpoint[]): string {
  return `# The pods that serve it, as a cluster's control plane writes them: one slice for each family.
${slice('v4', endpoints)}---
${slice('v6', endpoints)}`;
}

function slice(family: 'v4' | 'v6', endpoints: readonly Endpoint[]): string {
  const list = endpoints.map(
    ({ pod, node, addresses }) => `
  - addresses: ["${addresses[family]}"]
    conditions: { ready: true, serving: true, terminating: false }
    nodeName: ${node}
    targetRef: { kind: Pod, namespace: default, name: ${pod} }`,
  );
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: hello-${family}
  namespace: default
  labels:
    kubernetes.io/service-name: hello
addressType: IP${family}
ports:
  - name: http
    protocol: TCP
    port: ${backendPort}
endpoints:${list.join('') || ' []'}
`;
}

/** A pod with its workload, for the web page. */
export interface NamedPod extends Endpoint {
  /** The name of its Deployment, and the value of its label `app`. */
  readonly app: string;
}

/** Writes the Pod objects, and a policy that lets only the client connect to the service's pods. */
export function writePods(folder: string, pods: readonly NamedPod[]): void {
  const items = [...pods.map(podObject), policy];
  writeFileSync(`${folder}/.pods.new`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  renameSync(`${folder}/.pods.new`, `${folder}/pods.json`);
}

function podObject({ pod, node, addresses, app }: NamedPod): object {
  const owner = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: `${app}-5d8c7b`,
    controller: true,
  };
  const labels = { app, 'pod-template-hash': '5d8c7b' };
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { namespace: 'default', name: pod, labels, ownerReferences: [owner] },
    spec: { nodeName: node, containers: [{ name: app }] },
    status: {
      ...{ phase: 'Running', podIP: addresses.v4 },
      podIPs: [addresses.v4, addresses.v6].map((ip) => ({ ip })),
    },
  };
}

const policy = {
  ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
  metadata: { namespace: 'default', name: 'hello-ingress' },
  spec: {
    podSelector: { matchLabels: { app: 'hello' } },
    ingress: [
      {
        from: [{ podSelector: { matchLabels: { app: 'client' } } }],
        ports: [{ protocol: 'TCP', port: backendPort }],
      },
    ],
  },
};
