import { settings } from '@heddle/agent/settings';
import { version } from '@heddle/assets';
import { exitCodes } from '@heddle/control/failure';
import {
  icmpErrorKinds,
  type TcpFlag,
  tcpFlags,
  traceProtocols,
  traceStarts,
} from '@heddle/inspect/request';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { addSettings, wholeNumber } from './setting-options.ts';

// Only the command line is here; the code of a command is loaded when it runs, so that
// `heddle status` does not load the agent.

const sharedDefaults = {
  socket: settings.socket.fallback,
  bpffs: settings.bpffs.fallback,
  cni: settings.cni.fields,
  lab: 'default',
} as const;

const socketOption = () =>
  new Option('--socket <path>', 'control socket of the agent').default(sharedDefaults.socket);

const dumpOption = () =>
  new Option('--from-dump <file>', 'read a dump (heddle dump) instead of asking the agent');

const outputOption = () =>
  new Option('-o, --output <format>', 'output format: a table, or JSON')
    .choices(['table', 'json'])
    .default('table');

const labOption = () => new Option('--name <lab>', 'name of the lab').default(sharedDefaults.lab);

/** Adds runnable examples to a command's help. */
function withExamples(command: Command, ...examples: string[]): Command {
  const lines = examples.map((example) => `  $ ${example}`).join('\n');
  return command.addHelpText('after', `\nExample:\n${lines}`);
}

function count(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function appended(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** Returns the command line of `heddle`. */
export function createProgram(): Command {
  const program = new Command('heddle')
    .description('Kubernetes services, load-balanced in the kernel')
    .showHelpAfterError('(add --help for help)')
    // For `lab exec`: options after the pod belong to the command to run.
    .enablePositionalOptions()
    .exitOverride();
  withExamples(
    program,
    'heddle agent --manifests examples/hello',
    'heddle service list',
    'heddle lab up --nodes 1 --pods 3',
  );
  program.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 failed or not valid, 2 wrong usage, 3 not permitted or BPF missing,\n' +
      '4 agent not reachable, 5 an agent runs already, 70 internal error (HEDDLE_DEBUG=1 shows more).',
  );

  addAgent(program);
  addServices(program);
  addNodes(program);
  addPods(program);
  addCni(program);
  addFlows(program);
  addDrops(program);
  addEvents(program);
  addDump(program);
  addTrace(program);
  addSimulate(program);
  addHousekeeping(program);
  addAbout(program);
  addLab(program);
  return program;
}

function addAgent(program: Command): void {
  const agent = withExamples(
    program
      .command('agent')
      .description('run the agent: program the kernel from a cluster or a folder of manifests')
      .option('--config <file>', 'YAML file with these and further settings; flags override it'),
    'heddle agent --manifests examples/hello --node node1',
    'heddle agent --kubeconfig ~/.kube/config --node worker-1',
  );
  const flagsOf = addSettings(agent, settings);
  agent.action(async (options) =>
    (await import('./commands/agent.ts')).agent(options.config, flagsOf(options)),
  );
}

function addServices(program: Command): void {
  withExamples(
    program
      .command('status')
      .description('show the state of the agent')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/status.ts')).status(options)),
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
      .action(async (options) => (await import('./commands/tune.ts')).tune(options)),
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
      .action(async (options) => (await import('./commands/service.ts')).serviceList(options)),
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
        (await import('./commands/service.ts')).serviceGet(name, options),
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
      .action(async (options) => (await import('./commands/backend.ts')).backendList(options)),
    'heddle backend list --service default/hello',
  );
}

function addNodes(program: Command): void {
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
      .action(async (options) => (await import('./commands/node.ts')).nodeList(options)),
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
      .action(async (name, options) => (await import('./commands/node.ts')).nodeGet(name, options)),
    'heddle node get node2',
    'heddle node get 192.0.2.2 -o json',
  );
}

function addPods(program: Command): void {
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
      .action(async (options) => (await import('./commands/pod.ts')).podList(options)),
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
      .action(async (name, options) => (await import('./commands/pod.ts')).podGet(name, options)),
    'heddle pod get default/web-1',
    'heddle pod get 10.7.0.5',
  );
}

function addCni(program: Command): void {
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
      .action(async (options) => (await import('./commands/cni.ts')).cniList(options)),
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
      .action(async (options) => (await import('./commands/cni.ts')).cniCheck(options)),
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
      .action(async (options) => (await import('./commands/cni.ts')).cniGc(options)),
    'heddle cni gc --dry-run',
  );
}

function addFlows(program: Command): void {
  const flow = withExamples(
    program.command('flow').description('show and end external connections'),
    'heddle flow list',
    'heddle flow flush --client 203.0.113.9',
  );
  withExamples(
    flow
      .command('list')
      .description('list external connections that this node translates')
      .option('-s, --service <service>', 'only those of NAMESPACE/NAME')
      .option('--client <address>', 'only those of a client')
      .option('--backend <address>', 'only those to a backend')
      .option('--protocol <name>', 'TCP, UDP, SCTP or ICMP')
      .option('--state <state>', 'only those in a state, e.g. established')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/flow.ts')).flowList(options)),
    'heddle flow list --service default/hello',
    'heddle flow list --client 203.0.113.9 -o json',
  );
  withExamples(
    flow
      .command('flush')
      .description(
        'end external connections: the next TCP packet of the client is answered with a reset, the next UDP packet chooses a backend again',
      )
      .option('-s, --service <service>', 'only those of NAMESPACE/NAME')
      .option('--client <address>', 'only those of a client')
      .option('--backend <address>', 'only those to a backend')
      .option('--protocol <name>', 'TCP, UDP, SCTP or ICMP')
      .option('--state <state>', 'only those in a state, e.g. established')
      .option('--dry-run', 'only count them')
      .option('--yes', 'do not ask before ending all')
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/flow-flush.ts')).flowFlush(options)),
    'heddle flow flush --client 203.0.113.9',
    'heddle flow flush --service default/hello --protocol UDP --dry-run',
  );

  const nat = withExamples(
    program.command('nat').description('show the use of SNAT ports'),
    'heddle nat list',
  );
  withExamples(
    nat
      .command('list')
      .description('list backends by the number of SNAT ports in use')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/flow.ts')).natList(options)),
    'heddle nat list',
  );
}

function addDrops(program: Command): void {
  const drop = withExamples(
    program.command('drop').description('show dropped packets'),
    'heddle drop list',
    'heddle drop watch',
  );
  withExamples(
    drop
      .command('list')
      .description('count dropped packets and refused connections, by reason')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/flow.ts')).dropList(options)),
    'heddle drop list',
  );
  withExamples(
    drop
      .command('watch')
      .description('show each packet as this node drops it, with the reason')
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/flow.ts')).dropWatch(options)),
    'heddle drop watch',
  );
}

function addEvents(program: Command): void {
  withExamples(
    program
      .command('events')
      .description('show recent events, and follow')
      .option('--no-follow', 'stop after the recent events')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/events.ts')).events(options)),
    'heddle events',
  );

  withExamples(
    program
      .command('config')
      .description('show the configuration of the agent')
      .option('--fields', 'list the fields of the configuration file; needs no agent')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/config.ts')).config(options)),
    'heddle config',
    'heddle config --fields',
  );
}

const pinsText = `directory for pins (default: the agent's, else "${sharedDefaults.bpffs}")`;

function addDump(program: Command): void {
  withExamples(
    program
      .command('dump')
      .description('save the state of the kernel and the answers of the agent in one file')
      .argument('<file>', 'file to write, readable by its owner only; - for standard output')
      .addOption(socketOption())
      .option('--bpffs <dir>', pinsText)
      .addOption(outputOption())
      .action(async (file, options) => (await import('./commands/dump.ts')).dump(file, options)),
    'heddle dump node1.dump',
    'kubectl -n kube-system exec POD -- heddle dump - > node1.dump',
    'heddle service list --from-dump node1.dump',
  );
}

function port(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65535) {
    throw new InvalidArgumentError('It must be a port, 1 to 65535.');
  }
  return number;
}

function flags(text: string): TcpFlag[] {
  const names = text.split(',');
  const known: readonly string[] = tcpFlags;
  if (!names.every((name) => known.includes(name))) {
    throw new InvalidArgumentError(`It must be some of ${known.join(', ')}, with commas between.`);
  }
  return names as TcpFlag[];
}

function addTrace(program: Command): void {
  withExamples(
    program
      .command('trace')
      .description(
        'explain what happens to a connection or packet, by running the programs on copies of their maps',
      )
      .requiredOption(
        '--from <source>',
        'a pod, the node by its name, or an IP address; an address not on this node is an external client',
      )
      .requiredOption('--to <destination>', 'a service (NAMESPACE/NAME) or an IP address')
      .option('--port <number>', 'destination port; none for icmp', port)
      .addOption(
        new Option('--protocol <name>', 'protocol of the connection; icmp is an echo request')
          .choices(traceProtocols)
          .default('tcp'),
      )
      .addOption(
        new Option(
          '--at <hook>',
          'start at the call of a process (socket), at a packet that leaves a pod (pod), at an external packet (node), or at one out of the tunnel from another node (tunnel) (default: depends on --from)',
        ).choices(traceStarts),
      )
      .option('--source-port <number>', 'port of the client', port)
      .option('--spoof <address>', 'a forged source address of a packet that leaves the pod')
      .option(
        '--flags <list>',
        'flags of the TCP segment, e.g. fin,ack (default: the usual ones)',
        flags,
      )
      .option('--flow', 'continue an existing flow (heddle flow list)')
      .option('--reply', "trace the backend's reply")
      .addOption(
        new Option(
          '--error <kind>',
          'trace an ICMP error about the packet in the other direction',
        ).choices(icmpErrorKinds),
      )
      .option('--step', 'show each source line that runs')
      .addOption(socketOption())
      .option('--bpffs <dir>', pinsText)
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/trace.ts')).trace(options)),
    'heddle trace --from 10.244.1.1 --to default/hello --port 80',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --step',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --flow --reply --flags fin,ack',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --reply --error too-large',
    'heddle trace --from 203.0.113.9 --to 198.51.100.7 --protocol icmp',
    'heddle trace --from default/web-0 --to 203.0.113.9 --port 443 --at pod --reply',
    'heddle trace --from pod-1-1 --to hello --port 81 --from-dump node1.dump -o json',
  );
}

function addSimulate(program: Command): void {
  withExamples(
    program
      .command('simulate')
      .description('run a scenario on a simulated cluster; needs neither root nor a cluster')
      .option('--manifests <dir>', 'folder of manifests with the services of the cluster')
      .option(
        '--nodes <n>',
        'nodes of the cluster (default: those of the scenario or manifests)',
        wholeNumber,
      )
      .requiredOption('--scenario <file>', 'scenario to run (YAML; docs/simulate.md)')
      .option(
        '--seed <n>',
        'seed of all random choices (default: that of the scenario)',
        wholeNumber,
      )
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/simulate.ts')).simulate(options)),
    'heddle simulate --manifests examples/simulate/manifests --scenario examples/simulate/node-loss.yaml',
    'heddle simulate --scenario examples/simulate/many-services.yaml -o json',
  );
}

function addHousekeeping(program: Command): void {
  withExamples(
    program
      .command('validate')
      .description('check a folder of manifests; needs neither root nor an agent')
      .argument('<dir>', 'folder of manifests')
      .addOption(outputOption())
      .action(async (dir, options) =>
        (await import('./commands/validate.ts')).validate(dir, options),
      ),
    'heddle validate examples/hello',
  );

  withExamples(
    program
      .command('manifests')
      .description('print the objects that run Heddle on every node, for kubectl apply')
      .option('--set <name=value>', 'change a setting; may be repeated', appended)
      .option('--fields', 'list the settings')
      .addOption(
        new Option('-o, --output <format>', 'output format')
          .choices(['yaml', 'json'])
          .default('yaml'),
      )
      .action(async (options) => (await import('./commands/manifests.ts')).manifests(options)),
    'heddle manifests | kubectl apply -f -',
    'heddle manifests --set apiServers=https://192.0.2.10:6443 --set sizes.services=131072',
    'heddle manifests --fields',
  );

  withExamples(
    program
      .command('cleanup')
      .description('remove Heddle, or what kube-proxy left, from this machine')
      .option('--kube-proxy', 'remove only the rules and interfaces that kube-proxy left')
      .option('--bpffs <dir>', 'directory for pins', sharedDefaults.bpffs)
      .addOption(socketOption())
      .option(
        '--cni-bin-dir <dir>',
        'directory of the CNI plug-in',
        sharedDefaults.cni.binDir.fallback,
      )
      .option(
        '--cni-config-dir <dir>',
        'directory of its configuration',
        sharedDefaults.cni.configDir.fallback,
      )
      .option('--pods', 'also the interfaces of pods, which lose their network')
      .option('--force', 'even while the agent, or kube-proxy, runs')
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/cleanup.ts')).cleanup(options)),
    'heddle cleanup',
    'heddle cleanup --pods',
    'heddle cleanup --kube-proxy',
  );
}

function addAbout(program: Command): void {
  withExamples(
    program
      .command('version')
      .description('show the version')
      .addOption(outputOption())
      .action(({ output }) => {
        const own = version();
        const node = process.versions.node;
        process.stdout.write(
          output === 'json'
            ? `${JSON.stringify({ version: own, node }, null, 2)}\n`
            : `heddle ${own} (Node.js ${node})\n`,
        );
      }),
    'heddle version',
  );

  withExamples(
    program
      .command('completion')
      .description('print a completion script for a shell')
      .argument('<shell>', 'bash, zsh or fish')
      .action(async (shell) => {
        const { completion } = await import('./commands/completion.ts');
        completion(program, shell);
      }),
    'heddle completion bash > /etc/bash_completion.d/heddle',
    'source <(heddle completion zsh)',
    'heddle completion fish | source',
  );
}

function addLab(program: Command): void {
  const lab = withExamples(
    program
      .command('lab')
      .enablePositionalOptions()
      .description('clusters made of network namespaces, for experiments'),
    'heddle lab up --nodes 1 --pods 3',
    'heddle lab down',
  );
  withExamples(
    lab
      .command('up')
      .description('create a lab that stays until it is removed')
      .option('--nodes <n>', 'nodes', count, 1)
      .option('--pods <m>', 'pods on each node', count, 3)
      .addOption(labOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/lab.ts')).labUp(options)),
    'heddle lab up --nodes 2 --pods 3',
  );
  withExamples(
    lab
      .command('down')
      .description('remove the lab with everything in it')
      .addOption(labOption())
      .action(async (options) => (await import('./commands/lab.ts')).labDown(options)),
    'heddle lab down',
  );
  withExamples(
    lab
      .command('status')
      .description('show the nodes and pods of the lab')
      .addOption(labOption())
      .addOption(outputOption())
      .action(async (options) => (await import('./commands/lab.ts')).labStatus(options)),
    'heddle lab status',
  );
  withExamples(
    lab
      .command('exec')
      .description('run a command in a pod or on a node of the lab')
      .argument('<pod>', 'name of a pod or node, as heddle lab status shows it')
      .argument('<command...>', 'what to run, after --')
      .addOption(labOption())
      .passThroughOptions()
      .action(async (pod, command, options) =>
        (await import('./commands/lab.ts')).labExec(pod, command, options),
      ),
    'heddle lab exec pod-1-1 -- cat /proc/net/route',
  );
}

/** Runs `heddle` with these arguments. A command that fails throws, or sets process.exitCode. */
export async function run(args: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Commander has printed its message. A request for help is no error, nor is a missing command.
    const helped = error.exitCode === 0 || (error.code === 'commander.help' && args.length === 0);
    process.exitCode = helped ? exitCodes.ok : exitCodes.usage;
  }
}
