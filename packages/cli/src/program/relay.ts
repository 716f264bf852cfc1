import { type Command, InvalidArgumentError, Option } from 'commander';
import { appended, count, withExamples } from './options.ts';

/** Adds the command that serves the flows of all nodes. */
export function addRelay(program: Command): void {
  withExamples(
    program
      .command('relay')
      .description("serve the flows of all nodes by Hubble's API, and as a web page")
      .option(
        '--peer <address>',
        'observer whose Peer service names all observers (default: unix:///run/heddle/hubble.sock)',
      )
      .option('--node <name=address>', 'observer of a node; may be repeated', appended)
      .option(
        '--listen <address>',
        'unix:///PATH, HOST:PORT or :PORT; may be repeated (default: :4245)',
        appended,
      )
      .option('--tls-cert <file>', 'certificate of the addresses HOST:PORT, in PEM')
      .option('--tls-key <file>', 'key of the certificate, in PEM')
      .option('--tls-client-ca <file>', 'authorities whose certificates clients must have, in PEM')
      .option('--peer-tls-ca <file>', "authorities of the observers' certificates, in PEM")
      .option('--peer-tls-cert <file>', 'certificate that the observers ask for, in PEM')
      .option('--peer-tls-key <file>', 'key of that certificate, in PEM')
      .option(
        '--peer-tls-name <name>',
        "name in the certificate of --peer, if it is not the host's",
      )
      .option('--ui-listen <address>', 'HOST:PORT or :PORT of the web page', '127.0.0.1:8080')
      .option('--no-ui', 'serve no web page')
      .option('--ui-token-file <file>', 'file with the token that readers of the page need')
      .addOption(
        new Option(
          '--ui-auth <kind>',
          'readers show a token of the cluster, and see the namespaces whose pods they may get',
        ).choices(['kubernetes']),
      )
      .option(
        '--ui-host <name>',
        'name by which the page is reached without a token; may be repeated',
        appended,
      )
      .option('--metrics-listen <address>', 'HOST:PORT or :PORT of the metrics')
      .option('--cluster <name>', 'name of the cluster', 'default')
      .option('--history-bytes <bytes>', 'memory of the history of links', bytes, 64 * 1024 * 1024)
      .option('--history-file <file>', 'SQLite file that keeps the history of links over restarts')
      .option('--history-file-bytes <bytes>', 'bound of that file', bytes, 256 * 1024 * 1024)
      .option(
        '--export-file <file>',
        "file that flows are written to, in the format of Hubble's exporter",
      )
      .option(
        '--export-file-bytes <bytes>',
        'size at which the file is rotated',
        bytes,
        10 * 1024 * 1024,
      )
      .option('--export-files <count>', 'number of files with the rotated ones', count, 5)
      .option(
        '--export-otlp <url>',
        'collector that flows are sent to as logs, e.g. http://collector:4318',
      )
      .action(async (options) =>
        (await import('../commands/relay.ts')).relay({
          ...options,
          listen: options.listen ?? [':4245'],
        }),
      ),
    'heddle relay',
    'heddle relay --node n1=192.0.2.1:4244 --node n2=192.0.2.2:4244',
    'heddle relay --peer 192.0.2.1:4244 --peer-tls-ca ca.crt --ui-listen :8080 --ui-token-file token',
  );
}

/** Reads a number of bytes, which may end in Ki, Mi or Gi. */
function bytes(text: string): number {
  const match = /^(\d{1,12})(Ki|Mi|Gi)?$/.exec(text);
  if (!match) throw new InvalidArgumentError('It must be a number of bytes, such as 64Mi.');
  const units: Readonly<Record<string, number>> = { Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };
  return Number(match[1]) * (units[match[2] ?? ''] ?? 1);
}
