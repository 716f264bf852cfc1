import { cpSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The example that the demo runs with: one service, and the pods behind it. */
export const exampleFolder = fileURLToPath(new URL('../../../examples/hello', import.meta.url));
export const serviceName = 'default/hello';
/** Port that the backends listen on. */
export const backendPort = 8080;

/** A pod behind the service. */
export interface Endpoint {
  readonly pod: string;
  readonly node: string;
  readonly addresses: { readonly v4: string; readonly v6: string };
}

/** Copies the example to `folder`, which is made, with these endpoints in place of its own. */
export function copyExample(folder: string, endpoints: readonly Endpoint[]): void {
  cpSync(exampleFolder, folder, { recursive: true });
  writeEndpoints(folder, endpoints);
}

/** Replaces the endpoints in one step, so that no reader sees half a file. */
export function writeEndpoints(folder: string, endpoints: readonly Endpoint[]): void {
  writeFileSync(`${folder}/.endpoints.new`, endpointSlices(endpoints));
  renameSync(`${folder}/.endpoints.new`, `${folder}/endpoints.yaml`);
}

/** endpoints.yaml as the example has it: a slice for each family. */
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
