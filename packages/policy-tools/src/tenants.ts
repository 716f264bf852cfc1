import { canonicalRange, labelValue } from '@heddle/objects';
import type { PolicyWorld } from '@heddle/policy';
import { ToolError } from './ends.ts';
import { listed, namespaceNameLabel } from './texts.ts';

/** The tenants that namespaces belong to, by the values of a label. */
export interface TenantRequest {
  /** The key of the label. */
  readonly label: string;
  readonly values: readonly string[];
  /** Pods reach the DNS servers of the cluster (kube-system, k8s-app=kube-dns), whatever NetworkPolicies say. */
  readonly allowDns: boolean;
  /** Names of namespaces that all tenants may connect to, and that may connect to all tenants. */
  readonly shared: readonly string[];
  /** Namespaces without the label may connect to tenants and the other way round. */
  readonly allowUnlabelled: boolean;
  /**
   * Ranges of the nodes' addresses. Another node that translates a NodePort may hide the client's address from the node of
   * the backend, so tenants must not use NodePorts there. The own node translates before policies apply.
   */
  readonly nodes: readonly string[];
  /** The priority of the first policies; the last one has the next number. */
  readonly priority: number;
}

const apiVersion = 'policy.networking.k8s.io/v1alpha2';
const kind = 'ClusterNetworkPolicy';
const dnsNamespace = 'kube-system';
/** The largest number of networks in a rule of a ClusterNetworkPolicy. */
const mostNetworks = 25;
/** The ports of NodePorts, as the API server assigns them by default. */
const nodePorts = { start: 30000, end: 32767 };

/** Returns the values of a label of namespaces, in order. Throws ToolError without any. */
export function tenantValues(world: PolicyWorld, label: string): readonly string[] {
  const namespaces = [...world.namespaces.values()];
  const values = namespaces.flatMap(({ labels }) => labelValue(labels, label) ?? []);
  if (values.length > 0) return [...new Set(values)].sort();
  const names = listed(namespaces.map(({ name }) => name).sort());
  throw new ToolError(
    `find tenants: no namespace has the label ${label} (known are ${names || 'no namespaces'}; --values names the tenants)`,
  );
}

/** Returns a range for each address of the nodes. */
export function nodeRanges(world: PolicyWorld): readonly string[] {
  const addresses = [...world.nodes.values()].flatMap((node) => node.nodeIPs);
  return [...new Set(addresses)]
    .sort()
    .map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
}

/**
 * Returns ClusterNetworkPolicies that isolate the namespaces of each tenant from all others. Connections within a tenant
 * pass to the NetworkPolicies of its namespaces. A namespace whose value has no policy is isolated, from itself too.
 * Throws ToolError.
 */
export function tenantPolicies(request: TenantRequest): readonly object[] {
  const { label, values, priority } = request;
  checkLabel(label);
  checkEach(values, (text) => labelText.test(text), 'the value of a label', 'a or team-a');
  checkEach(request.shared, (text) => namespaceName.test(text), 'a namespace', 'ingress-nginx');
  const isRange = (text: string) => canonicalRange(text) !== undefined;
  checkEach(request.nodes, isRange, 'a range of addresses', '192.0.2.0/24');
  if (!Number.isInteger(priority) || priority < 0 || priority > 999) {
    throw new ToolError(`make policies: priority ${priority} must be a whole number from 0 to 999`);
  }
  if (request.nodes.length > mostNetworks) {
    throw new ToolError(
      `make policies: there are ${request.nodes.length} ranges of nodes, and a rule may have ${mostNetworks} (give fewer ranges that have them with --nodes)`,
    );
  }
  const names = policyNames(label, values);
  return [
    ...values.map((value, i) => tenantPolicy(request, names[i]!, value)),
    isolatingPolicy(request, names.at(-1)!),
  ];
}

function tenantPolicy({ label, priority }: TenantRequest, name: string, value: string): object {
  const namespaces = { matchLabels: { [label]: value } };
  const rule = (list: 'from' | 'to') => ({
    ...{ name: 'same-tenant', action: 'Pass', [list]: [{ namespaces }] },
  });
  return {
    ...{ apiVersion, kind, metadata: { name } },
    spec: {
      ...{ tier: 'Admin', priority, subject: { namespaces } },
      ingress: [rule('from')],
      egress: [rule('to')],
    },
  };
}

function isolatingPolicy(request: TenantRequest, name: string): object {
  const { label, allowDns, allowUnlabelled, priority } = request;
  const shared = [...new Set([...request.shared, ...(allowDns ? [dnsNamespace] : [])])];
  const hasLabel = { key: label, operator: 'Exists' };
  const isNotShared = { key: namespaceNameLabel, operator: 'NotIn', values: shared };
  const others = allowUnlabelled ? { matchExpressions: [hasLabel] } : {};
  const rules = (list: 'from' | 'to') => [
    ...(request.shared.length === 0
      ? []
      : [
          {
            ...{ name: 'shared-namespaces', action: 'Pass' },
            [list]: [
              {
                namespaces: {
                  matchExpressions: [
                    { key: namespaceNameLabel, operator: 'In', values: request.shared },
                  ],
                },
              },
            ],
          },
        ]),
    { name: 'other-tenants', action: 'Deny', [list]: [{ namespaces: others }] },
  ];
  const port = { destinationPort: { number: 53 } };
  const dns = {
    ...{ name: 'dns', action: 'Accept' },
    to: [
      {
        pods: {
          namespaceSelector: { matchLabels: { [namespaceNameLabel]: dnsNamespace } },
          podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
        },
      },
    ],
    protocols: [{ udp: port }, { tcp: port }],
  };
  const range = { destinationPort: { range: nodePorts } };
  const noNodePorts = {
    ...{ name: 'node-ports', action: 'Deny', to: [{ networks: request.nodes }] },
    protocols: [{ tcp: range }, { udp: range }, { sctp: range }],
  };
  return {
    ...{ apiVersion, kind, metadata: { name } },
    spec: {
      ...{ tier: 'Admin', priority: priority + 1 },
      subject: {
        namespaces: { matchExpressions: [hasLabel, ...(shared.length > 0 ? [isNotShared] : [])] },
      },
      ingress: rules('from'),
      egress: [
        ...(allowDns ? [dns] : []),
        ...(request.nodes.length > 0 ? [noNodePorts] : []),
        ...rules('to'),
      ],
    },
  };
}

/** The name in the key of a label, or its value. */
const labelText = /^[a-zA-Z0-9]([-\w.]{0,61}[a-zA-Z0-9])?$/;
const namespaceName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Throws ToolError for a text that can't be used. */
function checkEach(
  texts: readonly string[],
  isUsable: (text: string) => boolean,
  what: string,
  example: string,
): void {
  const wrong = texts.find((text) => !isUsable(text));
  if (wrong === undefined) return;
  throw new ToolError(
    `make policies: ${JSON.stringify(wrong)} is not ${what} (write e.g. ${example})`,
  );
}

/** Throws ToolError for a key that no label can have. */
function checkLabel(label: string): void {
  const parts = label.split('/');
  const prefix = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
  if (parts.length > 2 || !labelText.test(parts.at(-1)!) || (parts[1] && !prefix.test(parts[0]!))) {
    throw new ToolError(
      `make policies: ${JSON.stringify(label)} is not the key of a label (write e.g. team or example.com/team)`,
    );
  }
}

/** Returns a name for each value, and then that of the policy that isolates all of them. */
function policyNames(label: string, values: readonly string[]): readonly string[] {
  const names: string[] = [];
  for (const text of [...values.map((value) => `tenant-${label}-${value}`), `tenants-${label}`]) {
    const base = text
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/-+$/, '');
    let name = base;
    // Values that differ in case or punctuation only have the same name without a number.
    for (let n = 2; names.includes(name); n++) name = `${base}-${n}`;
    names.push(name);
  }
  return names;
}
