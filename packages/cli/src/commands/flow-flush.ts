import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { FlushCount } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type OutputFormat, printJson, printLine } from '../print.ts';
import { type FlowFilters, filterParams } from './flow.ts';

interface Options extends FlowFilters {
  readonly socket: string;
  readonly output: OutputFormat;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** `heddle flow flush`: ends the external connections that all filters match. */
export async function flowFlush(options: Options): Promise<void> {
  const { socket, output, dryRun = false, yes = false } = options;
  const filters = filterParams(options);
  const isForAll = Object.keys(filters).length === 0;
  if (isForAll && !dryRun && !yes && !process.stdin.isTTY) {
    throw new Failure(
      exitCodes.usage,
      'flush flows: without a filter this ends all flows; give a filter (heddle flow flush --help), or --yes',
    );
  }
  using client = await ControlClient.connect(socket);
  const flush = async (isTrial: boolean): Promise<FlushCount> => {
    let [matched, ended] = [0, 0];
    const pages = client.items<FlushCount>('flow.flush', { ...filters, dryRun: isTrial });
    for await (const page of pages) {
      matched += page.matched;
      ended += page.ended;
    }
    return { matched, ended };
  };
  if (isForAll && !dryRun && !yes) {
    const { matched } = await flush(true);
    if (!(await confirms(`End all ${counted(matched)}? Their TCP connections break. [y/N] `))) {
      throw new Failure(
        exitCodes.failed,
        'flush flows: nothing was ended, because the answer was no',
      );
    }
  }
  const count = await flush(dryRun);
  if (output === 'json') printJson({ ...count, dryRun });
  else printLine(dryRun ? `would end ${counted(count.matched)}` : `ended ${counted(count.ended)}`);
}

const counted = (flows: number) => `${flows.toLocaleString('en')} flow${flows === 1 ? '' : 's'}`;

/** Asks on the terminal; stdout stays free for the result. The end of the input means no. */
async function confirms(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const ended = once(terminal, 'close').then(() => '');
    const answer = await Promise.race([terminal.question(question), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } catch (error) {
    // Ctrl+C and Ctrl+D.
    if ((error as Error).name === 'AbortError') return false;
    throw error;
  } finally {
    terminal.close();
  }
}
