import {
  counted,
  listed,
  nodeRanges,
  tenantPolicies,
  tenantValues,
  yamlOf,
} from '@heddle/policy-tools';
import { printJson, printLine } from '../../print.ts';
import { answered, type ClusterOptions, openCluster } from './cluster.ts';

interface Options extends ClusterOptions {
  readonly label: string;
  readonly values?: readonly string[];
  readonly allowDns?: boolean;
  readonly shared?: readonly string[];
  readonly allowUnlabelled?: boolean;
  readonly nodes?: readonly string[];
  readonly priority: number;
  readonly output: 'yaml' | 'json';
}

/** `heddle policy tenants`: prints ClusterNetworkPolicies that isolate namespaces by the value of a label. */
export async function policyTenants(options: Options): Promise<void> {
  const { label, priority, output } = options;
  const { values, nodes } = await tenantsOf(options);
  const { allowDns = false, shared = [], allowUnlabelled = false } = options;
  const policies = answered(() =>
    tenantPolicies({ label, values, allowDns, shared, nodes, allowUnlabelled, priority }),
  );
  if (output === 'json') {
    printJson({ apiVersion: 'v1', kind: 'List', items: policies });
    return;
  }
  const others = allowUnlabelled ? 'other tenants' : 'all other namespaces';
  const exceptions = [...(allowDns ? ['DNS'] : []), ...shared];
  const but = exceptions.length > 0 ? ` but ${listed(exceptions)}` : '';
  const comment = [
    `Isolates ${counted(values.length, 'tenant')} by the label ${label} of namespaces from ${others}${but}.`,
    'Print it again when a tenant is added: a new one is isolated, from itself too, until it has its policy.',
    nodes.length > 0
      ? 'NodePorts at other nodes are denied, because these may hide the client; print it again when a node is added.'
      : 'NodePorts at other nodes are not isolated: give the ranges of the nodes with --nodes.',
  ].join('\n');
  printLine(yamlOf(policies, [[{ path: [], text: comment }]]).trimEnd());
}

/** Returns the values of the label and the ranges of nodes: those that are given, or those of the cluster. */
async function tenantsOf(
  options: Options,
): Promise<{ readonly values: readonly string[]; readonly nodes: readonly string[] }> {
  const { label, values, nodes } = options;
  if (values) return { values, nodes: nodes ?? [] };
  const { world } = await openCluster(options);
  return {
    values: answered(() => tenantValues(world, label)),
    nodes: nodes ?? nodeRanges(world),
  };
}
