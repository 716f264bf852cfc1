import { create } from '@bufbuild/protobuf';
import { type FlowQuery, flowQuery, millisecondsOf, timestampOf } from '@heddle/hubble';
import {
  type GetFlowsRequest,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
  NodeState,
} from '@heddle/hubble/messages';
import type { PeerConnection } from '../peers/connection.ts';
import type { PeerPool } from '../peers/pool.ts';
import { TimeMerge } from './merge.ts';

/** The waits of a merge, in milliseconds; tests shorten them. */
export interface MergeTimes {
  readonly waitMs?: number;
  readonly silenceMs?: number;
}

/** The latest flows of all nodes are held to return no more than were asked for, up to this number. */
const heldMax = 10_000;
/** An observer keeps at most this many flows; one that sends more in answer to a request is cut off. */
const perPeerMax = 1 << 24;

/**
 * Answers GetFlows with the flows of all connected observers in the order of their times, and with the state of
 * the nodes: first which are connected and which are not, then each failure. While it follows, observers that
 * connect later are added. Throws ConnectError with the code InvalidArgument for a request that cannot be
 * carried out.
 */
export async function* relayFlows(
  pool: PeerPool,
  request: GetFlowsRequest,
  signal: AbortSignal,
  times: MergeTimes = {},
): AsyncGenerator<GetFlowsResponse> {
  const query = flowQuery(request);
  const { silenceMs = 10_000, waitMs = 1000 } = times;
  const merge = new TimeMerge<GetFlowsResponse>({
    timeOf: ({ time }) => (time ? millisecondsOf(time) : Date.now()),
    waitMs,
    // A node without traffic is normal while a client follows, and must not slow down the others.
    ...(query.follows ? { fullWaitMs: waitMs / 20 } : { silenceMs }),
  });
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  const problems: GetFlowsResponse[] = [];
  const readers = new Map<string, PeerConnection>();
  const add = (connection: PeerConnection, from: GetFlowsRequest) => {
    const { name } = connection.peer;
    readers.set(name, connection);
    merge.add(flowsOf(connection, from, query, ended), (problem) => {
      if (readers.get(name) === connection) readers.delete(name);
      if (problem === '' || ended.aborted) return;
      problems.push(nodeStatus(NodeState.NODE_ERROR, [name], problem));
    });
  };
  try {
    yield* nodeStates(pool);
    for (const connection of pool.connected) add(connection, request);
    if (query.follows) void addLater(pool, readers, add, request, ended);
    else merge.complete();
    const merged = merge.read(ended);
    for await (const response of limited(merged, query)) {
      yield* problems.splice(0);
      yield response;
    }
    yield* problems.splice(0);
  } finally {
    ending.abort();
  }
}

/** Passes on the first flows, or the latest ones, as many as were asked for. */
async function* limited(
  merged: AsyncGenerator<GetFlowsResponse>,
  { limit, isFirst, follows }: FlowQuery,
): AsyncGenerator<GetFlowsResponse> {
  if (follows || limit === Number.POSITIVE_INFINITY || (!isFirst && limit > heldMax)) {
    yield* merged;
  } else if (isFirst) {
    let left = limit;
    for await (const response of merged) {
      yield response;
      if (response.responseTypes.case === 'flow' && --left <= 0) return;
    }
  } else {
    const latest: GetFlowsResponse[] = [];
    let next = 0;
    for await (const response of merged) {
      if (response.responseTypes.case !== 'flow') yield response;
      else latest[next++ % limit] = response;
    }
    const start = next > limit ? next % limit : 0;
    yield* latest.slice(start);
    yield* latest.slice(0, start);
  }
}

/** Returns what a peer answers, with the name by which the relay knows it. */
async function* flowsOf(
  { client, closed, peer: { name } }: PeerConnection,
  request: GetFlowsRequest,
  { limit, follows }: FlowQuery,
  signal: AbortSignal,
): AsyncGenerator<GetFlowsResponse> {
  let left = Math.min(limit, perPeerMax);
  const options = { signal: AbortSignal.any([signal, closed]) };
  for await (const response of client!.getFlows(request, options)) {
    const { responseTypes } = response;
    // A peer reports about itself only.
    if (responseTypes.case === 'nodeStatus' || responseTypes.case === undefined) continue;
    response.nodeName = name;
    if (responseTypes.case === 'flow') {
      if (responseTypes.value.nodeName !== '') responseTypes.value.nodeName = name;
      if (!follows && --left < 0) throw new Error('it has sent more flows than were asked for');
    }
    yield response;
  }
  if (follows) throw new Error('it has ended the stream');
}

/** Adds observers that connect while a client follows, from the flows of that moment on. */
async function addLater(
  pool: PeerPool,
  readers: ReadonlyMap<string, PeerConnection>,
  add: (connection: PeerConnection, request: GetFlowsRequest) => void,
  request: GetFlowsRequest,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pool.changed(signal);
    if (signal.aborted) return;
    for (const connection of pool.connected) {
      if (readers.has(connection.peer.name)) continue;
      add(connection, { ...request, since: timestampOf(Date.now()), number: 0n });
    }
  }
}

function* nodeStates(pool: PeerPool): Generator<GetFlowsResponse> {
  const { NODE_CONNECTED, NODE_UNAVAILABLE } = NodeState;
  const { connections } = pool;
  const names = (isConnected: boolean) =>
    connections
      .filter(({ state }) => (state === NODE_CONNECTED) === isConnected)
      .map(({ peer }) => peer.name);
  if (names(true).length > 0) yield nodeStatus(NODE_CONNECTED, names(true), '');
  if (names(false).length > 0) yield nodeStatus(NODE_UNAVAILABLE, names(false), '');
}

function nodeStatus(stateChange: NodeState, nodeNames: string[], message: string) {
  return create(GetFlowsResponseSchema, {
    responseTypes: { case: 'nodeStatus', value: { stateChange, nodeNames, message } },
    time: timestampOf(Date.now()),
  });
}
