// Creates two network namespaces and a veth pair between them, sends a datagram from one to the
// other and back, lists the links, and leaves nothing behind. Run it as root:
//   node packages/netlink/examples/two-namespaces.ts
import {
  addAddress,
  createVeth,
  listLinks,
  listRoutes,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { checked, closeFd, decodeUtf8, encodeUtf8, syscallNumbers } from '@heddle/sys';
import { AF_INET, encodeInt, encodeSockaddr, SOCK_DGRAM } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';

const platform = nodePlatform();
const nr = syscallNumbers(platform);

// Namespaces without a path end with the process.
using red = NetworkNamespace.create(platform);
using blue = NetworkNamespace.create(platform);
using redSocket = red.enter(() => new NetlinkSocket(platform));
using blueSocket = blue.enter(() => new NetlinkSocket(platform));

const { link, peer } = createVeth(
  redSocket,
  { name: 'to-blue', up: true },
  { name: 'to-red', up: true, namespaceFd: blue.fd },
);
for (const [socket, { index }, address] of [
  [redSocket, link, '10.7.0.1/24'],
  [blueSocket, peer, '10.7.0.2/24'],
] as const) {
  addAddress(socket, index, address);
  console.log(listLinks(socket).map(({ name, kind, mtu, up }) => ({ name, kind, mtu, up })));
  console.log(listRoutes(socket).map(({ destination, source }) => ({ destination, source })));
}

const client = red.enter(openUdp);
const server = blue.enter(openUdp);
call('bind', server, encodeSockaddr({ address: '10.7.0.2', port: 7000 }));
call('connect', client, encodeSockaddr({ address: '10.7.0.2', port: 7000 }));

const started = platform.monotonicNs();
send(client, 'ping');
const { text, from } = receive(server);
call('connect', server, from);
send(server, text === 'ping' ? 'pong' : 'unexpected');
const answer = receive(client);
console.log(`red sent ping, blue answered ${answer.text}`);
console.log(`there and back in ${(platform.monotonicNs() - started) / 1000n} us`);
closeFd(platform, client);
closeFd(platform, server);

function openUdp(): number {
  return checked('socket', platform.syscall(nr.socket, AF_INET, SOCK_DGRAM, 0));
}

function call(name: 'bind' | 'connect', fd: number, address: Uint8Array): void {
  checked(name, platform.syscall(nr[name], fd, address, address.length));
}

function send(fd: number, text: string): void {
  const bytes = encodeUtf8(text);
  checked('sendto', platform.syscall(nr.sendto, fd, bytes, bytes.length, 0, 0, 0));
}

function receive(fd: number): { text: string; from: Uint8Array } {
  const bytes = new Uint8Array(100);
  const from = new Uint8Array(16);
  const length = encodeInt(from.length);
  const got = platform.syscall(nr.recvfrom, fd, bytes, bytes.length, 0, from, length);
  return { text: decodeUtf8(bytes.subarray(0, checked('recvfrom', got))), from };
}
