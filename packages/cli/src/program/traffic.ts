import type { Command } from 'commander';
import { dumpOption, outputOption, socketOption, withExamples } from './options.ts';

/** Adds the commands about connections. */
export function addFlows(program: Command): void {
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
      .action(async (options) => (await import('../commands/flow.ts')).flowList(options)),
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
