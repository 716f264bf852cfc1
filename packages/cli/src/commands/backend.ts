import type { BackendEntry } from '@heddle/agent';
import { ControlClient } from '../client.ts';
import { type OutputFormat, printJson, printLine } from '../print.ts';
import { backendTable, fullName } from './service.ts';

interface Options {
  readonly socket: string;
  readonly output: OutputFormat;
  readonly service?: string;
}

/** `heddle backend list`: one line for each backend of each service port. */
export async function backendList({ socket, output, service }: Options): Promise<void> {
  using client = await ControlClient.connect(socket);
  const params = service === undefined ? {} : { service: fullName(service) };
  const backends: BackendEntry[] = [];
  for await (const entry of client.items<BackendEntry>('backend.list', params)) {
    backends.push(entry);
  }
  if (output === 'json') printJson({ backends });
  else if (backends.length === 0) printLine('no backends');
  else process.stdout.write(backendTable(backends, true));
}
