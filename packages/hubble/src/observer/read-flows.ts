import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { FilterError } from '../filters/errors.ts';
import { type FlowMatch, flowMatch } from '../filters/filters.ts';
import { flowResponse, lossMessage } from '../flows/message.ts';
import type { Loss } from '../flows/ring.ts';
import type { FlowSource } from '../flows/source.ts';
import { millisecondsOf, timestampOf } from '../flows/time.ts';
import { type Flow, LostEventSource } from '../generated/flow/flow_pb.js';
import {
  type GetFlowsRequest,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
} from '../generated/observer/observer_pb.js';
import { FieldMaskError, fieldMask } from './field-mask.ts';

/** Flows may enter the ring this much later than ones with a later time, in milliseconds. */
const reorderMax = 5000;
/** A reader lets others run after this time, in milliseconds. */
const sliceMs = 4;

/** A request in the form in which it is carried out. */
export interface FlowQuery {
  readonly matches: FlowMatch;
  readonly mask: (flow: Flow) => Flow;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly until: number;
  /** The most flows; Infinity if there is no limit. */
  readonly limit: number;
  readonly isFirst: boolean;
  readonly follows: boolean;
}

/**
 * Answers GetFlows, oldest flow first. It reads when the client has taken what came before, so that a slow
 * client costs nothing; what has been overwritten meanwhile is reported to it as lost. `nodeName` is the
 * node of such a report. Throws ConnectError with the code InvalidArgument for a request that cannot be
 * carried out.
 */
export async function* readFlows(
  source: FlowSource,
  nodeName: string,
  request: GetFlowsRequest,
  signal: AbortSignal,
): AsyncGenerator<GetFlowsResponse> {
  const query = flowQuery(request);
  const slice = new Slice();
  const end = query.follows ? Number.POSITIVE_INFINITY : source.next;
  let position = await startOf(source, query, slice, signal);
  let lastTime = 0;
  for (let left = query.limit; left > 0 && position < end && !signal.aborted; ) {
    await slice.pause();
    if (position >= source.next) {
      await source.changed(signal);
      continue;
    }
    if (position < source.oldest) {
      const count = source.oldest - position;
      position = source.oldest;
      const last = source.timeAt(position);
      const loss = { source: LostEventSource.HUBBLE_RING_BUFFER, count, last };
      yield lossResponse(nodeName, { ...loss, first: lastTime || last });
      continue;
    }
    const number = position++;
    lastTime = source.timeAt(number);
    if (lastTime > query.until + reorderMax) return;
    if (lastTime < query.since || lastTime > query.until) continue;
    const loss = source.lossAt(number);
    if (loss) {
      yield lossResponse(nodeName, loss);
      continue;
    }
    const flow = source.flowAt(number);
    if (!query.matches(flow)) continue;
    if (!query.follows) left--;
    yield flowResponse(query.mask(flow));
  }
}

/** Returns the number of the first entry to read. */
async function startOf(
  source: FlowSource,
  { since, until, limit, isFirst, follows, matches }: FlowQuery,
  slice: Slice,
  signal: AbortSignal,
): Promise<number> {
  const hasStart = since !== Number.NEGATIVE_INFINITY;
  const isLimited = limit !== Number.POSITIVE_INFINITY;
  if (follows && !isLimited && !hasStart) return source.next;
  if (!hasStart && (isFirst || !isLimited)) return source.oldest;
  let position = source.next;
  for (let found = 0; position > source.oldest && !signal.aborted; ) {
    const time = source.timeAt(position - 1);
    if (time < since - reorderMax) break;
    position--;
    const isCounted = !isFirst && isLimited && time >= since && time <= until;
    if (isCounted && !source.lossAt(position) && matches(source.flowAt(position))) {
      if (++found >= limit) break;
    }
    await slice.pause();
  }
  return position;
}

/** A reader's share of the time. */
class Slice {
  #end = performance.now() + sliceMs;
  #untilLook = 0;

  /** Lets others run if this reader has run for a while. */
  async pause(): Promise<void> {
    if (--this.#untilLook > 0) return;
    this.#untilLook = 16;
    if (performance.now() < this.#end) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#end = performance.now() + sliceMs;
  }
}

/**
 * Reads a request. Throws ConnectError with the code InvalidArgument if it cannot be carried out.
 */
export function flowQuery(request: GetFlowsRequest): FlowQuery {
  const { first: isFirst, follow: follows, number, since, until } = request;
  if (isFirst && follows) {
    throw new ConnectError('first and follow exclude each other', Code.InvalidArgument);
  }
  try {
    return {
      matches: flowMatch(request.whitelist, request.blacklist),
      mask: fieldMask(request.fieldMask?.paths ?? []),
      since: since ? millisecondsOf(since) : Number.NEGATIVE_INFINITY,
      until: until ? millisecondsOf(until) : Number.POSITIVE_INFINITY,
      // Clients ask for all flows by the greatest number.
      limit: number === 0n || number > 1n << 53n ? Number.POSITIVE_INFINITY : Number(number),
      ...{ isFirst, follows },
    };
  } catch (error) {
    if (error instanceof FilterError || error instanceof FieldMaskError) {
      throw new ConnectError(error.message, Code.InvalidArgument, undefined, undefined, error);
    }
    throw error;
  }
}

function lossResponse(nodeName: string, loss: Loss): GetFlowsResponse {
  return create(GetFlowsResponseSchema, {
    responseTypes: { case: 'lostEvents', value: lossMessage(loss) },
    nodeName,
    time: timestampOf(loss.last),
  });
}
