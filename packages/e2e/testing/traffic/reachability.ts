import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { BlockingSocket, type LabHost, type PingResult, ping } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';

type Family = 'v4' | 'v6';
const numbers = { v4: 4, v6: 6 } as const;
const port = 7000;

function open(
  host: LabHost,
  protocol: 'tcp' | 'udp',
  family: Family,
  timeoutMs = 5000,
): BlockingSocket {
  return host.enter(() =>
    BlockingSocket.open(host.platform, { protocol, family: numbers[family], timeoutMs }),
  );
}

/** Sends bytes over TCP from one host to another and back, and compares them. */
export function exchange(
  from: LabHost,
  to: LabHost,
  family: Family,
  { bytes }: { readonly bytes: number },
): void {
  const address = to.addresses[family];
  using listener = open(to, 'tcp', family);
  listener.bind({ address, port });
  listener.listen();
  using client = open(from, 'tcp', family);
  client.connect({ address, port });
  using server = listener.accept();
  for (const [sender, receiver] of [
    [client, server],
    [server, client],
  ] as const) {
    let sent = 0;
    while (sent < bytes) {
      const part = Uint8Array.from({ length: 60_000 }, (_, i) => (sent + i) & 0xff);
      sender.send(part);
      const received: Uint8Array[] = [];
      const length = () => received.reduce((sum, each) => sum + each.length, 0);
      while (length() < part.length) received.push(receiver.receive());
      assert.ok(Buffer.concat(received).equals(part), `bytes from ${sent} on`);
      sent += part.length;
    }
  }
}

/** Sends datagrams of several sizes to a host, which returns them. Some are larger than the MTU. */
export function assertReaches(
  from: LabHost,
  to: LabHost,
  family: Family,
  sizes: readonly number[] = [1, 1372, 1400, 1422, 1424, 1472, 3000],
): void {
  const address = to.addresses[family];
  using server = open(to, 'udp', family, 300);
  server.bind({ address, port });
  using client = open(from, 'udp', family, 300);
  for (const size of sizes) {
    const what = `${size} bytes from ${from.name} to ${to.name}`;
    const bytes = new Uint8Array(size).fill(size & 0xff);
    const peer = deliver(what, bytes, client, { address, port }, server);
    deliver(`${what} and back`, bytes, server, peer, client);
  }
}

/** The bytes of the headers of IP and ICMP. */
const icmpHeaders = { v4: 28, v6: 48 } as const;

/**
 * Pings an address with packets around the largest one that fits into the path, `mtu` bytes, with and without leave to
 * fragment them. The first packet that is too large may be lost in each direction, as the sender learns the MTU from it.
 */
export function assertPings(from: LabHost, address: string, mtu: number): void {
  const fits = mtu - icmpHeaders[address.includes(':') ? 'v6' : 'v4'];
  for (const df of [true, false]) {
    for (const size of [0, fits - 1, fits, fits + 1, 3000]) {
      const expected = df && size > fits ? 'too large' : 'reply';
      const results: PingResult[] = [];
      do results.push(ping(from, address, { size, df, timeoutMs: 200 }));
      while (results.at(-1) !== expected && results.length < (size < fits ? 1 : 4));
      const what = `${size} bytes${df ? ' in one packet' : ''} from ${from.name} to ${address}`;
      assert.equal(results.at(-1), expected, `${what}: ${results}`);
    }
  }
}

/**
 * Sends a datagram until it arrives, and returns its sender: the first one that is too large for the path is lost, as
 * the sender learns the path's MTU from it.
 */
function deliver(
  what: string,
  bytes: Uint8Array,
  sender: BlockingSocket,
  to: SocketAddress,
  receiver: BlockingSocket,
): SocketAddress {
  for (let i = 0; i < 10; i++) {
    sender.send(bytes, to);
    try {
      for (;;) {
        const received = receiver.receiveFrom();
        // A copy of an earlier datagram has another size.
        if (received.bytes.length !== bytes.length) continue;
        assert.deepEqual(received.bytes, bytes, what);
        return received.from;
      }
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== 'ETIMEDOUT') throw error;
    }
  }
  throw new Error(`${what}: they do not arrive`);
}

/** Returns the number of packets that the stack of this network namespace has forwarded. */
export function forwardedPackets(family: Family): number {
  return family === 'v6'
    ? counters6().get('Ip6OutForwDatagrams')!
    : counter4('Ip', 'ForwDatagrams');
}

/** Returns how many received packets of each protocol had an invalid checksum for a host. */
export function invalidSums(host: LabHost): Record<string, number> {
  return host.enter(() => {
    const six = counters6();
    return {
      tcp: counter4('Tcp', 'InCsumErrors'),
      udp: counter4('Udp', 'InCsumErrors'),
      icmp: counter4('Icmp', 'InCsumErrors'),
      udp6: six.get('Udp6InCsumErrors')!,
      icmp6: six.get('Icmp6InCsumErrors')!,
    };
  });
}

/** Returns a counter of a protocol in this network namespace; TCP's is of both families. */
function counter4(protocol: string, name: string): number {
  const [names, values] = readFileSync('/proc/thread-self/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}:`))
    .map((line) => line.split(' '));
  return Number(values![names!.indexOf(name)]);
}

function counters6(): Map<string, number> {
  const lines = readFileSync('/proc/thread-self/net/snmp6', 'utf8').trim().split('\n');
  return new Map(
    lines.map((line) => line.split(/\s+/)).map(([name, value]) => [name!, Number(value)]),
  );
}
