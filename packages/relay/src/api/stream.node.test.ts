import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { toBinary } from '@bufbuild/protobuf';
import { flowMessage } from '@heddle/hubble';
import { FlowSchema } from '@heddle/hubble/messages';
import { parseFilter } from '@heddle/web/filter';
import { clusters } from '@heddle/web/testing/clusters';
import { InventedFlows } from '../../testing/invented-flows.ts';
import { Traffic } from '../traffic/traffic.ts';
import { EventStream } from './stream.ts';

test('a client that reads nothing costs no memory', async (t) => {
  const traffic = new Traffic();
  const wish = { shows: 'flows' as const, filter: parseFilter(''), windowMs: 900_000 };
  const source = {
    traffic,
    hello: () => ({}) as never,
    counts: () => ({}) as never,
    renew: async () => () => true,
  };
  let stream: EventStream | undefined;
  let onOpened: (response: ServerResponse) => void = () => {};
  const opened = new Promise<ServerResponse>((resolve) => {
    onOpened = resolve;
  });
  const server = createServer((_request, response) => {
    const form = { level: 'ns' as const, open: [] };
    stream = new EventStream(response, { ...wish, form }, source, () => true);
    onOpened(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => {
    stream?.close();
    socket.destroy();
    server.close();
    server.closeAllConnections();
  });
  socket.pause();
  socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  const response = await opened;
  const flows = new InventedFlows(clusters['shop-berlin'](), 1, 500);
  const node = { name: 'n1', labels: [], interfaceName: () => '' };
  // The kernel takes what fits into the buffers of the sockets; then the response is blocked.
  let index = 0;
  for (let isBlocked = false; !isBlocked; isBlocked = response.writableNeedDrain) {
    for (const { record } of flows.step(Date.now(), 1000)) {
      const message = toBinary(FlowSchema, flowMessage(record, node, `${index++}`));
      traffic.accept(message, 'n1', Date.now(), 0);
    }
    // Half a MiB at once is what a client with small buffers leaves.
    response.write(`: ${' '.repeat(1 << 19)}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const before = response.writableLength;
  for (let round = 0; round < 20; round++) {
    for (const { record } of flows.step(Date.now(), 1000)) {
      const message = toBinary(FlowSchema, flowMessage(record, node, `${index++}`));
      traffic.accept(message, 'n1', Date.now(), 0);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const grown = response.writableLength - before;
  assert.ok(grown < 100_000, `${grown} bytes are queued for a client that reads nothing`);
});

test('a stream whose rights cannot be asked for ends with the reason', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: 1_700_000_000_000 });
  const response = new PassThrough();
  t.after(() => response.destroy());
  const wish = { shows: 'none' as const, filter: parseFilter(''), windowMs: 900_000 };
  const reason = { code: 'unavailable' as const, text: 'The API server did not answer.' };
  const source = {
    traffic: new Traffic(),
    hello: () => ({}) as never,
    counts: () => ({}) as never,
    renew: async () => ({ error: reason }),
  };
  const form = { level: 'ns' as const, open: [] };
  new EventStream(response as unknown as ServerResponse, { ...wish, form }, source, () => true);
  t.mock.timers.tick(61_000);
  const text = (await response.toArray()).join('');
  assert.match(text, /event: bye\ndata: {"error":{"code":"unavailable"[^\n]*}}\n\n$/);
});
