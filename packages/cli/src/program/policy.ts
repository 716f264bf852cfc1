import type { MatrixPort } from '@heddle/policy-tools';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { appended, outputOption, port, withExamples } from './options.ts';

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
const objectsOption = () => new Option('--objects <path>', objectsText);

/** Adds the commands about network policies. */
export function addPolicies(program: Command): void {
  const policy = withExamples(
    program.command('policy').description('check, explain and compare network policies'),
    'heddle policy check examples/policy',
    'heddle policy explain --from shop/front-1 --to shop/db --port 5432 --objects examples/policy',
  );
  addCheck(policy);
  addExplain(policy);
  addMatrix(policy);
}

function addCheck(policy: Command): void {
  withExamples(
    policy
      .command('check')
      .description(
        'show what policies select, and warn of mistakes; needs neither root nor an agent',
      )
      .argument('<path>', 'file or folder of manifests with the policies')
      .addOption(objectsOption())
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
      .addOption(objectsOption().makeOptionMandatory())
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
      .addOption(objectsOption().makeOptionMandatory())
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
