import type { BackendEntry } from '@heddle/agent';
import { openControl } from '@heddle/inspect/open';
import { printJson, printLine } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';
import { backendTable, fullName, whyUnknown } from './service.ts';

interface Options extends ReadOptions {
  readonly service?: string;
}

/** `heddle backend list`: prints a line for each backend of each service port. */
export async function backendList({ output, service, ...source }: Options): Promise<void> {
  using client = await openControl(source);
  const params = service === undefined ? {} : { service: fullName(service) };
  const backends: BackendEntry[] = [];
  for await (const entry of client.items<BackendEntry>('backend.list', params)) {
    backends.push(entry);
  }
  const unknown = backends.length === 0 ? await whyUnknown(client) : undefined;
  if (output === 'json') printJson({ backends, synced: unknown === undefined });
  else if (unknown !== undefined) printLine(unknown);
  else if (backends.length === 0) printLine('no backends');
  else process.stdout.write(backendTable(backends, true));
}
