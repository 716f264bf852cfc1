import { connect } from 'node:net';
import type { AgentStatus } from '@heddle/agent';

/** The agent's status through its control socket. */
export function agentStatus(socketPath: string): Promise<AgentStatus> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () =>
      socket.write('{"version":1,"id":1,"method":"status","params":{}}\n'),
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
