#!/usr/bin/env node
import { inspect } from 'node:util';
import { explain } from '@heddle/control/failure';
import { printable } from './printable.ts';
import { run } from './program.ts';

// A closed pipe (`heddle service list | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await run(process.argv.slice(2));
} catch (error) {
  const { exitCode, message } = explain(error);
  for (const line of message.split('\n')) process.stderr.write(`heddle: ${printable(line)}\n`);
  if (process.env.HEDDLE_DEBUG === '1' && error instanceof Error) {
    // The stack includes those of the causes.
    process.stderr.write(`${inspect(error)}\n`);
  }
  process.exitCode = exitCode;
}
