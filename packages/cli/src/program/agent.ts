import { settings } from '@heddle/agent/settings';
import type { Command } from 'commander';
import { addSettings } from '../setting-options.ts';
import { withExamples } from './options.ts';

/** Adds `heddle agent`. */
export function addAgent(program: Command): void {
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
    (await import('../commands/agent.ts')).agent(options.config, flagsOf(options)),
  );
}
