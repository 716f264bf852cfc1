import type { Command } from 'commander';
import { port, withExamples } from './options.ts';

/** Adds the command that opens the web page. */
export function addUi(program: Command): void {
  withExamples(
    program
      .command('ui')
      .description(
        'open the web page of the flows: what talks to what, and why packets are dropped',
      )
      .option(
        '--server <url>',
        'address of the page, e.g. http://127.0.0.1:8080 (default: a port that kubectl forwards)',
      )
      .option('--namespace <name>', 'namespace of the service', 'kube-system')
      .option('--service <name>', 'service of the page', 'heddle-ui')
      .option('--service-port <number>', 'port of the service', port, 80)
      .option('--port <number>', 'local port that is forwarded to the service', port, 8080)
      .option('--kubeconfig <file>', "kubeconfig for kubectl (default: kubectl's)")
      .option('--context <name>', 'context of the kubeconfig')
      .option('--no-browser', 'only print the address')
      .action(async (options) => (await import('../commands/ui.ts')).ui(options)),
    'heddle ui',
    'heddle ui --server http://127.0.0.1:8080 --no-browser',
  );
}
