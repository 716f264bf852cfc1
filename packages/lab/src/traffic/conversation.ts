import { decodeUtf8 } from '@heddle/sys';
import { formatSocketAddress, type SocketAddress } from '@heddle/sys/net';
import type { LabHost } from '../lab-host.ts';
import { pattern } from '../packet/packet.ts';
import { BlockingSocket } from './blocking-socket.ts';

// Requests from a host of the lab by blocking calls of this process. Each one throws SysError with the
// kernel's result (ECONNREFUSED, ETIMEDOUT, ...). The other end must be another process (startBackend).

/** Opens a TCP connection from a host; the caller closes it. */
export function connectTcp(from: LabHost, to: SocketAddress, timeoutMs = 2000): BlockingSocket {
  const socket = open(from, 'tcp', to, timeoutMs);
  try {
    socket.connect(to);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

/** Opens a connected UDP socket on a host; the caller closes it. */
export function connectUdp(from: LabHost, to: SocketAddress, timeoutMs = 2000): BlockingSocket {
  const socket = open(from, 'udp', to, timeoutMs);
  socket.connect(to);
  return socket;
}

/** Connects, sends, and returns all received text until the other end closes. */
export function askTcp(from: LabHost, to: SocketAddress, text: string, timeoutMs = 2000): string {
  using socket = connectTcp(from, to, timeoutMs);
  socket.send(text);
  socket.endSending();
  const parts: Uint8Array[] = [];
  for (let part = socket.receive(); part.length > 0; part = socket.receive()) parts.push(part);
  return parts.map(decodeUtf8).join('');
}

/** Sends a datagram and returns the text of the first answer. */
export function askUdp(from: LabHost, to: SocketAddress, text: string, timeoutMs = 2000): string {
  using socket = connectUdp(from, to, timeoutMs);
  socket.send(text);
  return decodeUtf8(socket.receive());
}

/** Returns the body of the answer to `GET path`. Throws an Error when the status is not 200. */
export function askHttp(
  from: LabHost,
  to: SocketAddress,
  path = '/name',
  timeoutMs = 2000,
): string {
  const request = `GET ${path} HTTP/1.1\r\nHost: ${formatSocketAddress(to)}\r\nConnection: close\r\n\r\n`;
  const answer = askTcp(from, to, request, timeoutMs);
  const body = /^HTTP\/1\.1 200 .*?\r\n\r\n(.*)$/s.exec(answer)?.[1];
  if (body === undefined)
    throw new Error(`ask ${formatSocketAddress(to)}: the answer is ${answer}`);
  return body;
}

/** Bytes that are sent at once; as many more may be in flight. */
const partSize = 65536;

/**
 * Sends `size` bytes to an echo port of a backend and compares the answer. Throws an Error that names
 * the first difference.
 */
export function echoBytes(from: LabHost, to: SocketAddress, size: number, timeoutMs = 5000): void {
  using socket = connectTcp(from, to, timeoutMs);
  const bytes = pattern(size);
  let sent = 0;
  let back = 0;
  for (let isSending = true; ; ) {
    // Sending everything before reading would deadlock: both windows would be full.
    while (isSending && sent - back <= partSize) {
      socket.send(bytes.subarray(sent, sent + partSize));
      sent = Math.min(sent + partSize, size);
      isSending = sent < size;
      if (!isSending) socket.endSending();
    }
    const part = socket.receive();
    if (part.length === 0) break;
    const wrong = part.findIndex((byte, i) => byte !== bytes[back + i]);
    if (wrong >= 0)
      throw new Error(
        `echo ${size} bytes at ${formatSocketAddress(to)}: byte ${back + wrong} differs`,
      );
    back += part.length;
  }
  if (back !== size)
    throw new Error(`echo ${size} bytes at ${formatSocketAddress(to)}: ${back} came back`);
}

function open(from: LabHost, protocol: 'tcp' | 'udp', to: SocketAddress, timeoutMs: number) {
  const family = to.address.includes(':') ? 6 : 4;
  return from.enter(() => BlockingSocket.open(from.platform, { protocol, family, timeoutMs }));
}
