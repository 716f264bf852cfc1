import type { Command } from 'commander';
import { appended, count, sharedDefaults, socketOption, withExamples } from './options.ts';

/** Adds the command that serves flows. */
export function addObserver(program: Command): void {
  withExamples(
    program
      .command('observer')
      .description("serve this node's flows by Hubble's API, for the command hubble and others")
      .option(
        '--listen <address>',
        'unix:///PATH, HOST:PORT or :PORT; may be repeated (default: unix:///run/heddle/hubble.sock)',
        appended,
      )
      .option(
        '--address <address>',
        "HOST:PORT at which relays reach this observer; :PORT at the node's first address",
        '',
      )
      .option('--wait <seconds>', 'wait for the agent at most so long', count, 0)
      .option('--cluster <name>', 'name of the cluster', 'default')
      .option('--tls-cert <file>', 'certificate of the addresses HOST:PORT, in PEM')
      .option('--tls-key <file>', 'key of the certificate, in PEM')
      .option('--tls-client-ca <file>', 'authorities whose certificates clients must have, in PEM')
      .option(
        '--metrics <metric>',
        "metric with options as in Hubble's configuration, e.g. dns:query; may be repeated",
        appended,
      )
      .option('--metrics-listen <address>', 'HOST:PORT or :PORT of the metrics, e.g. :9965')
      .option('--bpffs <dir>', 'directory for pins', sharedDefaults.bpffs)
      .addOption(socketOption())
      .action(async (options) =>
        (await import('../commands/observer.ts')).observer({
          ...options,
          listen: options.listen ?? ['unix:///run/heddle/hubble.sock'],
        }),
      ),
    'heddle observer',
    'heddle observer --listen :4244 --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt',
    'heddle observer --metrics flow --metrics drop:sourceContext=pod --metrics-listen :9965',
  );
}
