import { writeSync } from 'node:fs';
import type { LogFields, LogLevel } from '@heddle/sys';
import type { LogSink } from '@heddle/sys/node';
import { printable, printableLines } from './printable.ts';

const severity: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

const colours: Readonly<Record<LogLevel, string>> = {
  debug: '\u001b[2m',
  info: '',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};

/**
 * Returns the sink of the agent's log: JSON lines on stderr, or readable lines when stderr is a terminal.
 * It writes each line at once, so that none is lost when the process is killed. (A logging library takes
 * 7 MiB of the agent's memory.)
 */
export function logSink(least: LogLevel): LogSink {
  const format = process.stderr.isTTY ? readableLine : jsonLine;
  return (level, message, fields = {}) => {
    if (severity[level] < severity[least]) return;
    const line = format(level, message, fields, new Date().toISOString());
    try {
      writeSync(2, line);
    } catch (error) {
      // A slow reader of a non-blocking pipe, or one that is gone, loses a line and does not end
      // the agent.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN' && code !== 'EPIPE') throw error;
    }
  };
}

/**
 * Returns a JSON line `{"time":..,"level":..,"message":..}` with further fields, without those that
 * are undefined.
 */
export function jsonLine(
  level: LogLevel,
  message: string,
  fields: LogFields,
  time: string,
): string {
  return `${printableLines(JSON.stringify({ time, level, message, ...fields }, plain))}\n`;
}

/** Returns a readable line: `12:00:01.234 warn  message  name=value`. */
export function readableLine(
  level: LogLevel,
  message: string,
  fields: LogFields,
  time: string,
  environment: NodeJS.ProcessEnv = process.env,
): string {
  const clock = time.slice(time.indexOf('T') + 1, -1);
  // The message has the subject already.
  const rest = Object.entries(fields)
    .filter(([name, value]) => value !== undefined && name !== 'subject')
    .map(([name, value]) =>
      typeof value === 'string' ? `${name}=${value}` : `${name}=${JSON.stringify(value, plain)}`,
    );
  const text = printable([`${clock} ${level.padEnd(5)} ${message}`, ...rest].join('  '));
  const colour = environment.NO_COLOR || environment.TERM === 'dumb' ? '' : colours[level];
  return colour ? `${colour}${text}\u001b[0m\n` : `${text}\n`;
}

/** Returns text for what JSON can't express: 64-bit integers. */
function plain(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
