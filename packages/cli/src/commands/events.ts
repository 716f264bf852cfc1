import type { AgentEvent } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { openControl } from '@heddle/inspect/open';
import { printLine, styled } from '../print.ts';
import { printable } from '../printable.ts';
import type { ReadOptions } from '../read-options.ts';

interface Options extends ReadOptions {
  readonly follow: boolean;
}

const colours = { failed: 'red', problem: 'yellow' } as const;

/** `heddle events`: prints a line for each event; as JSON, one object in each line. */
export async function events({ socket, fromDump, output, follow }: Options): Promise<void> {
  const print = (event: AgentEvent) => {
    if (output === 'json') {
      printLine(JSON.stringify(event));
      return;
    }
    const colour = colours[event.kind as keyof typeof colours];
    const line = printable(`${event.time}  ${event.message}`);
    printLine(colour ? styled(colour, line) : line);
  };
  if (follow && fromDump === undefined) {
    using client = await ControlClient.connect(socket);
    await client.follow<AgentEvent>(print);
    return;
  }
  using client = await openControl({ socket, fromDump });
  const { items } = (await client.request('events.list')) as { items: AgentEvent[] };
  for (const event of items) print(event);
}
