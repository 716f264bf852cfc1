import { type PodRecord, readLabels } from '@heddle/objects';
import { judgeDirection, type PolicyWorld, policyKey } from '@heddle/policy';
import type { ClusterObjects } from '../cluster.ts';
import { explainOne } from '../explain.ts';
import { counted, listed, podName } from '../texts.ts';
import { placeholderAddress } from '../workloads.ts';
import type { Finding, Subject } from './finding.ts';
import { selectedPods } from './parts.ts';

/** The address at which NodeLocal DNSCache answers. */
const nodeLocalDns = '169.254.20.10';
const dnsPort = 53;

/** Returns the addresses of the cluster's DNS servers: pods with k8s-app=kube-dns, and backends of services named so. */
export function dnsAddresses({ world, slices }: ClusterObjects): readonly string[] {
  const pods = [...world.pods.values()].filter(
    ({ namespace, labels }) =>
      namespace === 'kube-system' &&
      labels.some((key, i) => key === 'k8s-app' && i % 2 === 0 && labels[i + 1] === 'kube-dns'),
  );
  const backends = slices
    .filter(({ namespace, service }) => namespace === 'kube-system' && service.endsWith('dns'))
    .flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
  return [...new Set([...pods.flatMap(({ addresses }) => addresses), ...backends])];
}

/** A DNS server as most clusters have it, for objects without one. */
const usualServer: PodRecord = {
  ...{ kind: 'pod', namespace: 'kube-system', name: 'coredns', uid: '', createdMs: 0 },
  ...{ nodeName: '', addresses: [placeholderAddress(0xff_ff_fe)], hostPorts: [] },
  labels: readLabels({ 'k8s-app': 'kube-dns' }),
  namedPorts: [
    { name: 'dns', protocol: 'UDP', port: dnsPort },
    { name: 'dns-tcp', protocol: 'TCP', port: dnsPort },
  ],
  ...{ workload: undefined, bandwidth: undefined, terminating: false, problems: [] },
};

/** Returns a warning if pods that a policy selects can't send DNS requests to the cluster's servers. */
export function dnsFindings(subject: Subject): readonly Finding[] {
  const { policy } = subject;
  if (policy.egress === undefined) return [];
  if (policy.kind === 'clusterNetworkPolicy' && policy.egress.length === 0) return [];
  const known = dnsAddresses(subject.cluster);
  const cluster = known.length > 0 ? subject.cluster : withUsualServer(subject.cluster);
  const servers = known.length > 0 ? known : usualServer.addresses;
  const cut = selectedPods({ ...subject, cluster }).filter((pod) =>
    isCutOff(cluster.world, pod, servers, policyKey(policy)),
  );
  if (cut.length === 0) return [];
  const reason = reasonOf(cluster, cut[0]!, servers);
  const where = known.length > 0 ? `(${listed(servers, 3)})` : 'in kube-system';
  const message = `${counted(cut.length, 'pod')} that it selects can't resolve names: UDP/53 to the DNS servers ${where} is denied for ${listed(cut.map(podName), 3)}: ${reason} (add an egress rule to pods with k8s-app=kube-dns of namespace kube-system, UDP and TCP 53)`;
  return [{ severity: 'warning', code: 'dns-cut-off', at: 'spec.egress', message }];
}

function withUsualServer(cluster: ClusterObjects): ClusterObjects {
  return cluster.with([{ op: 'set', object: usualServer }]);
}

/** Returns true if a pod reaches no DNS server, and this policy has a part in it. */
function isCutOff(
  world: PolicyWorld,
  pod: PodRecord,
  servers: readonly string[],
  policy: string,
): boolean {
  const from = pod.addresses[0]!;
  const judgements = [...servers, nodeLocalDns]
    .filter((to) => to.includes(':') === from.includes(':'))
    .map((to) => judgeDirection(world, { from, to, protocol: 'UDP', port: dnsPort }, 'egress'));
  return judgements.every(
    ({ allowed, audited, rule, isolatedBy }) =>
      (!allowed && (rule?.policy === policy || (!rule && isolatedBy.includes(policy)))) ||
      // The policy would cut it off if it were enforced.
      (audited?.allowed === false &&
        (audited.rule?.policy === policy || audited.isolatedBy.includes(policy))),
  );
}

function reasonOf(cluster: ClusterObjects, pod: PodRecord, servers: readonly string[]): string {
  const address = pod.addresses[0]!;
  const server = servers.find((each) => each.includes(':') === address.includes(':'));
  if (server === undefined) return 'no server has an address of its family';
  const { egress } = explainOne(
    cluster.world,
    { label: podName(pod), address, pod },
    { label: server, address: server, pod: undefined, port: dnsPort, service: undefined },
    'UDP',
  );
  return egress.sentences[0] ?? '';
}
