import { connect } from 'node:net';
import type { AgentEvent, AgentStatus } from '@heddle/agent';

/** Returns the agent's status through its control socket. */
export async function agentStatus(socketPath: string): Promise<AgentStatus> {
  return (await ask(socketPath, 'status')) as AgentStatus;
}

/** Returns the number of events of the agent so far: once it is up, one for each row that it programmed. */
export async function agentEvents(socketPath: string): Promise<number> {
  const { items } = (await ask(socketPath, 'events.list')) as { items: readonly AgentEvent[] };
  return items.at(-1)?.number ?? 0;
}

function ask(socketPath: string, method: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () =>
      socket.write(`${JSON.stringify({ version: 1, id: 1, method, params: {} })}\n`),
    );
    socket.on('data', (data) => {
      text += data;
      if (!text.endsWith('\n')) return;
      socket.destroy();
      const reply = JSON.parse(text);
      if (reply.error) reject(new Error(`ask agent: ${reply.error.message}`));
      else resolve(reply.result);
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error('ask agent: it closed the connection')));
  });
}
