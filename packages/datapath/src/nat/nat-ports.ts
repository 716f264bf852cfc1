import { formatIp } from '@heddle/sys';
import { keyText } from '../core/keyed-map.ts';
import { ctEntryCodec, ctEntrySize } from '../generated/abi.ts';
import type { PortRange } from './flow-options.ts';
import { type FlowEntry, isClosedState, protocolOfState, snatIndexOf } from './flows.ts';

/** SNAT ports of the node that are in use towards one backend. */
export interface PortUse {
  readonly protocol: FlowEntry['protocol'];
  readonly backend: string;
  /** Host order. */
  readonly backendPort: number;
  /** The node's address that the backend sees. */
  readonly source: string;
  readonly used: number;
}

const fields = ctEntryCodec.offsets;

/**
 * Returns how many SNAT ports of `range` are in use, by the backend that sees them, most first. `bytes` are entries of
 * `nat_flows`. Flows without SNAT use no port, those of an earlier range none of this one, and the ports of closed
 * connections may be taken. Decodes only the fields that it needs: a table can have a million entries.
 */
export function portsByDestination(
  bytes: Uint8Array,
  range: PortRange,
  addressOf: (source: number) => Uint8Array | undefined,
): PortUse[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const counts = new Map<
    string,
    { readonly at: number; readonly stateWord: number; used: number }
  >();
  for (let at = 0; at + ctEntrySize <= bytes.length; at += ctEntrySize) {
    const stateWord = view.getUint32(at + fields.stateWord, true);
    const protocol = protocolOfState(stateWord);
    if (protocol === undefined || snatIndexOf(stateWord) === 0 || isClosedState(stateWord))
      continue;
    const port = view.getUint16(at + fields.sourcePort, false);
    if (port < range.first || port > range.last) continue;
    const backend = keyText(bytes.subarray(at + fields.backend, at + fields.backend + 16));
    const backendPort = view.getUint16(at + fields.backendPort, false);
    const key = `${backend}${backendPort} ${protocol} ${snatIndexOf(stateWord)}`;
    const count = counts.get(key);
    if (count) count.used++;
    else counts.set(key, { at, stateWord, used: 1 });
  }
  const uses = Array.from(counts.values(), ({ at, stateWord, used }): PortUse => {
    const source = addressOf(snatIndexOf(stateWord));
    return {
      protocol: protocolOfState(stateWord)!,
      backend: formatIp(bytes.subarray(at + fields.backend, at + fields.backend + 16)),
      backendPort: view.getUint16(at + fields.backendPort, false),
      source: source ? formatIp(source) : '',
      used,
    };
  });
  return uses.sort((a, b) => b.used - a.used);
}
