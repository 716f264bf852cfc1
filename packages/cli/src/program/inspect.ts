import {
  icmpErrorKinds,
  type TcpFlag,
  tcpFlags,
  traceProtocols,
  traceStarts,
} from '@heddle/inspect/request';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { wholeNumber } from '../setting-options.ts';
import { dumpOption, outputOption, pinsText, port, socketOption, withExamples } from './options.ts';

/** Adds `heddle dump`. */
export function addDump(program: Command): void {
  withExamples(
    program
      .command('dump')
      .description('save the state of the kernel and the answers of the agent in one file')
      .argument('<file>', 'file to write, readable by its owner only; - for standard output')
      .addOption(socketOption())
      .option('--bpffs <dir>', pinsText)
      .addOption(outputOption())
      .action(async (file, options) => (await import('../commands/dump.ts')).dump(file, options)),
    'heddle dump node1.dump',
    'kubectl -n kube-system exec POD -- heddle dump - > node1.dump',
    'heddle service list --from-dump node1.dump',
  );
}

function flags(text: string): TcpFlag[] {
  const names = text.split(',');
  const known: readonly string[] = tcpFlags;
  if (!names.every((name) => known.includes(name))) {
    throw new InvalidArgumentError(`It must be some of ${known.join(', ')}, with commas between.`);
  }
  return names as TcpFlag[];
}

/** Adds `heddle trace`. */
export function addTrace(program: Command): void {
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
      .option('--then-dump <file>', 'go on with the dump of the node that the packet is sent to')
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/trace.ts')).trace(options)),
    'heddle trace --from 10.244.1.1 --to default/hello --port 80',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --step',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --flow --reply --flags fin,ack',
    'heddle trace --from 203.0.113.9 --to 192.0.2.1 --port 30080 --reply --error too-large',
    'heddle trace --from 203.0.113.9 --to 198.51.100.7 --protocol icmp',
    'heddle trace --from default/web-0 --to 203.0.113.9 --port 443 --at pod --reply',
    'heddle trace --from pod-1-1 --to hello --port 81 --from-dump node1.dump -o json',
    'heddle trace --from 10.244.1.2 --to 10.244.2.2 --port 80 --from-dump node1.dump --then-dump node2.dump',
  );
}

/** Adds `heddle simulate`. */
export function addSimulate(program: Command): void {
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
      .action(async (options) => (await import('../commands/simulate.ts')).simulate(options)),
    'heddle simulate --manifests examples/simulate/manifests --scenario examples/simulate/node-loss.yaml',
    'heddle simulate --scenario examples/simulate/many-services.yaml -o json',
  );
}
