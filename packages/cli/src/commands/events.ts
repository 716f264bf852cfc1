import type { AgentEvent } from '@heddle/agent';
import { ControlClient } from '../client.ts';
import { type OutputFormat, printLine, styled } from '../print.ts';

interface Options {
  readonly socket: string;
  readonly output: OutputFormat;
  readonly follow: boolean;
}

const colours = { failed: 'red', problem: 'yellow' } as const;

/** `heddle events`: one line for each event; as JSON, one object in each line. */
export async function events({ socket, output, follow }: Options): Promise<void> {
  using client = await ControlClient.connect(socket);
  const print = (event: AgentEvent) => {
    if (output === 'json') {
      printLine(JSON.stringify(event));
      return;
    }
    const colour = colours[event.kind as keyof typeof colours];
    const line = `${event.time}  ${event.message}`;
    printLine(colour ? styled(colour, line) : line);
  };
  if (follow) {
    await client.follow<AgentEvent>(print);
    return;
  }
  const { items } = (await client.request('events.list')) as { items: AgentEvent[] };
  for (const event of items) print(event);
}
