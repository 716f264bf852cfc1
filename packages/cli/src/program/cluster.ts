import { type Command, Option } from 'commander';
import { dumpOption, outputOption, socketOption, withExamples } from './options.ts';

/** Adds the commands about the agent, services and backends. */
export function addServices(program: Command): void {
  withExamples(
    program
      .command('status')
      .description('show the state of the agent')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/status.ts')).status(options)),
    'heddle status',
    'heddle status -o json',
    'heddle status --from-dump node1.dump',
  );

  withExamples(
    program
      .command('tune')
      .description('look at settings of the node that cost packets or time')
      .addOption(
        new Option('--apply', 'change them; values from before can be restored').conflicts(
          'revert',
        ),
      )
      .option('--revert', 'restore the values from before --apply')
      .option('--all', 'show what is good, too')
      .option('--state <file>', 'file for the values from before', '/run/heddle/tune.json')
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/tune.ts')).tune(options)),
    'heddle tune',
    'heddle tune --apply',
    'heddle tune --revert',
    'heddle tune -o json',
  );

  const service = withExamples(
    program.command('service').description('show services'),
    'heddle service list',
  );
  withExamples(
    service
      .command('list')
      .description('list service ports and whether they are programmed')
      .option('-n, --namespace <name>', 'only this namespace')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/service.ts')).serviceList(options)),
    'heddle service list',
    'heddle service list --namespace default -o json',
  );
  withExamples(
    service
      .command('get')
      .description('show one service with its backends')
      .argument('<service>', 'NAMESPACE/NAME, or NAME in the namespace default')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (name, options) =>
        (await import('../commands/service.ts')).serviceGet(name, options),
      ),
    'heddle service get default/hello',
  );

  const backend = withExamples(
    program.command('backend').description('show backends'),
    'heddle backend list',
  );
  withExamples(
    backend
      .command('list')
      .description('list backends with their connections')
      .option('-s, --service <service>', 'only those of NAMESPACE/NAME')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/backend.ts')).backendList(options)),
    'heddle backend list --service default/hello',
  );
}

/** Adds the commands about other nodes. */
export function addNodes(program: Command): void {
  const node = withExamples(
    program.command('node').description('show other nodes'),
    'heddle node list',
    'heddle node get node2',
  );
  withExamples(
    node
      .command('list')
      .description('list other nodes with the paths to their pods: direct or through a tunnel')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/node.ts')).nodeList(options)),
    'heddle node list -o json',
  );
  withExamples(
    node
      .command('get')
      .description('show one other node, with the reasons for the paths to its pods')
      .argument('<node>', 'the name of the node, or an address of it')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (name, options) =>
        (await import('../commands/node.ts')).nodeGet(name, options),
      ),
    'heddle node get node2',
    'heddle node get 192.0.2.2 -o json',
  );
}

/** Adds the commands about pods. */
export function addPods(program: Command): void {
  const pod = withExamples(
    program.command('pod').description('show the pods that Heddle has connected'),
    'heddle pod list',
  );
  withExamples(
    pod
      .command('list')
      .description('list pods with their addresses and interfaces')
      .option('-n, --namespace <namespace>', 'only those of this namespace')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/pod.ts')).podList(options)),
    'heddle pod list',
    'heddle pod list -o json',
  );
  withExamples(
    pod
      .command('get')
      .description('show one pod')
      .argument('<pod>', 'NAMESPACE/NAME, an address, an interface or a container id')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (name, options) => (await import('../commands/pod.ts')).podGet(name, options)),
    'heddle pod get default/web-1',
    'heddle pod get 10.7.0.5',
  );
}

/** Adds the commands about pod interfaces. */
export function addCni(program: Command): void {
  const cni = withExamples(
    program.command('cni').description('show, check and remove the pod interfaces of this node'),
    'heddle cni list',
    'heddle cni gc --dry-run',
  );
  withExamples(
    cni
      .command('list')
      .description('list the pod interfaces that the CNI plug-in has made')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/cni.ts')).cniList(options)),
    'heddle cni list',
  );
  withExamples(
    cni
      .command('check')
      .description(
        'compare pod interfaces, addresses, routes and map entries with what they were given',
      )
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/cni.ts')).cniCheck(options)),
    'heddle cni check',
  );
  withExamples(
    cni
      .command('gc')
      .description(
        'remove interfaces of pods whose network namespace, or whose Pod object, is gone',
      )
      .option('--dry-run', 'only list them')
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/cni.ts')).cniGc(options)),
    'heddle cni gc --dry-run',
  );
}
