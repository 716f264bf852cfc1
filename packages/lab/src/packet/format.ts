import {
  fragmentOf,
  type Layer,
  type PacketContent,
  type Sctp,
  type SctpChunk,
  type Tcp,
  tcpFlags,
} from './layers.ts';

/**
 * Returns a description of a parsed packet with one line for each layer; the packet in an ICMP error
 * is indented. It contains every field that differs from its correct value.
 */
export function formatContent({ layers, cut, trailer }: PacketContent): string {
  // The checksum of a truncated packet cannot be verified.
  const isPart =
    cut !== undefined ||
    layers.some(
      (layer) =>
        fragmentOf(layer) !== undefined ||
        ((layer.kind === 'ipv4' || layer.kind === 'ipv6') && layer.length !== undefined),
    );
  const lines = layers.flatMap((layer, i) =>
    cut !== undefined && i === layers.length - 1 ? [cutHeader(layer)] : formatLayer(layer, isPart),
  );
  if (cut !== undefined) lines.push(`cut to ${cut} bytes`);
  if (trailer) lines.push(`trailer ${data(trailer)}`);
  return lines.length === 0 ? 'empty' : lines.join('\n');
}

/** The first eight bytes of a transport header, which every ICMP error contains. */
function cutHeader(layer: Layer): string {
  const { kind, sport, dport, seq, tag } = layer as Partial<Tcp & Sctp>;
  return words(`${kind} ${sport} > ${dport}`, field('seq', seq), field('tag', hex(tag)));
}

function formatLayer(layer: Layer, isPart: boolean): string[] {
  switch (layer.kind) {
    case 'eth':
      return [words('eth', `${layer.src} > ${layer.dst}`, field('type', hex(layer.type)))];
    case 'ipv4':
      return [
        words(
          ...['ipv4', `${layer.src} > ${layer.dst}`, `ttl ${layer.ttl}`],
          ...[field('tos', hex(layer.tos)), field('id', layer.id), flag('df', layer.df)],
          ...[flag('reserved-bit', layer.reserved), fragment(layer)],
          ...[field('options', layer.options && data(layer.options))],
          ...[field('protocol', layer.protocol), field('length', layer.length)],
          checksum(layer.checksum, false),
        ),
      ];
    case 'ipv6':
      return [
        words(
          ...['ipv6', `${layer.src} > ${layer.dst}`, `hop-limit ${layer.hopLimit}`],
          ...[field('class', hex(layer.trafficClass)), field('flow', hex(layer.flowLabel))],
          ...[field('next-header', layer.nextHeader), field('length', layer.length)],
        ),
      ];
    case 'hop-by-hop':
    case 'destination-options':
    case 'routing':
      return [words(layer.kind, data(layer.data!), field('next-header', layer.nextHeader))];
    case 'fragment':
      return [
        words(
          ...['fragment-header', `id ${layer.id}`, fragment(layer) ?? 'whole'],
          ...[field('reserved', hex(layer.reserved)), field('next-header', layer.nextHeader)],
        ),
      ];
    case 'tcp':
      return [
        words(
          ...['tcp', `${layer.sport} > ${layer.dport}`, flagNames(layer), `seq ${layer.seq}`],
          ...[field('ack-seq', layer.ackSeq || undefined), `window ${layer.window}`],
          ...[field('urgent', layer.urgentPointer), field('reserved', hex(layer.reserved))],
          layer.options instanceof Uint8Array ? tcpOptionText(layer.options) : undefined,
          checksum(layer.checksum, isPart),
        ),
      ];
    case 'udp':
      return [
        words(
          ...['udp', `${layer.sport} > ${layer.dport}`, field('length', layer.length)],
          checksum(layer.checksum, isPart),
        ),
      ];
    case 'sctp':
      return [
        words(
          ...['sctp', `${layer.sport} > ${layer.dport}`, `tag ${hex(layer.tag)}`],
          checksum(layer.checksum, isPart),
        ),
        ...(layer.chunks ?? []).map(chunkText),
      ];
    case 'icmp':
    case 'icmpv6':
      return [
        words(
          ...[layer.kind, layer.type, field('id', layer.id), field('sequence', layer.sequence)],
          ...[field('mtu', layer.mtu), checksum(layer.checksum, isPart)],
        ),
        ...(layer.embedded ? formatContent(layer.embedded).split('\n').map(indented) : []),
      ];
    case 'payload':
      return [`payload ${data(layer.bytes)}`];
  }
}

function words(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}

function field(name: string, value: number | string | undefined): string | undefined {
  return value === undefined ? undefined : `${name} ${value}`;
}

function flag(name: string, value: boolean | undefined): string | undefined {
  return value ? name : undefined;
}

function hex(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `0x${value.toString(16)}`;
}

function indented(line: string): string {
  return `  ${line}`;
}

function fragment(layer: Layer): string | undefined {
  const found = fragmentOf(layer);
  if (!found) return undefined;
  const { offset, more } = found;
  return `fragment at ${offset}${more ? ', more follow' : ', the last'}`;
}

function checksum(value: number | string | undefined, isPart: boolean): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string') return `checksum ${value}`;
  return isPart ? `checksum ${hex(value)} of the whole` : `WRONG checksum ${hex(value)}`;
}

function flagNames(layer: Tcp): string | undefined {
  const names = Object.keys(tcpFlags).filter((name) => layer[name as keyof typeof tcpFlags]);
  return names.length === 0 ? undefined : names.join('+').toUpperCase();
}

function tcpOptionText(bytes: Uint8Array): string {
  const texts: string[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at]!;
    const length = kind <= 1 ? 1 : (bytes[at + 1] ?? 0);
    if (length < (kind <= 1 ? 1 : 2) || at + length > bytes.length) {
      return [...texts, `broken options ${data(bytes.subarray(at))}`].join(' ');
    }
    if (kind === 0) texts.push('eol');
    else if (kind === 1) texts.push('nop');
    else if (kind === 2 && length === 4) texts.push(`mss ${view.getUint16(at + 2)}`);
    else if (kind === 3 && length === 3) texts.push(`window-scale ${bytes[at + 2]}`);
    else if (kind === 4 && length === 2) texts.push('sack-permitted');
    else if (kind === 8 && length === 10) {
      texts.push(`timestamps ${view.getUint32(at + 2)} ${view.getUint32(at + 6)}`);
    } else texts.push(`option ${kind} ${data(bytes.subarray(at + 2, at + length))}`);
    at += length;
  }
  return texts.join(' ');
}

function chunkText({ type, flags, value }: SctpChunk): string {
  return words('  chunk', `${type}`, field('flags', hex(flags)), value && data(value));
}

/** Returns the length with printable text, or with bytes in hexadecimal; long payloads are abridged. */
function data(bytes: Uint8Array): string {
  const most = 48;
  const shown = bytes.subarray(0, most);
  const isText = shown.length > 0 && shown.every((byte) => byte >= 0x20 && byte < 0x7f);
  const text = isText
    ? JSON.stringify(String.fromCharCode(...shown))
    : Array.from(shown, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${bytes.length} bytes ${text}${bytes.length > most ? '...' : ''}`.trimEnd();
}
