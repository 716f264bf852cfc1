// The model of the TCP window check. Its sequence numbers are plain numbers of a test, which never wrap around.

/** The flags of a TCP segment. */
export interface Flags {
  readonly syn?: boolean;
  readonly ack?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
}

/** The sequence numbers of a segment, and the length of its payload in bytes. */
export interface Numbers {
  readonly seq: number;
  readonly ack: number;
  readonly bytes: number;
}

/** The sequence numbers that one side of a connection has sent and expects. It is undefined if they are unknown. */
interface Side {
  sent: number | undefined;
  expects: number | undefined;
}

/** The windows of both sides of a connection. Windows are of 65,535 bytes, and not scaled. */
export interface Windows {
  readonly client: Side;
  readonly backend: Side;
}

export interface Judgement {
  readonly isBelieved: boolean;
  /** True when the backend shows that it has accepted the connection. */
  readonly confirms: boolean;
}

const largest = 65_536;
const oldestAck = 66_000;
const refused: Judgement = { isBelieved: false, confirms: false };
const believed: Judgement = { isBelieved: true, confirms: false };

export const newWindows = (): Windows => ({
  client: { sent: undefined, expects: undefined },
  backend: { sent: undefined, expects: undefined },
});

/** Validates a segment of a connection in that state, and updates the windows from a valid one. */
export function judge(
  windows: Windows,
  state: string,
  flags: Flags,
  numbers: Numbers,
  isReply: boolean,
): Judgement {
  const { syn = false, fin = false, rst = false, ack: hasAck = false } = flags;
  const { seq, ack, bytes } = numbers;
  const { client, backend } = windows;
  const [own, other] = isReply ? [backend, client] : [client, backend];
  const end = seq + bytes + Number(syn) + Number(fin);
  const isHandshake = state === 'syn' || state === 'syn-ack';
  const answersSyn = hasAck && ack >= backend.expects! && ack <= client.sent!;
  if (syn) {
    if (rst || !isHandshake || (!isReply && state === 'syn-ack')) return refused;
    if (isReply && hasAck && !answersSyn) return refused;
    own.sent = end;
    other.expects = seq + 1;
    if (isReply && hasAck) own.expects = ack;
    return believed;
  }
  if (rst) {
    if (isReply && isHandshake && answersSyn) return believed;
    if (isReply && state === 'syn') return refused;
    return seq === other.expects || seq === own.sent ? believed : refused;
  }
  if (state === 'syn') return refused;
  if (state === 'syn-ack' && !isReply) {
    if (!hasAck || ack < client.expects! || ack > backend.sent!) return refused;
  }
  if (seq > other.expects! + largest || end < own.sent! - largest - 1) return refused;
  if (hasAck && (ack > other.sent! || ack < other.sent! - oldestAck)) return refused;
  const confirms = isReply && !isHandshake && (end !== seq || (hasAck && ack > own.expects!));
  own.sent = Math.max(own.sent!, end);
  if (hasAck) own.expects = Math.max(own.expects!, ack);
  return { isBelieved: true, confirms };
}
