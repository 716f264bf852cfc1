/** Returns a Service manifest in YAML. */
export function serviceYaml(name: string, clusterIP: string, more = ''): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  clusterIP: ${clusterIP}
  ports:
    - port: 80
${more}`;
}

/** Returns an EndpointSlice manifest in YAML, for the only, unnamed port of a service. */
export function sliceYaml(service: string, ...addresses: string[]): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${service}-1
  labels:
    kubernetes.io/service-name: ${service}
addressType: IPv4
ports:
  - port: 8080
endpoints:
${addresses.map((address) => `  - addresses: [${address}]\n`).join('')}`;
}
