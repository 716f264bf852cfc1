import type { Dump } from '../dump/dump.ts';
import { traceCall } from './call.ts';
import { TracedNode } from './node.ts';
import { tracePacket } from './packet-tracer.ts';
import { resolveRequest } from './question.ts';
import type { TraceRequest } from './request.ts';
import type { Trace } from './result.ts';
import { Tracer } from './tracer.ts';

/**
 * Runs the node's programs on copies of its maps, for one socket call or packet. With `withLines`,
 * steps have every source line. Throws Failure, and VmFault when a program makes an invalid access.
 */
export function trace(dump: Dump, request: TraceRequest, withLines = false): Trace {
  const question = resolveRequest(dump, request);
  using node = new TracedNode(dump);
  const tracer = new Tracer(dump, node, withLines);
  const verdict =
    question.at === 'socket' ? traceCall(tracer, question) : tracePacket(tracer, question);
  const { created, kernel, heddle } = dump.head;
  return {
    question,
    of: { created, kernel, heddle },
    notes: [...tracer.notes, ...cutMaps(dump)],
    hooks: tracer.hooks,
    verdict,
  };
}

function cutMaps(dump: Dump): string[] {
  return [...dump.maps.values()]
    .filter(({ cut }) => cut)
    .map(({ info }) => `the dump does not have all entries of map ${info.name}`);
}
