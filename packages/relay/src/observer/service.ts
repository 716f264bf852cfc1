import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { NodeState, type Observer } from '@heddle/hubble/messages';
import { messageOf } from '../peers/back-off.ts';
import type { PeerConnection } from '../peers/connection.ts';
import type { PeerPool } from '../peers/pool.ts';
import { type MergeTimes, relayFlows } from './get-flows.ts';

/** The settings of the service. */
export interface RelayServiceSettings {
  readonly version: string;
  readonly times?: MergeTimes;
}

/** More calls of GetFlows at a time are refused: each takes a stream of every observer. */
const callsMax = 200;
/** An observer that does not answer a question within this time is left out, in milliseconds. */
const answerMs = 5000;
const namespacesMax = 10_000;

/** Returns Hubble's Observer service over the observers of a pool. */
export function relayService(
  pool: PeerPool,
  { version, times }: RelayServiceSettings,
): ServiceImpl<typeof Observer> {
  const started = Date.now();
  let calls = 0;
  return {
    async *getFlows(request, { signal }) {
      if (calls >= callsMax) {
        const text = `the relay answers ${calls} requests for flows already; try again later`;
        throw new ConnectError(text, Code.ResourceExhausted);
      }
      calls++;
      try {
        yield* relayFlows(pool, request, signal, times);
      } finally {
        calls--;
      }
    },
    getNodes: () => ({ nodes: pool.connections.map(nodeOf) }),
    async getNamespaces(_request, { signal }) {
      const found = new Map<string, { cluster: string; namespace: string }>();
      for (const namespaces of await ofAll(pool, async (connection) => {
        const options = { signal, timeoutMs: answerMs };
        return (await connection.client!.getNamespaces({}, options)).namespaces;
      })) {
        for (const { cluster, namespace } of namespaces.slice(0, namespacesMax)) {
          if (found.size < namespacesMax)
            found.set(`${cluster}/${namespace}`, { cluster, namespace });
        }
      }
      const keys = [...found.keys()].sort();
      return { namespaces: keys.map((key) => found.get(key)!) };
    },
    serverStatus: () => serverStatus(pool, version, started),
    // biome-ignore lint/correctness/useYield: the call fails before there is anything to return.
    async *getAgentEvents() {
      throw unimplemented('agent events');
    },
    // biome-ignore lint/correctness/useYield: the call fails before there is anything to return.
    async *getDebugEvents() {
      throw unimplemented('debug events');
    },
  };
}

/** Asks all connected observers, and returns the answers of those that answer. */
async function ofAll<T>(
  pool: PeerPool,
  ask: (connection: PeerConnection) => Promise<T>,
): Promise<T[]> {
  const settled = await Promise.allSettled(pool.connected.map(ask));
  const answers = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = settled.find((each) => each.status === 'rejected');
  if (answers.length === 0 && failed) {
    throw new ConnectError(`no observer answers: ${messageOf(failed.reason)}`, Code.Unavailable);
  }
  return answers;
}

function nodeOf({ peer, state, status }: PeerConnection) {
  const { name, address, tlsServerName } = peer;
  return {
    ...{
      name,
      address,
      state: state === NodeState.UNKNOWN_NODE_STATE ? NodeState.NODE_UNAVAILABLE : state,
    },
    tls: { enabled: tlsServerName !== undefined, serverName: tlsServerName ?? '' },
    version: status?.version ?? '',
    uptimeNs: status?.uptimeNs ?? 0n,
    numFlows: status?.numFlows ?? 0n,
    maxFlows: status?.maxFlows ?? 0n,
    seenFlows: status?.seenFlows ?? 0n,
  };
}

/** Returns the sums over the connected observers. Their answers are some seconds old at most. */
function serverStatus(pool: PeerPool, version: string, started: number) {
  const connected = pool.connected.flatMap(({ status }) => status ?? []);
  const sum = (field: 'numFlows' | 'maxFlows' | 'seenFlows') =>
    connected.reduce((total, status) => total + status[field], 0n);
  const unavailable = pool.connections.filter(({ state }) => state !== NodeState.NODE_CONNECTED);
  return {
    ...{ numFlows: sum('numFlows'), maxFlows: sum('maxFlows'), seenFlows: sum('seenFlows') },
    uptimeNs: BigInt(Math.max(0, Date.now() - started)) * 1_000_000n,
    numConnectedNodes: connected.length,
    numUnavailableNodes: unavailable.length,
    unavailableNodes: unavailable.slice(0, 10).map(({ peer }) => peer.name),
    version,
    flowsRate: connected.reduce(
      (total, { flowsRate }) => total + (Number.isFinite(flowsRate) ? flowsRate : 0),
      0,
    ),
  };
}

function unimplemented(what: string): ConnectError {
  return new ConnectError(
    `Heddle reports no ${what}; use GetFlows, or \`heddle status\` on a node for the state of its agent`,
    Code.Unimplemented,
  );
}
