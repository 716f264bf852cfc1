import type { OutputFormat } from './print.ts';

/** Options of every command that reads from an agent or a dump. */
export interface ReadOptions {
  readonly socket: string;
  readonly fromDump?: string;
  readonly output: OutputFormat;
}
