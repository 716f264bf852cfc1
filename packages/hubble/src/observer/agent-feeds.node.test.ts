import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import type { DropEntry } from '@heddle/agent';
import { encodeReply, parseRequest, type Request } from '@heddle/agent/protocol';
import type { FlowRecord } from '../flows/record.ts';
import { AgentNames } from '../sources/agent-names.ts';
import { AgentFeeds } from './agent-feeds.ts';

const denial = (destinationPort: number): DropEntry => ({
  ...{ reason: 'denied by policy', ifindex: 3, protocol: 'TCP', length: 60 },
  ...{ source: '10.7.0.2', sourcePort: 40_000, destination: '10.7.0.3', destinationPort },
  policy: { direction: 'ingress', rule: undefined },
});

/** Serves the agent's protocol on a unix socket, with a denial by default on port `ports[n]` for the n-th follower. */
async function serveAgent(t: TestContext, ports: readonly number[]) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-feeds-'));
  const path = join(folder, 'agent.sock');
  const sockets = new Set<Socket>();
  const left = [...ports];
  const answer = (socket: Socket, { id, method }: Request) => {
    const isQuestion = method === 'policy.explain';
    const reasons = { isolatedBy: ['NetworkPolicy shop/server'], nearest: [] };
    socket.write(encodeReply({ id, result: isQuestion ? reasons : { following: true } }));
    const port = method === 'drops.follow' ? left.shift() : undefined;
    if (port !== undefined) socket.write(encodeReply({ id: null, event: denial(port) }));
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    createInterface({ input: socket }).on('line', (line) => {
      const parsed = parseRequest(line);
      assert.ok('request' in parsed, line);
      answer(socket, parsed.request);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
    rmSync(folder, { recursive: true, force: true });
  });
  /** Ends all connections, as an agent that restarts. */
  const restart = () => {
    for (const socket of sockets) socket.destroy();
  };
  return { path, restart };
}

test('the first denial after a restart of the agent has its reasons', async (t) => {
  const agent = await serveAgent(t, [8080, 8081]);
  const records: FlowRecord[] = [];
  let onRecord: () => void = () => {};
  const feeds = new AgentFeeds(agent.path, new AgentNames('default', 'n1'), {
    add: (record) => {
      records.push(record);
      onRecord();
    },
    lose: (count) => assert.fail(`${count} observations are lost`),
    report: () => {},
  });
  t.after(() => feeds[Symbol.dispose]());
  const next = () =>
    new Promise<void>((resolve) => {
      onRecord = resolve;
    });
  const first = next();
  feeds.start();
  await first;
  const second = next();
  agent.restart();
  await second;
  assert.deepEqual(
    records.map(({ destinationPort, decisions = [] }) => [
      destinationPort,
      ...decisions.map(({ policy }) => `${policy?.kind} ${policy?.namespace}/${policy?.name}`),
    ]),
    [8080, 8081].map((port) => [port, 'NetworkPolicy shop/server']),
  );
});
