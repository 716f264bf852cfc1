import { isGroup, type SettingTable } from '@heddle/agent/settings';
import { type KubernetesObject, labels, name, observerPorts } from './kubernetes-object.ts';
import { relayObjects } from './relay-objects.ts';
import { agentSettings, type Values } from './settings.ts';
import { ChartValue, decided, inline, OnlyIf, type Yaml } from './yaml.ts';

export type { KubernetesObject } from './kubernetes-object.ts';

/** The mount paths in the pod. */
const inPod = {
  config: '/etc/heddle',
  // Not below /sys/fs, where the AppArmor profile of container runtimes denies writes.
  bpffs: '/run/bpffs',
  cgroup: '/run/cgroup',
  socket: '/run/heddle',
  namespaces: '/run/netns',
  // Not below /proc, where /proc/sys is read-only and AppArmor profiles deny writes.
  sysctls: '/run/sysctls',
  observerTls: '/run/observer-tls',
} as const;

/**
 * Returns the objects that run Heddle on every node, for `kubectl apply`. It only inserts values
 * and never inspects them, so that it also makes the Helm chart, with template expressions as
 * values.
 */
export function deploymentObjects(
  given: Values,
  table?: SettingTable,
): readonly KubernetesObject[] {
  const own = objectsWithConditions(given, table).map(decided);
  const secret = given.relayTLSSecret;
  // In the chart, the relay has a template of its own, whose condition Helm decides.
  const hasRelay = typeof secret === 'string' && secret !== '';
  return hasRelay ? [...own, ...relayObjects(given)] : own;
}

function objectsWithConditions(given: Values, table?: SettingTable): readonly KubernetesObject[] {
  const metadata = { name, namespace: given.namespace, labels };
  const config = configText(given, agentSettings(table));
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name, labels },
      rules: [
        {
          apiGroups: [''],
          resources: ['services', 'nodes', 'pods', 'namespaces'],
          verbs: ['list', 'watch'],
        },
        {
          apiGroups: ['discovery.k8s.io'],
          resources: ['endpointslices'],
          verbs: ['list', 'watch'],
        },
        {
          apiGroups: ['networking.k8s.io'],
          resources: ['networkpolicies'],
          verbs: ['list', 'watch'],
        },
        {
          apiGroups: ['policy.networking.k8s.io'],
          resources: ['clusternetworkpolicies'],
          verbs: ['list', 'watch'],
        },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: given.namespace }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'agent.yaml': config } },
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata,
      spec: {
        selector: { matchLabels: labels },
        updateStrategy: given.updateStrategy,
        template: {
          // With its hash in the template, a changed configuration is rolled out like a new
          // version.
          metadata: {
            labels,
            annotations: {
              'heddle.io/config': config,
              // For Prometheus where it finds its targets by annotations.
              'prometheus.io/scrape': inline(given.visibility!),
              'prometheus.io/port': `${observerPorts.metrics}`,
            },
          },
          spec: podSpec(given),
        },
      },
    },
  ];
}

/** Returns the file for `heddle agent --config`, without settings that have no value. */
function configText(given: Values, table: SettingTable): string {
  const settings = Object.entries(table).flatMap(([name, entry]) => {
    if (!isGroup(entry)) {
      const value = given[name];
      if (value === undefined) return [];
      const line = `${name}: ${inline(value)}`;
      return entry.fallback === undefined && value instanceof ChartValue
        ? `{{- if ${value.path} }}\n${line}\n{{- end }}`
        : line;
    }
    const values = given[name] as Readonly<Record<string, Yaml>>;
    const fields = Object.keys(entry.fields).map(
      (field) => `  ${field}: ${inline(values[field]!)}`,
    );
    return [`${name}:`, ...fields].join('\n');
  });
  return `cgroup: ${inPod.cgroup}
bpffs: ${inPod.bpffs}
socket: ${inPod.socket}/agent.sock
healthAddress: ":${inline(given.healthPort)}"
${settings.join('\n')}
`;
}

function podSpec(given: Values): Yaml {
  const network = podNetwork(given);
  return {
    serviceAccountName: name,
    priorityClassName: 'system-node-critical',
    // Processes of the node use services too, and NodePorts are at the node's own addresses.
    hostNetwork: true,
    // The cluster's DNS is behind a service, which this pod has to program first.
    dnsPolicy: 'Default',
    nodeSelector: given.nodeSelector,
    tolerations: given.tolerations,
    // The agent needs no time to end: programmed services stay.
    terminationGracePeriodSeconds: 5,
    securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'agent',
        image: given.image,
        args: [
          ...['agent', '--config', `${inPod.config}/agent.yaml`, '--node', '$(NODE_NAME)'],
          network.args,
        ],
        env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
        resources: given.resources,
        // The pod is on the host network: this shows the scheduler that the port is taken on each
        // node.
        ports: [{ name: 'health', containerPort: given.healthPort, hostPort: given.healthPort }],
        securityContext: {
          // docs/deployment.md explains each capability.
          capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON', 'SYS_ADMIN'] },
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
        },
        // The kubelet probes at multiples of the period from the start, and not before the initial delay
        // (pkg/kubelet/prober/worker.go): first after 10 s and 5 s. A start takes 0.7 s of a processor, and
        // 1.2 s with 5,000 services, so that a normal one makes no event Unhealthy. Where hundreds of pods start at
        // once, an answer may take longer than the default of 1 s; a restart would only need more of the processor.
        livenessProbe: {
          httpGet: { path: '/livez', port: given.healthPort },
          initialDelaySeconds: 9,
          periodSeconds: 10,
          timeoutSeconds: 10,
          failureThreshold: 6,
        },
        readinessProbe: {
          httpGet: { path: '/readyz', port: given.healthPort },
          initialDelaySeconds: 4,
          periodSeconds: 5,
          timeoutSeconds: 5,
        },
        volumeMounts: [
          { name: 'config', mountPath: inPod.config, readOnly: true },
          { name: 'bpffs', mountPath: inPod.bpffs },
          { name: 'cgroup', mountPath: inPod.cgroup, readOnly: true },
          { name: 'socket', mountPath: inPod.socket },
          {
            name: 'namespaces',
            mountPath: inPod.namespaces,
            readOnly: true,
            // Makes network namespaces of later pods visible.
            mountPropagation: 'HostToContainer',
          },
          network.volumeMounts,
        ],
      },
      new OnlyIf(given.visibility!, [observerContainer(given)]),
    ],
    volumes: [
      { name: 'config', configMap: { name } },
      { name: 'bpffs', hostPath: { path: '/sys/fs/bpf', type: 'Directory' } },
      { name: 'cgroup', hostPath: { path: given.cgroup, type: 'Directory' } },
      { name: 'socket', hostPath: { path: '/run/heddle', type: 'DirectoryOrCreate' } },
      { name: 'namespaces', hostPath: { path: '/run/netns', type: 'DirectoryOrCreate' } },
      network.volumes,
      new OnlyIf(given.observerTLSSecret, [
        { name: 'observer-tls', secret: { secretName: given.observerTLSSecret } },
      ]),
    ],
  };
}

/** Metrics whose number of series does not depend on the number of pods. */
const observerMetrics = [
  ...['flow', 'drop', 'policy'].map(
    (metric) => `${metric}:labelsContext=source_namespace,destination_namespace`,
  ),
  ...['tcp', 'icmp', 'port-distribution', 'flows-to-world', 'dns'],
];

/** Returns the container of `heddle observer`. Services work without it. */
function observerContainer(given: Values): Yaml {
  const secret = given.observerTLSSecret;
  const { api, metrics } = observerPorts;
  return {
    name: 'observer',
    image: given.image,
    args: [
      // The containers of a pod start at the same time.
      ...['observer', '--wait', '60', '--socket', `${inPod.socket}/agent.sock`],
      ...['--bpffs', inPod.bpffs, '--listen', `unix://${inPod.socket}/hubble.sock`],
      ...observerMetrics.flatMap((metric) => ['--metrics', metric]),
      ...['--metrics-listen', `:${metrics}`],
      new OnlyIf(secret, [
        ...['--listen', `:${api}`, '--address', `:${api}`],
        ...['--tls-cert', `${inPod.observerTls}/tls.crt`],
        ...['--tls-key', `${inPod.observerTls}/tls.key`],
        ...['--tls-client-ca', `${inPod.observerTls}/ca.crt`],
      ]),
    ],
    resources: given.observerResources,
    ports: [
      { name: 'flow-metrics', containerPort: metrics, hostPort: metrics },
      new OnlyIf(secret, [{ name: 'flows', containerPort: api, hostPort: api }]),
    ],
    securityContext: {
      // It reads maps. Seccomp profiles of runtimes allow bpf(2) with this capability only.
      capabilities: { drop: ['ALL'], add: ['BPF'] },
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    },
    livenessProbe: {
      httpGet: { path: '/metrics', port: metrics },
      initialDelaySeconds: 60,
      periodSeconds: 20,
      timeoutSeconds: 10,
      failureThreshold: 6,
    },
    volumeMounts: [
      { name: 'bpffs', mountPath: inPod.bpffs, readOnly: true },
      { name: 'socket', mountPath: inPod.socket },
      new OnlyIf(secret, [{ name: 'observer-tls', mountPath: inPod.observerTls, readOnly: true }]),
    ],
  };
}

/** Returns what the pod has besides if Heddle is the network of the cluster. */
function podNetwork({ network, cni }: Values) {
  const { binDir, configDir } = cni as Readonly<Record<string, Yaml>>;
  return {
    args: new OnlyIf(network!, ['--sysctls', inPod.sysctls]),
    volumeMounts: new OnlyIf(network!, [
      // The paths in the pod are the node's, so that messages name those.
      { name: 'cni-bin', mountPath: binDir },
      { name: 'cni-config', mountPath: configDir },
      { name: 'sysctls', mountPath: inPod.sysctls },
    ]),
    volumes: new OnlyIf(network!, [
      { name: 'cni-bin', hostPath: { path: binDir, type: 'DirectoryOrCreate' } },
      { name: 'cni-config', hostPath: { path: configDir, type: 'DirectoryOrCreate' } },
      { name: 'sysctls', hostPath: { path: '/proc/sys/net', type: 'Directory' } },
    ]),
  };
}
