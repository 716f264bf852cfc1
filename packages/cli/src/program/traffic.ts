import type { Command } from 'commander';
import { count, dumpOption, outputOption, port, socketOption, withExamples } from './options.ts';

/** Adds the commands about connections. */
export function addFlows(program: Command): void {
  const flow = withExamples(
    program.command('flow').description('observe flows; show and end external connections'),
    'heddle flow observe --follow --verdict dropped',
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
      .action(async (options) => (await import('../commands/flow.ts')).flowList(options)),
    'heddle flow list --service default/hello',
    'heddle flow list --client 203.0.113.9 -o json',
  );
  withExamples(
    flow
      .command('observe')
      .description(
        'show the flows that `heddle observer` has: connections, dropped packets, verdicts of policies',
      )
      .option('-f, --follow', 'go on with later flows')
      .option('--last <n>', 'only the latest flows (default: 20, without --since)', count)
      .option('--since <time>', 'only later ones: 5m, 2h, or 2026-01-02T03:04:05Z')
      .option('-n, --namespace <name>', 'only flows from or to pods of a namespace')
      .option('--pod <pod>', 'only flows from or to NAMESPACE/NAME; a prefix suffices')
      .option('--verdict <verdict>', 'forwarded, dropped, audit or another verdict')
      .option('--port <port>', 'only flows from or to a port', port)
      .option('--protocol <name>', 'tcp, udp, sctp, icmpv4, icmpv6 or dns')
      .option('--ip <address>', 'only flows from or to an address or a range')
      .option('--observer <path>', 'socket of the observer', '/run/heddle/hubble.sock')
      .addOption(outputOption())
      .action(async (options) =>
        (await import('../commands/flow-observe.ts')).flowObserve(options),
      ),
    'heddle flow observe --follow --namespace shop',
    'heddle flow observe --since 10m --verdict dropped --pod shop/cart -o json',
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
      .action(async (options) => (await import('../commands/flow-flush.ts')).flowFlush(options)),
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
      .action(async (options) => (await import('../commands/flow.ts')).natList(options)),
    'heddle nat list',
  );
}

/** Adds the commands about dropped packets. */
export function addDrops(program: Command): void {
  const drop = withExamples(
    program.command('drop').description('show dropped packets'),
    'heddle drop list',
    'heddle drop watch',
  );
  withExamples(
    drop
      .command('list')
      .description(
        'count dropped packets and refused connections, by reason, and denied ones by rule',
      )
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/drop.ts')).dropList(options)),
    'heddle drop list',
  );
  withExamples(
    drop
      .command('watch')
      .description(
        'show each packet as this node drops it, with the reason and the rule that denies it',
      )
      .addOption(socketOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/drop.ts')).dropWatch(options)),
    'heddle drop watch',
  );
}

/** Adds the commands about events and the configuration. */
export function addEvents(program: Command): void {
  withExamples(
    program
      .command('events')
      .description('show recent events, and follow')
      .option('--no-follow', 'stop after the recent events')
      .addOption(socketOption())
      .addOption(dumpOption())
      .addOption(outputOption())
      .action(async (options) => (await import('../commands/events.ts')).events(options)),
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
      .action(async (options) => (await import('../commands/config.ts')).config(options)),
    'heddle config',
    'heddle config --fields',
  );
}
