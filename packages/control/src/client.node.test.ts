import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ControlClient } from './client.ts';

test('requests fail at once when the agent has closed the connection, before and after', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-control-'));
  const path = join(folder, 'agent.sock');
  const server = createServer((socket) => socket.once('data', () => socket.destroy()));
  try {
    server.listen(path);
    await once(server, 'listening');
    using client = await ControlClient.connect(path);
    const closed = /reach agent: it closed the connection/;
    await assert.rejects(client.request('status'), closed);
    await assert.rejects(client.request('status'), closed);
    await assert.rejects(
      client.follow(() => {}),
      closed,
    );
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
