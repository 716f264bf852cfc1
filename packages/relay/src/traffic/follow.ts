import { millisecondsOf, timestampOf } from '@heddle/hubble';
import { BackOff, messageOf, pause } from '../peers/back-off.ts';
import type { PeerConnection } from '../peers/connection.ts';
import type { PeerPool } from '../peers/pool.ts';
import { fieldsRead } from './read-flow.ts';
import type { Traffic } from './traffic.ts';

/** At the first connection the flows of this time before it are read, in milliseconds. */
const backMs = 900_000;
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
  while (!signal.aborted && connection.client) {
    try {
      const asked = Date.now();
      const since = Math.max(last.get(name) ?? 0, asked - backMs);
      const request = {
        ...{ follow: true, since: timestampOf(since), fieldMask: { paths: [...fieldsRead] } },
      };
      let count = 0;
      for await (const { responseTypes, time } of connection.client.getFlows(request, { signal })) {
        const arrived = Date.now();
        if (responseTypes.case === 'flow') {
          backOff.reset();
          const at = responseTypes.value.time ? millisecondsOf(responseTypes.value.time) : arrived;
          // Nodes keep flows in order, so what follows a gap in time is not older than it.
          const isOld = at < asked;
          traffic.accept(responseTypes.value, name, arrived, isOld);
          last.set(name, Math.min(arrived, Math.max(at, last.get(name) ?? 0)) + 0.001);
        } else if (responseTypes.case === 'lostEvents') {
          const lost = Number(responseTypes.value.numEventsLost);
          traffic.lose(
            name,
            Math.min(lost, Number.MAX_SAFE_INTEGER),
            time ? Math.min(arrived, millisecondsOf(time)) : arrived,
          );
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
