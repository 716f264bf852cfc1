import assert from 'node:assert/strict';
import {
  checksumOffset,
  hasRightChecksum,
  hasRightHeader,
  readWirePacket,
  type WirePacket,
} from './wire-packet.ts';

/** Ends as `address:port`, the address as bytes, a character each. */
export interface Frontend {
  readonly protocol: number;
  readonly at: string;
  readonly backends: ReadonlySet<string>;
}

const frameHeader = 14;
const ICMP_ERROR: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);

/**
 * Checks that the programs have done to a packet what they may: leave it unchanged, translate it to or from a backend of
 * its own service, or answer it.
 */
export class PacketVerifier {
  readonly #frontends: readonly Frontend[];
  readonly #ports: { readonly first: number; readonly last: number };
  readonly #node: string;
  readonly #peer: string;
  /**
   * The number of packets by outcome. `waited`: the packet left unchanged to wait for its first fragment. `wrapped`
   * and `unwrapped`: it entered or left a tunnel. `recovered`: an ICMP error about a tunnel became one for the client.
   */
  readonly seen = {
    ...{ untouched: 0, dropped: 0, toBackend: 0, toClient: 0, error: 0, answered: 0, waited: 0 },
    ...{ wrapped: 0, unwrapped: 0, recovered: 0 },
  };

  constructor(
    frontends: readonly Frontend[],
    { node, peer }: { readonly node: string; readonly peer: string },
    ports: { readonly first: number; readonly last: number },
  ) {
    this.#peer = peer;
    this.#frontends = frontends;
    this.#node = node;
    this.#ports = ports;
  }

  /** Throws AssertionError when the outcome is wrong. */
  verify(before: Uint8Array, verdict: 'pass' | 'drop' | 'send', after: Uint8Array): void {
    if (verdict === 'drop') {
      this.seen.dropped++;
      return;
    }
    const found = readWirePacket(before);
    if (sameBytes(before, after)) {
      if (verdict === 'pass') this.seen.untouched++;
      else {
        const isLater = found?.isLater || (found && isTunnel(found) && holdsLater(before, found));
        assert.ok(isLater, 'only a fragment that came too early goes round as it is');
        this.seen.waited++;
      }
      return;
    }
    const made = readWirePacket(after);
    assert.ok(found && made, 'what is changed is an IP packet');
    const isSent = verdict === 'send';
    if (
      isSent &&
      made.dst === found.src &&
      made.src === found.dst &&
      this.#answers(found, made, after)
    ) {
      this.seen.answered++;
      return;
    }
    if (after.length > before.length) this.#wrapped(before, found, made, after);
    else if (after.length === before.length) this.#translated(before, found, made, after, isSent);
    else if (isTunnel(found)) this.#unwrapped(before, found, verdict, after);
    else this.#recovered(before, found, made, after);
  }

  /** Checks a packet of unchanged length. */
  #translated(
    before: Uint8Array,
    found: WirePacket,
    made: WirePacket,
    after: Uint8Array,
    isSent: boolean,
  ): void {
    const isError = isIcmpError(before, found);
    this.#sameBut(changeable(found, isSent, isError), before, after);
    if (hasRightHeader(before, found)) assert.ok(hasRightHeader(after, made), 'header checksum');
    // An error is cut anywhere; what it is about may lie where its own header says that it has ended.
    const isWhole = !isError || before.length === frameHeader + found.length;
    if (isWhole && hasRightChecksum(before, found)) {
      assert.notEqual(hasRightChecksum(after, made), false, 'checksum');
    }
    if (isError) this.seen.error++;
    else if (!found.isLater) this.#mayBe(found, made);
  }

  /** Checks the addresses and ports of a packet to a backend of the service, or from one to the client. */
  #mayBe(found: WirePacket, made: WirePacket): void {
    const { protocol } = found;
    assert.equal(protocol, made.protocol);
    const [to, from] = [end(found.dst, found.dport), end(found.src, found.sport)];
    const service = this.#frontends.find((each) => each.protocol === protocol && each.at === to);
    if (service) {
      assert.ok(service.backends.has(end(made.dst, made.dport)), 'a backend of the service');
      const isOwn = made.src === found.src;
      const { first, last } = this.#ports;
      const isPort = made.sport >= first && made.sport <= last;
      assert.ok(isOwn ? isPort || made.sport === found.sport : isPort, 'a port that may be');
      assert.ok(isOwn || made.src === this.#node, 'the client or the node');
      this.seen.toBackend++;
      return;
    }
    const answers = this.#frontends.some((each) => {
      const isIt = each.protocol === protocol && each.at === end(made.src, made.sport);
      return isIt && each.backends.has(from);
    });
    assert.ok(answers, 'the answer of a backend, as the service’s');
    assert.ok(found.dst === this.#node || found.dst === made.dst, 'to the client');
    this.seen.toClient++;
  }

  /** Checks a packet in a tunnel to a backend: its TTL is lower by one, and the rest is unchanged. */
  #wrapped(before: Uint8Array, found: WirePacket, made: WirePacket, after: Uint8Array): void {
    assert.ok(isTunnel(made) && made.src === this.#node, 'a tunnel from the node');
    assert.ok(hasRightHeader(after, made), 'header checksum of a tunnel');
    // Their own headers do not identify the connection.
    const isOfSome = found.isLater || isIcmpError(before, found);
    const to = end(found.dst, found.dport);
    const backends = this.#frontends
      .filter((each) => isOfSome || (each.protocol === found.protocol && each.at === to))
      .flatMap((each) => [...each.backends]);
    assert.ok(
      backends.some((each) => each.startsWith(`${made.dst}:`)),
      'to a backend',
    );
    const inner = unwrapped(after, made);
    // The frame is for another host by now.
    inner.set(before.subarray(0, frameHeader));
    assert.equal(inner.length, before.length);
    this.#sameBut(
      found.v4
        ? [
            [22, 23],
            [24, 26],
          ]
        : [[21, 22]],
      before,
      inner,
    );
    if (hasRightHeader(before, found)) assert.ok(hasRightHeader(inner, found), 'header checksum');
    this.seen.wrapped++;
  }

  /** Checks the inner packet of a tunnel from another node. */
  #unwrapped(
    before: Uint8Array,
    found: WirePacket,
    verdict: 'pass' | 'send',
    after: Uint8Array,
  ): void {
    assert.equal(found.src, this.#peer, 'from another node');
    const made = readWirePacket(after);
    assert.equal(made?.dst, found.dst, 'to the backend that the tunnel led to');
    this.seen.unwrapped++;
    this.verify(unwrapped(before, found), verdict, after);
  }

  /** Checks an ICMP error about a tunnel that became one for the client. */
  #recovered(before: Uint8Array, found: WirePacket, made: WirePacket, after: Uint8Array): void {
    assert.ok(isIcmpError(before, found) && isIcmpError(after, made), 'an error for an error');
    assert.ok(hasRightHeader(after, made), 'header checksum of an error');
    assert.notEqual(hasRightChecksum(after, made), false, 'checksum of an error');
    this.seen.recovered++;
  }

  /** Returns true if the programs answered with a reset, an ICMP error or an echo reply. */
  #answers(found: WirePacket, made: WirePacket, after: Uint8Array): boolean {
    const type = after[made.transport]!;
    const isIcmp = made.protocol === 1 || made.protocol === 58;
    const isReset = made.protocol === 6 && (after[made.transport + 13]! & 4) !== 0;
    if (!isIcmp && !isReset) return false;
    const isEcho = isIcmp && (type === 0 || type === 129);
    assert.ok(isReset || isEcho || isIcmpError(after, made), 'an answer');
    if (isEcho) return true;
    assert.ok(hasRightHeader(after, made), 'header checksum of an answer');
    assert.notEqual(hasRightChecksum(after, made), false, 'checksum of an answer');
    if (isReset) assert.deepEqual([made.sport, made.dport], [found.dport, found.sport]);
    return true;
  }

  #sameBut(ranges: readonly (readonly [number, number])[], before: Uint8Array, after: Uint8Array) {
    let n = 0;
    for (let i = 0; i < before.length; i++) {
      if (before[i] === after[i]) continue;
      while (n < ranges.length && ranges[n]![1] <= i) n++;
      assert.ok(
        n < ranges.length && ranges[n]![0] <= i,
        `byte ${i} of ${before.length} was changed`,
      );
    }
  }
}

/** Bytes that a translation may change, in order. */
function changeable(packet: WirePacket, isSent: boolean, isError: boolean): [number, number][] {
  const { v4, transport, protocol, isLater } = packet;
  const ranges: [number, number][] = [];
  if (isSent) ranges.push([0, 12]);
  if (v4) ranges.push(isSent ? [22, 23] : [24, 24], [24, 34]);
  else ranges.push(isSent ? [21, 22] : [22, 22], [22, 54]);
  if (isLater) return ranges;
  const offset = checksumOffset(protocol);
  if (isError)
    ranges.push([transport + 2, transport + 4], [transport + 8, Number.POSITIVE_INFINITY]);
  else {
    ranges.push([transport, transport + 4]);
    if (protocol === 132) ranges.push([transport + 8, transport + 12]);
    else if (offset !== undefined) ranges.push([transport + offset, transport + offset + 2]);
  }
  return ranges;
}

function isIcmpError(bytes: Uint8Array, { protocol, transport }: WirePacket): boolean {
  const type = bytes[transport]!;
  return protocol === 1 ? ICMP_ERROR.has(type) : protocol === 58 && type < 128;
}

const isTunnel = ({ v4, protocol }: WirePacket) => protocol === (v4 ? 4 : 41);

/** Returns the frame without the outer IP header of its packet. */
function unwrapped(bytes: Uint8Array, { transport }: WirePacket): Uint8Array {
  const inner = new Uint8Array(bytes.length - (transport - frameHeader));
  inner.set(bytes.subarray(0, frameHeader));
  inner.set(bytes.subarray(transport), frameHeader);
  return inner;
}

/** Returns true when the inner packet is a fragment after the first one. */
function holdsLater(bytes: Uint8Array, tunnel: WirePacket): boolean {
  return readWirePacket(unwrapped(bytes, tunnel))?.isLater ?? false;
}

export function end(address: string, port: number): string {
  return `${address}:${port}`;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && Buffer.compare(one, other) === 0;
}
