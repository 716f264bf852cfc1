import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readConfig } from '@heddle/agent/config';
import { deploymentObjects, type KubernetesObject } from './objects.ts';
import { readSettings } from './settings.ts';
import type { Yaml } from './yaml.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes, walked by name
const byKind = (objects: readonly KubernetesObject[]): Record<string, any> =>
  Object.fromEntries(objects.map((object) => [object.kind, object]));

const made = (...assignments: string[]) =>
  byKind(deploymentObjects(readSettings(assignments, '1.2.3')));

test('the ClusterRole allows reading the watched objects and nothing else', () => {
  const { ClusterRole, ClusterRoleBinding, ServiceAccount } = made('namespace=network');
  const granted = ClusterRole.rules.flatMap(
    (rule: { apiGroups: string[]; resources: string[]; verbs: string[] }) =>
      rule.resources.map((resource) => `${rule.verbs} ${rule.apiGroups}/${resource}`),
  );
  assert.deepEqual(granted.sort(), [
    'list,watch /namespaces',
    'list,watch /nodes',
    'list,watch /pods',
    'list,watch /services',
    'list,watch discovery.k8s.io/endpointslices',
    'list,watch networking.k8s.io/networkpolicies',
    'list,watch policy.networking.k8s.io/clusternetworkpolicies',
  ]);
  assert.equal(ClusterRoleBinding.roleRef.name, ClusterRole.metadata.name);
  assert.deepEqual(ClusterRoleBinding.subjects, [
    { kind: 'ServiceAccount', name: ServiceAccount.metadata.name, namespace: 'network' },
  ]);
});

test('the pod declares the host port of the agent for the scheduler', () => {
  const ports = (...assignments: string[]) =>
    made(...assignments).DaemonSet.spec.template.spec.containers[0].ports;
  assert.deepEqual(ports(), [{ name: 'health', containerPort: 10256, hostPort: 10256 }]);
  assert.deepEqual(ports('healthPort=10356'), [
    { name: 'health', containerPort: 10356, hostPort: 10356 },
  ]);
});

test('the agent runs with the fewest capabilities', () => {
  const { spec } = made().DaemonSet.spec.template;
  const [{ securityContext, volumeMounts }] = spec.containers;
  assert.deepEqual(securityContext, {
    capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON', 'SYS_ADMIN'] },
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
  });
  assert.deepEqual(spec.securityContext, { seccompProfile: { type: 'RuntimeDefault' } });
  assert.deepEqual([spec.hostPID, spec.hostIPC], [undefined, undefined]);
  const writable = volumeMounts.filter((mount: { readOnly?: boolean }) => !mount.readOnly);
  assert.deepEqual(
    writable.map((mount: { name: string }) => mount.name),
    ['bpffs', 'socket'],
  );
});

describe('with visibility', () => {
  const podOf = (...assignments: string[]) =>
    made('visibility=true', ...assignments).DaemonSet.spec.template;
  const { spec, metadata } = podOf();
  const [agent, observer, ...others] = spec.containers;

  test('the observer is a second container with the right to read maps and no other', () => {
    assert.deepEqual([observer.name, observer.image, others], ['observer', agent.image, []]);
    assert.deepEqual(agent, made().DaemonSet.spec.template.spec.containers[0]);
    assert.deepEqual(observer.securityContext, {
      capabilities: { drop: ['ALL'], add: ['BPF'] },
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    });
    const writable = observer.volumeMounts.filter(({ readOnly }: { readOnly?: true }) => !readOnly);
    assert.deepEqual(
      writable.map(({ name }: { name: string }) => name),
      ['socket'],
    );
    assert.equal(observer.env, undefined);
  });

  test('its metrics are found by annotations, and flows are on no port without certificates', () => {
    const { 'prometheus.io/scrape': scrape, 'prometheus.io/port': port } = metadata.annotations;
    assert.deepEqual([scrape, port], ['true', '9965']);
    assert.equal(
      made().DaemonSet.spec.template.metadata.annotations['prometheus.io/scrape'],
      'false',
    );
    assert.ok(!observer.args.includes(':4244'));
    assert.deepEqual(
      observer.ports.map(({ hostPort }: { hostPort: number }) => hostPort),
      [9965],
    );
  });

  test('with a Secret, relays are served by TLS and need a certificate', () => {
    const { containers, volumes } = podOf('observerTLSSecret=certs').spec;
    const { args, ports, volumeMounts } = containers[1];
    assert.deepEqual(args.slice(args.indexOf(':4244') - 1), [
      ...['--listen', ':4244', '--address', ':4244', '--tls-cert', '/run/observer-tls/tls.crt'],
      ...['--tls-key', '/run/observer-tls/tls.key', '--tls-client-ca', '/run/observer-tls/ca.crt'],
    ]);
    assert.deepEqual(ports.at(-1), { name: 'flows', containerPort: 4244, hostPort: 4244 });
    assert.deepEqual(volumes.at(-1), { name: 'observer-tls', secret: { secretName: 'certs' } });
    assert.deepEqual(volumeMounts.at(-1).mountPath, '/run/observer-tls');
  });
});

describe('with a relay', () => {
  const settings = ['visibility=true', 'observerTLSSecret=a', 'relayTLSSecret=b'];
  const objects = deploymentObjects(readSettings(settings, '1.2.3'));
  const { Deployment } = byKind(objects);
  const { spec } = Deployment.spec.template;

  test('it has no rights, neither in the cluster nor on the node', () => {
    assert.equal(spec.automountServiceAccountToken, false);
    assert.equal(spec.securityContext.runAsNonRoot, true);
    assert.deepEqual(spec.containers[0].securityContext.capabilities, { drop: ['ALL'] });
    assert.equal(spec.hostNetwork, undefined);
  });

  test('tools find it by its Services, and it finds the observers by theirs', () => {
    const services = objects.filter(({ kind }) => kind === 'Service') as readonly Yaml[];
    const shown = (
      services as {
        metadata: { name: string };
        spec: { ports: { port: number; targetPort: number }[] };
      }[]
    ).map((service) => [
      service.metadata.name,
      service.spec.ports.map(({ port, targetPort }) => `${port} ${targetPort}`),
    ]);
    assert.deepEqual(shown, [
      ['hubble-peer', ['443 4244']],
      ['hubble-relay', ['80 4245', '443 4245']],
      ['heddle-ui', ['80 8080']],
    ]);
  });

  test('the page is on the loopback address, and flows are served to clients with a certificate', () => {
    const { args } = spec.containers[0];
    assert.equal(args[args.indexOf('--ui-listen') + 1], '127.0.0.1:8080');
    assert.equal(args[args.indexOf('--tls-client-ca') + 1], '/run/relay-tls/ca.crt');
  });

  test('without its Secret there is none', () => {
    assert.equal(made('visibility=true').Deployment, undefined);
  });
});

describe('with the pod network', () => {
  const { spec } = made('network=true', 'cni.binDir=/usr/libexec/cni').DaemonSet.spec.template;
  const plain = made().DaemonSet.spec.template.spec;
  const [container] = spec.containers;

  test('the pod writes the files of the CNI plug-in, the socket and network settings', () => {
    const paths = new Map(
      spec.volumes.map((volume: { name: string; hostPath?: { path: string } }) => [
        volume.name,
        volume.hostPath?.path,
      ]),
    );
    const writable = container.volumeMounts.flatMap(
      ({ name, mountPath, readOnly }: { name: string; mountPath: string; readOnly?: boolean }) =>
        readOnly ? [] : [`${paths.get(name)} at ${mountPath}`],
    );
    assert.deepEqual(writable, [
      '/sys/fs/bpf at /run/bpffs',
      '/run/heddle at /run/heddle',
      '/usr/libexec/cni at /usr/libexec/cni',
      '/etc/cni/net.d at /etc/cni/net.d',
      '/proc/sys/net at /run/sysctls',
    ]);
    const { sysctls, cni } = readConfig(undefined, { sysctls: container.args.at(-1) });
    assert.deepEqual([container.args.at(-2), sysctls], ['--sysctls', '/run/sysctls']);
    assert.equal(cni.socket, '/run/heddle/cni.sock');
  });

  test('the pod runs on a node that is not ready and without a network', () => {
    assert.deepEqual(spec.tolerations, [{ operator: 'Exists' }]);
    assert.equal(spec.hostNetwork, true);
    assert.equal(spec.priorityClassName, 'system-node-critical');
  });

  test('nothing else of the pod differs, nor the rights', () => {
    const rest = ({ args, volumeMounts, ...others }: Record<string, unknown>) => others;
    assert.deepEqual(rest(container), rest(plain.containers[0]));
    const { containers, volumes, ...others } = spec;
    assert.deepEqual({ ...others, containers: plain.containers, volumes: plain.volumes }, plain);
    assert.deepEqual(made('network=true').ClusterRole, made().ClusterRole);
  });
});

test('a changed configuration changes the pod template', () => {
  const annotations = (...assignments: string[]) =>
    made(...assignments).DaemonSet.spec.template.metadata.annotations;
  assert.notDeepEqual(annotations('sizes.slots=1'), annotations());
  assert.equal(
    annotations('logLevel=debug')['heddle.io/config'],
    made('logLevel=debug').ConfigMap.data['agent.yaml'],
  );
});

test('the agent accepts the configuration with all settings', () => {
  const read = (...assignments: string[]) => {
    const text = made(...assignments).ConfigMap.data['agent.yaml'];
    return readConfig({ path: 'agent.yaml', text }, {});
  };
  assert.equal(read().devices, readConfig(undefined, {}).devices);
  const { manifests, bpffs, cgroup, logLevel, healthAddress, apiServers } = read();
  assert.deepEqual(
    { manifests, bpffs, cgroup, logLevel, healthAddress, apiServers },
    {
      manifests: undefined,
      bpffs: '/run/bpffs',
      cgroup: '/run/cgroup',
      logLevel: 'info',
      healthAddress: ':10256',
      apiServers: [],
    },
  );
  const set = read(
    'apiServers=https://192.0.2.1:6443,https://[fd00::1]:6443',
    'metricsAddress=off',
    'logLevel=debug',
    'devices=bond*, eth0',
    'podDevices=veth*',
    'forwarding=hybrid',
    'sizes={"services":1,"backends":2,"slots":3,"affinity":4,"flows":5}',
    'snatPorts=2000-2999',
    'timeouts.udp=7',
  );
  assert.deepEqual(set.apiServers, ['https://192.0.2.1:6443', 'https://[fd00::1]:6443']);
  assert.deepEqual(
    [set.metricsAddress, set.logLevel, set.devices, set.podDevices, set.forwarding],
    ['off', 'debug', 'bond*, eth0', 'veth*', 'hybrid'],
  );
  const sizes = { services: 1, backends: 2, slots: 3, affinity: 4, flows: 5 };
  assert.deepEqual(set.sizes, { ...readConfig(undefined, {}).sizes, ...sizes });
  assert.equal(set.snatPorts, '2000-2999');
  assert.deepEqual(set.timeouts, { ...readConfig(undefined, {}).timeouts, udp: 7 });
});

test('probes use the port that the agent serves', () => {
  const { DaemonSet, ConfigMap } = made('healthPort=20256');
  const [{ livenessProbe, readinessProbe }] = DaemonSet.spec.template.spec.containers;
  assert.deepEqual(livenessProbe.httpGet, { path: '/livez', port: 20256 });
  assert.deepEqual(readinessProbe.httpGet, { path: '/readyz', port: 20256 });
  assert.match(ConfigMap.data['agent.yaml'], /^healthAddress: ":20256"$/m);
});

test('a slow answer is no failed probe: the agent has a whole period for it', () => {
  const { DaemonSet } = made('healthPort=20256');
  const [{ livenessProbe, readinessProbe }] = DaemonSet.spec.template.spec.containers;
  for (const { timeoutSeconds, periodSeconds } of [livenessProbe, readinessProbe]) {
    assert.equal(timeoutSeconds, periodSeconds);
  }
});

test('the first probe follows after four times the start time with 5,000 services', () => {
  const { DaemonSet } = made('healthPort=20256');
  const [container] = DaemonSet.spec.template.spec.containers;
  // The CPU time in seconds until /readyz succeeds, with 5,000 services and as many endpoints.
  const startSeconds = 1.2;
  for (const name of ['livenessProbe', 'readinessProbe']) {
    const { initialDelaySeconds, periodSeconds } = container[name];
    // The kubelet probes at each multiple of the period that is not before the initial delay.
    const first = Math.ceil(initialDelaySeconds / periodSeconds) * periodSeconds;
    assert.ok(first >= 4 * startSeconds, `${name} begins after ${first} s`);
    // Rounding to whole seconds must not delay it by a period.
    assert.ok(initialDelaySeconds < first, name);
  }
});
