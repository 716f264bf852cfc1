import { Packet, type Tcp } from '@heddle/lab';
import type { Dump } from '../dump/dump.ts';
import { describePacket } from './packet.ts';
import { PodNetwork } from './pods.ts';
import { type TraceProtocol, type TraceRequest, tcpFlags, traceProtocols } from './request.ts';
import type { Trace, Verdict } from './result.ts';
import { trace } from './trace.ts';

/** The parts of the path of a connection or packet, of which the last may be at another node. */
export interface FollowedTrace {
  readonly parts: readonly Trace[];
  /** The reason why the other node has no part; absent if it has one. */
  readonly ends?: string;
}

/**
 * Traces a request at a node, and what it sends at another node. The call of a process becomes the first packet of
 * its pod in between. Throws what `trace` throws.
 */
export function traceBeyond(
  dump: Dump,
  other: Dump,
  request: TraceRequest,
  withLines = false,
): FollowedTrace {
  const parts = [trace(dump, request, withLines)];
  const packet = packetAfterCall(parts[0]!, dump, request);
  if (packet) parts.push(trace(dump, packet, withLines));
  const { verdict } = parts.at(-1)!;
  const next = requestOf(verdict, other);
  if (typeof next === 'string') return { parts, ends: next };
  return { parts: [...parts, trace(other, next, withLines)] };
}

/** Returns the request of the packet that the call of a process in a pod leads to. */
function packetAfterCall(
  { question, verdict }: Trace,
  dump: Dump,
  { flags }: TraceRequest,
): TraceRequest | undefined {
  const { at, source, protocol, reply } = question;
  const { outcome, address, port } = verdict;
  const isSent = outcome === 'translated' || outcome === 'passed';
  if (at !== 'socket' || reply || !isSent) return undefined;
  if (!new PodNetwork(dump).withAddress(source)) return undefined;
  return {
    ...{ from: source, to: address ?? question.address, port: port ?? question.port, protocol },
    at: 'pod',
    ...(flags && { flags }),
  };
}

/** Returns the request at the node that a packet is sent to, or the reason why it does not arrive there. */
function requestOf({ outcome, frame, tunnel }: Verdict, other: Dump): TraceRequest | string {
  const isSent = outcome === 'translated' || outcome === 'passed';
  if (!isSent || frame === undefined) return 'the first node sends nothing on';
  const packet = Packet.parse(Buffer.from(frame, 'hex'));
  const { ends, kind, inner } = describePacket(packet);
  if (inner) return 'a packet in an IP-in-IP tunnel is not followed';
  const { source, sourcePort, destination, destinationPort } = ends;
  const name = kind.toLowerCase();
  const isEcho = kind === 'ICMP echo-request' || kind === 'ICMPv6 echo-request';
  const protocol: TraceProtocol | undefined = isEcho
    ? 'icmp'
    : traceProtocols.find((each) => each === name);
  if (!protocol) return `${kind} is not followed`;
  if (!isOf(other, destination) && !(tunnel && isOf(other, tunnel.to))) {
    return `${destination} is neither a pod nor an address of the other node`;
  }
  const tcp = packet.layers.find((layer): layer is Tcp => layer.kind === 'tcp');
  const flags = tcp && tcpFlags.filter((flag) => tcp[flag]);
  return {
    ...{ from: source, to: destination, protocol, at: tunnel ? 'tunnel' : 'node' },
    ...(protocol !== 'icmp' && { port: destinationPort, sourcePort }),
    ...(flags && { flags }),
  };
}

/** Returns whether an address is that of a node or of one of its pods. */
function isOf(dump: Dump, address: string): boolean {
  const own = dump.namespaces.filter(({ isNode }) => isNode).flatMap((each) => each.addresses);
  return own.includes(address) || new PodNetwork(dump).withAddress(address) !== undefined;
}
