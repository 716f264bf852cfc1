import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { HealthState, type PeerNode, RpcServer } from '@heddle/hubble';
import { NodeState, Observer } from '@heddle/hubble/messages';
import { PeerPool, relayService } from '../src/index.ts';
import type { MergeTimes } from '../src/observer/get-flows.ts';
import { ObserverFolder } from './observers.ts';

/** Observers and a relay before them, which is served on a unix socket and on a port. All end with the test. */
export async function serveRelay(
  t: TestContext,
  times: MergeTimes = { waitMs: 20_000, silenceMs: 60_000 },
) {
  const folder = new ObserverFolder();
  const pool = new PeerPool({ statusMs: 50, answerMs: 2000, retryMs: [20, 100] });
  const server = new RpcServer({
    services: [Observer],
    routes: (router) => router.service(Observer, relayService(pool, { version: 'relay 1', times })),
    health: new HealthState([]),
  });
  const unix = folder.path('relay.sock');
  await server.listen({ unix });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => connect(unix),
  });
  t.after(async () => {
    sessionManager.abort();
    pool.close();
    await server.close();
    await folder.close();
  });
  const client = createClient(Observer, createGrpcTransport({ baseUrl, sessionManager }));
  return { folder, pool, client, port };
}

/** Replaces the peers of a pool, and waits until as many of them as given are connected. */
export async function connectPeers(
  pool: PeerPool,
  peers: readonly PeerNode[],
  count = peers.length,
): Promise<void> {
  pool.set(peers);
  const isReady = () =>
    pool.connections.filter(({ state }) => state === NodeState.NODE_CONNECTED).length >= count;
  while (!isReady()) await pool.changed(AbortSignal.timeout(100));
}
