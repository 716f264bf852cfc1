import type { LogLevel } from '@heddle/sys';
import type { LogSink } from '@heddle/sys/node';
import pino from 'pino';

const colours: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  info: '',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};

/**
 * Where the agent's log goes: JSON lines on stderr, or, when stderr is a terminal, lines for people.
 * Lines are written at once, so that none is lost when the process is killed.
 */
export function logSink(level: LogLevel): LogSink {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const logger = process.stderr.isTTY
    ? pino(options, { write: (line) => process.stderr.write(readable(line)) })
    : pino(options, pino.destination({ dest: 2, sync: true }));
  return (lineLevel, message, fields) => logger[lineLevel](fields ?? {}, message);
}

/** `12:00:01.234 warn  message  name=value`, from a line of JSON. */
export function readable(line: string, environment: NodeJS.ProcessEnv = process.env): string {
  const { time, level, message, subject: _, ...fields } = JSON.parse(line);
  const clock = /T([^Z]*)/.exec(time)?.[1] ?? time;
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const text = [`${clock} ${level.padEnd(5)} ${message}`, ...rest].join('  ');
  const colour = environment.NO_COLOR || environment.TERM === 'dumb' ? '' : colours[level];
  return colour ? `${colour}${text}\u001b[0m\n` : `${text}\n`;
}
