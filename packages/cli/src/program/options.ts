import { settings } from '@heddle/agent/settings';
import { type Command, InvalidArgumentError, Option } from 'commander';

export const sharedDefaults = {
  socket: settings.socket.fallback,
  bpffs: settings.bpffs.fallback,
  cni: settings.cni.fields,
  lab: 'default',
} as const;

export const socketOption = () =>
  new Option('--socket <path>', 'control socket of the agent').default(sharedDefaults.socket);

export const dumpOption = () =>
  new Option('--from-dump <file>', 'read a dump (heddle dump) instead of asking the agent');

export const outputOption = () =>
  new Option('-o, --output <format>', 'output format: a table, or JSON')
    .choices(['table', 'json'])
    .default('table');

export const labOption = () =>
  new Option('--name <lab>', 'name of the lab').default(sharedDefaults.lab);

/** Adds runnable examples to a command's help. */
export function withExamples(command: Command, ...examples: string[]): Command {
  const lines = examples.map((example) => `  $ ${example}`).join('\n');
  return command.addHelpText('after', `\nExample:\n${lines}`);
}

export function count(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function appended(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** Returns the command line of `heddle`. */

export const pinsText = `directory for pins (default: the agent's, else "${sharedDefaults.bpffs}")`;

/** Returns a port of an option, in host order. */
export function port(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65535) {
    throw new InvalidArgumentError('It must be a port, 1 to 65535.');
  }
  return number;
}
