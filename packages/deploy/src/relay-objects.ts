import { type KubernetesObject, labels, observerPorts } from './kubernetes-object.ts';
import type { Values } from './settings.ts';

const name = 'heddle-relay';
const relayLabels = { 'app.kubernetes.io/name': name };
const ports = { api: 4245, page: 8080, metrics: 9966 };
const tls = '/run/relay-tls';
/** A name that certificates of observers have if they are for all nodes: *.default.hubble-grpc.cilium.io. */
const peerName = 'hubble-peer.default.hubble-grpc.cilium.io';

/**
 * Returns the objects that run `heddle relay`, with the Services by which other tools find it. It has no rights in
 * the cluster: nodes and flows come from the observers.
 */
export function relayObjects(given: Values): readonly KubernetesObject[] {
  const { namespace } = given;
  return [
    service('hubble-peer', namespace!, labels, { peers: [443, observerPorts.api] }),
    // Tools of Hubble expect port 80, or 443 with TLS.
    service('hubble-relay', namespace!, relayLabels, {
      grpc: [80, ports.api],
      'grpc-tls': [443, ports.api],
    }),
    service('heddle-ui', namespace!, relayLabels, { page: [80, ports.page] }),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: namespace!, labels: relayLabels },
      spec: {
        replicas: 1,
        selector: { matchLabels: relayLabels },
        template: {
          metadata: {
            labels: relayLabels,
            annotations: {
              'prometheus.io/scrape': 'true',
              'prometheus.io/port': `${ports.metrics}`,
            },
          },
          spec: podSpec(given),
        },
      },
    },
  ];
}

function podSpec({ image, relayResources, relayTLSSecret, tolerations }: Values) {
  return {
    automountServiceAccountToken: false,
    tolerations: tolerations!,
    securityContext: {
      ...{ runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532 },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: 'relay',
        image: image!,
        args: [
          ...['relay', '--peer', 'hubble-peer:443', '--peer-tls-name', peerName],
          ...['--peer-tls-ca', `${tls}/ca.crt`, '--peer-tls-cert', `${tls}/tls.crt`],
          ...['--peer-tls-key', `${tls}/tls.key`, '--listen', `:${ports.api}`],
          ...['--tls-cert', `${tls}/tls.crt`, '--tls-key', `${tls}/tls.key`],
          ...['--tls-client-ca', `${tls}/ca.crt`],
          // Only a forwarded port reaches the loopback address of the pod, which the API server allows or not.
          ...['--ui-listen', `127.0.0.1:${ports.page}`, '--metrics-listen', `:${ports.metrics}`],
        ],
        resources: relayResources!,
        ports: [
          { name: 'grpc', containerPort: ports.api },
          { name: 'page', containerPort: ports.page },
          { name: 'metrics', containerPort: ports.metrics },
        ],
        securityContext: {
          capabilities: { drop: ['ALL'] },
          ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
        },
        livenessProbe: {
          httpGet: { path: '/metrics', port: ports.metrics },
          ...{ initialDelaySeconds: 10, periodSeconds: 20, timeoutSeconds: 10 },
        },
        volumeMounts: [{ name: 'tls', mountPath: tls, readOnly: true }],
      },
    ],
    volumes: [{ name: 'tls', secret: { secretName: relayTLSSecret!, defaultMode: 0o440 } }],
  };
}

/** Returns a Service with named pairs of its port and the pods'. */
function service(
  own: string,
  namespace: Values[string],
  selector: Readonly<Record<string, string>>,
  pairs: Readonly<Record<string, readonly [port: number, targetPort: number]>>,
): KubernetesObject {
  return {
    ...{ apiVersion: 'v1', kind: 'Service' },
    metadata: { name: own, namespace: namespace!, labels: relayLabels },
    spec: {
      selector,
      ports: Object.entries(pairs).map(([portName, [port, targetPort]]) => ({
        ...{ name: portName, port, targetPort },
      })),
    },
  };
}
