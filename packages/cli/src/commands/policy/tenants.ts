import { exitCodes, Failure } from '@heddle/control/failure';
import { counted, listed, tenantPolicies, tenantValues, yamlOf } from '@heddle/policy-tools';
import { printJson, printLine } from '../../print.ts';
import { answered, openCluster } from './cluster.ts';

interface Options {
  readonly label: string;
  readonly values?: readonly string[];
  readonly allowDns?: boolean;
  readonly shared?: readonly string[];
  readonly allowUnlabelled?: boolean;
  readonly priority: number;
  readonly objects?: string;
  readonly output: 'yaml' | 'json';
}

/** `heddle policy tenants`: prints ClusterNetworkPolicies that isolate namespaces by the value of a label. */
export async function policyTenants(options: Options): Promise<void> {
  const { label, priority, output, objects } = options;
  const values = options.values ?? (await knownValues(label, objects));
  const { allowDns = false, shared = [], allowUnlabelled = false } = options;
  const policies = answered(() =>
    tenantPolicies({ label, values, allowDns, shared, allowUnlabelled, priority }),
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
  ].join('\n');
  printLine(yamlOf(policies, [[{ path: [], text: comment }]]).trimEnd());
}

async function knownValues(label: string, objects: string | undefined): Promise<readonly string[]> {
  if (objects === undefined) {
    throw new Failure(
      exitCodes.usage,
      'find tenants: give the values of the label with --values, or the namespaces with --objects',
    );
  }
  const { world } = await openCluster({ objects });
  return answered(() => tenantValues(world, label));
}
