import type { Method } from '@heddle/agent/protocol';
import type { OutputFormat } from './print.ts';

/** Who answers the requests of the read commands: the agent, or a dump of what it answered. */
export interface ControlSource extends Disposable {
  /** The time (ms since 1970) that answers are of; ages count up to it. */
  readonly nowMs: number;
  request(method: Method, params?: Record<string, unknown>): Promise<unknown>;
  /** All items of a list. */
  items<Item>(method: Method, params?: Record<string, unknown>): AsyncGenerator<Item>;
}

/** Options that all read commands have. */
export interface ReadOptions {
  readonly socket: string;
  readonly fromDump?: string;
  readonly output: OutputFormat;
}

/** The agent at a socket, or in its place a dump. Throws Failure. */
export async function openControl({
  socket,
  fromDump,
}: Pick<ReadOptions, 'socket' | 'fromDump'>): Promise<ControlSource> {
  if (fromDump === undefined) {
    const { ControlClient } = await import('./client.ts');
    return await ControlClient.connect(socket);
  }
  const [{ readDump }, { DumpedControl }] = await Promise.all([
    import('./dump/file.ts'),
    import('./dump/control.ts'),
  ]);
  return new DumpedControl(await readDump(fromDump), fromDump);
}
