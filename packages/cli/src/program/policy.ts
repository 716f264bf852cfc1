import type { MatrixPort } from '@heddle/policy-tools';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { wholeNumber } from '../setting-options.ts';
import { appended, dumpOption, outputOption, port, socketOption, withExamples } from './options.ts';

const protocols = ['tcp', 'udp', 'sctp', 'icmp'];

function matrixPort(text: string): MatrixPort {
  if (text.toLowerCase() === 'icmp') return { protocol: 'other', port: 0 };
  const [, protocol, digits] = /^(?:(tcp|udp|sctp)\/)?(\d{1,5})$/i.exec(text) ?? [];
  const number = Number(digits ?? 0);
  if (number < 1 || number > 65535) {
    throw new InvalidArgumentError('It must be a port such as TCP/80, or ICMP.');
  }
  const name = (protocol ?? 'TCP').toUpperCase() as MatrixPort['protocol'];
  return { protocol: name, port: number };
}

const objectsText =
  'objects of the cluster: a folder or file of manifests, or - for standard input';
const objectsOption = () => new Option('--objects <path>', objectsText).conflicts('fromDump');

/** Adds the commands about network policies. */
export function addPolicies(program: Command): void {
  const policy = withExamples(
    program.command('policy').description('show, check, explain and compare network policies'),
    'heddle policy check examples/policy',
    'heddle policy explain --from shop/front-1 --to shop/db --port 5432 --objects examples/policy',
    'heddle policy list',
  );
  addCheck(policy);
  addExplain(policy);
  addMatrix(policy);
  addDiff(policy);
  addSuggest(policy);
  addTenants(policy);
  addList(policy);
  addVerdicts(policy);
}

function addList(policy: Command): void {
  withExamples(
    policy
      .command('list')
      .description(
        'list the policies that select pods of this node, and whether they are programmed',
      )
      .option('-n, --namespace <name>', 'only NetworkPolicies of this namespace')
      .option('--unused', 'list the rules that have decided no connection instead')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/policy/list.ts')).policyList(options)),
    'heddle policy list',
    'heddle policy list --unused',
  );
  withExamples(
    policy
      .command('get')
      .description('show one policy with its rules and their connections, and the pods it selects')
      .argument('<policy>', 'NAMESPACE/NAME, or the name of a ClusterNetworkPolicy')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (name, options) =>
        (await import('../commands/policy/list.ts')).policyGet(name, options),
      ),
    'heddle policy get shop/api',
  );
}

function addVerdicts(policy: Command): void {
  withExamples(
    policy
      .command('verdicts')
      .description('show each verdict as it is made, with rule and policy')
      .option('--denied', 'only connections that are denied, or would be by a policy in audit mode')
      .option('--pod <pod>', 'only connections of this pod (NAMESPACE/NAME) of the node')
      .option('-n, --namespace <name>', 'only connections of pods of this namespace')
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) =>
        (await import('../commands/policy/verdicts.ts')).policyVerdicts(options),
      ),
    'heddle policy verdicts --denied',
    'heddle policy verdicts --namespace shop -o json',
  );
}

function addCheck(policy: Command): void {
  withExamples(
    policy
      .command('check')
      .description(
        'show what policies select, and warn of mistakes; needs neither root nor an agent',
      )
      .argument('<path>', 'file or folder of manifests with the policies')
      .addOption(objectsOption().conflicts('live'))
      .addOption(dumpOption().conflicts('live'))
      .option('--live', 'with the objects of the agent')
      .addOption(socketOption())
      .option('--strict', 'fail for warnings, too')
      .addOption(outputOption())
      .action(async (path, options) =>
        (await import('../commands/policy/check.ts')).policyCheck(path, options),
      ),
    'heddle policy check examples/policy',
    'heddle policy check examples/policy/policies.yaml --objects examples/policy/objects.yaml',
    'kubectl get pods,namespaces,nodes,services,endpointslices -A -o json | heddle policy check examples/policy/policies.yaml --objects -',
  );
}

function addExplain(policy: Command): void {
  withExamples(
    policy
      .command('explain')
      .description('explain whether a connection is allowed: which rule of which policy decides')
      .requiredOption('--from <client>', 'a pod (NAMESPACE/NAME), a node or an IP address')
      .requiredOption('--to <destination>', 'a pod, a service (NAMESPACE/NAME) or an IP address')
      .option('--port <number>', 'destination port; none for icmp', port)
      .addOption(new Option('--protocol <name>', 'protocol').choices(protocols).default('tcp'))
      .option('--name <host>', 'host name by which the client has found the address')
      .addOption(objectsOption())
      .addOption(dumpOption())
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) =>
        (await import('../commands/policy/explain.ts')).policyExplain(options),
      ),
    'heddle policy explain --from shop/front-1 --to shop/db --port 5432 --objects examples/policy',
    'heddle policy explain --from shop/front-1 --to shop/api-1 --port 22 --objects examples/policy',
    'heddle policy explain --from 198.51.100.7 --to shop/front-1 --protocol icmp --objects examples/policy -o json',
  );
}

function addMatrix(policy: Command): void {
  withExamples(
    policy
      .command('matrix')
      .description('show which pods may connect to which, at all ports or at one')
      .option('--port <port>', 'one port, such as TCP/80, or ICMP', matrixPort)
      .option('-n, --namespace <name>', 'only pods of this namespace; may be repeated', appended)
      .addOption(objectsOption())
      .addOption(dumpOption())
      .addOption(socketOption())
      .addOption(
        new Option('-o, --output <format>', 'output format')
          .choices(['table', 'json', 'csv'])
          .default('table'),
      )
      .action(async (options) =>
        (await import('../commands/policy/matrix.ts')).policyMatrix(options),
      ),
    'heddle policy matrix --objects examples/policy',
    'heddle policy matrix --port TCP/5432 --namespace shop --objects examples/policy',
    'heddle policy matrix --port UDP/53 --objects examples/policy -o csv',
  );
}

const flowsText =
  'connections: live for those of the agent, a dump, or a file that heddle flow list -o json has printed';

function addDiff(policy: Command): void {
  withExamples(
    policy
      .command('diff')
      .description('show which connections would change their verdict if policies were applied')
      .requiredOption('--apply <path>', 'file or folder of manifests with the policies')
      .option('--delete', 'the policies would be deleted instead')
      .option('--flows <source>', `${flowsText} (default: all pairs of pods)`)
      .addOption(objectsOption())
      .addOption(dumpOption())
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/policy/diff.ts')).policyDiff(options)),
    'heddle policy diff --apply examples/policy-change/isolate.yaml --objects examples/policy',
    'heddle policy diff --apply examples/policy/policies.yaml --delete --objects examples/policy',
    'heddle policy diff --apply examples/policy-change/isolate.yaml --flows examples/policy-change/flows.json --objects examples/policy -o json',
  );
}

function addSuggest(policy: Command): void {
  withExamples(
    policy
      .command('suggest')
      .description('write NetworkPolicies that allow the connections that were seen, and no others')
      .requiredOption('--from-flows <source>', flowsText)
      .requiredOption('-n, --namespace <name>', 'namespace of the policies')
      .addOption(
        new Option('--direction <direction>', 'only one direction').choices(['ingress', 'egress']),
      )
      .option('--no-dns', 'add no rule for DNS where none was seen')
      .addOption(objectsOption())
      .addOption(dumpOption())
      .addOption(socketOption())
      .addOption(yamlOption())
      .action(async (options) =>
        (await import('../commands/policy/suggest.ts')).policySuggest(options),
      ),
    'heddle policy suggest --from-flows examples/policy-change/flows.json --namespace shop --objects examples/policy/objects.yaml',
  );
}

function addTenants(policy: Command): void {
  withExamples(
    policy
      .command('tenants')
      .description('print ClusterNetworkPolicies that isolate namespaces by the value of a label')
      .requiredOption('--label <key>', 'label of the namespaces, such as team')
      .option('--values <list>', 'its values, with commas between', commaList)
      .option('--allow-dns', 'let all tenants reach the DNS servers of the cluster')
      .option(
        '--shared <list>',
        'namespaces that all tenants may use, with commas between',
        commaList,
      )
      .option(
        '--nodes <list>',
        'ranges of the addresses of nodes, with commas between, whose NodePorts tenants may not use (default: the known nodes)',
        commaList,
      )
      .option('--allow-unlabelled', 'do not isolate tenants from namespaces without the label')
      .option('--priority <number>', 'priority in the tier Admin, 0 to 999', wholeNumber, 100)
      .addOption(objectsOption().conflicts('values'))
      .addOption(dumpOption().conflicts('values'))
      .addOption(socketOption())
      .addOption(yamlOption())
      .action(async (options) =>
        (await import('../commands/policy/tenants.ts')).policyTenants(options),
      ),
    'heddle policy tenants --label team --values a,b --nodes 192.0.2.0/24 --allow-dns',
    'heddle policy tenants --label team --allow-dns --shared ingress-nginx --objects examples/policy',
  );
}

const yamlOption = () =>
  new Option('-o, --output <format>', 'output format').choices(['yaml', 'json']).default('yaml');

function commaList(text: string): string[] {
  const items = text.split(',').map((each) => each.trim());
  if (items.includes('')) throw new InvalidArgumentError('It must be names with commas between.');
  return items;
}
