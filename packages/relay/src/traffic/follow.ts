import { fromBinary } from '@bufbuild/protobuf';
import { millisecondsOf, pause, timestampOf } from '@heddle/hubble';
import { LostEventSchema } from '@heddle/hubble/messages';
import { BackOff, messageOf } from '../peers/back-off.ts';
import type { PeerConnection } from '../peers/connection.ts';
import { type PeerPool, peersMax } from '../peers/pool.ts';
import { rawFlows } from './raw-flows.ts';
import { fieldsRead } from './read-flow.ts';
import type { Traffic } from './traffic.ts';

/** At the first connection the flows of this time before it are read, in milliseconds. */
const backMs = 900_000;
/** The flows from before a connection arrive within this time after it, in milliseconds. */
const catchUpMs = 30_000;
/** After this many flows of one peer the others get their turn. */
const turn = 256;

/** Follows the flows of all observers of a pool, each once, until `signal` aborts. */
export async function followFlows(
  pool: PeerPool,
  traffic: Traffic,
  signal: AbortSignal,
): Promise<void> {
  const followed = new Map<PeerConnection, Promise<void>>();
  const last = new Map<string, number>();
  while (!signal.aborted) {
    for (const connection of pool.connected) {
      if (followed.has(connection)) continue;
      const ends = AbortSignal.any([signal, connection.closed]);
      const following = followPeer(connection, traffic, last, ends);
      followed.set(
        connection,
        following.finally(() => followed.delete(connection)),
      );
    }
    if (traffic.nodes.size > 2 * peersMax || last.size > 2 * peersMax) {
      const names = new Set(pool.connections.map(({ peer }) => peer.name));
      traffic.keepNodes((name) => names.has(name));
      for (const name of last.keys()) if (!names.has(name)) last.delete(name);
    }
    await pool.changed(signal);
  }
  await Promise.all(followed.values());
}

async function followPeer(
  connection: PeerConnection,
  traffic: Traffic,
  last: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const { name } = connection.peer;
  const backOff = new BackOff();
  while (!signal.aborted && connection.transport) {
    try {
      const asked = Date.now();
      const since = Math.max(last.get(name) ?? 0, asked - backMs);
      const request = {
        ...{ follow: true, since: timestampOf(since), fieldMask: { paths: [...fieldsRead] } },
      };
      let count = 0;
      for await (const { kind, bytes } of rawFlows(connection.transport, request, { signal })) {
        const arrived = Date.now();
        if (kind === 'flow') {
          backOff.reset();
          // Later, an old time is that of a wrong clock.
          const oldUntil = arrived - asked < catchUpMs ? asked : Number.NEGATIVE_INFINITY;
          const at = traffic.accept(bytes, name, arrived, oldUntil);
          last.set(name, Math.min(arrived, Math.max(at, last.get(name) ?? 0)) + 0.001);
        } else {
          const { numEventsLost, last: until } = fromBinary(LostEventSchema, bytes);
          const at = until ? Math.min(arrived, millisecondsOf(until)) : arrived;
          traffic.lose(name, Math.min(Number(numEventsLost), Number.MAX_SAFE_INTEGER), at, arrived);
        }
        if (++count % turn === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (signal.aborted) return;
      traffic.events.note(
        Date.now(),
        'node',
        name,
        `The stream of ${name} ended: ${messageOf(error)}.`,
      );
    }
    await pause(backOff.next(), signal);
  }
}
