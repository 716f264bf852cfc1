import type { Command } from 'commander';
import { count, labOption, outputOption, withExamples } from './options.ts';

/** Adds the commands of labs. */
export function addLab(program: Command): void {
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
      .action(async (options) => (await import('../commands/lab.ts')).labUp(options)),
    'heddle lab up --nodes 2 --pods 3',
  );
  withExamples(
    lab
      .command('down')
      .description('remove the lab with everything in it')
      .addOption(labOption())
      .action(async (options) => (await import('../commands/lab.ts')).labDown(options)),
    'heddle lab down',
  );
  withExamples(
    lab
      .command('status')
      .description('show the nodes and pods of the lab')
      .addOption(labOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/lab.ts')).labStatus(options)),
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
        (await import('../commands/lab.ts')).labExec(pod, command, options),
      ),
    'heddle lab exec pod-1-1 -- cat /proc/net/route',
  );
}
