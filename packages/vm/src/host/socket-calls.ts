import { errno, type SyscallName } from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  AF_UNSPEC,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_NETNS_COOKIE,
  SO_REUSEPORT,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
} from '@heddle/sys/net';
import type { Descriptors } from '../descriptors.ts';
import { type Endpoint, readSockaddr, writeSockaddr } from './address.ts';
import type { Arguments, Call, CallHost } from './calls.ts';
import { LocalSocket } from './local-socket.ts';
import { NetlinkObject } from './netlink-socket.ts';
import { VmSocket } from './socket.ts';

/** The type of a socket without SOCK_CLOEXEC and SOCK_NONBLOCK. */
const TYPE_MASK = 0xf;
const SOL_IP = 0;
/** sizeof(struct mmsghdr), and offsets of the msghdr in it. */
const MMSGHDR = 64;
const NAME = 0;
const NAME_LENGTH = 8;
const VECTOR = 16;
const MESSAGE_LENGTH = 56;

type SocketCall = (socket: VmSocket, args: Arguments, descriptors: Descriptors) => number;

/** A call that sockets of other families implement themselves. */
function orOther(
  other: (object: LocalSocket | NetlinkObject, host: CallHost, args: Arguments) => number,
  call: Call,
): Call {
  return (host, descriptors, args) => {
    const object = descriptors.get(args.number(0));
    const isOther = object instanceof LocalSocket || object instanceof NetlinkObject;
    return isOther ? other(object, host, args) : call(host, descriptors, args);
  };
}

/** A call whose first argument is a socket of IPv4 or IPv6. */
function onSocket(call: SocketCall): Call {
  return (_, descriptors, args) => {
    const socket = descriptors.get(args.number(0));
    if (!socket) return -errno.EBADF;
    return socket instanceof VmSocket ? call(socket, args, descriptors) : -errno.ENOTSOCK;
  };
}

/** Returns the endpoint in argument `at`, whose length is the next argument, for a socket of the family. */
function endpointIn(socket: VmSocket, args: Arguments, at: number): Endpoint | number {
  const name = readSockaddr(args.bytes(at).subarray(0, args.number(at + 1)));
  if (!name) return -errno.EINVAL;
  if (socket.family === AF_INET && name.family !== AF_INET) return -errno.EAFNOSUPPORT;
  return name.endpoint;
}

/** Sends the data of the struct msghdr at `header` of `headers`. Returns the number of bytes, or -errno. */
function sendMessage(
  socket: VmSocket,
  args: Arguments,
  headers: Uint8Array,
  header: number,
): number {
  const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
  const vector = args.memory(view.getBigUint64(header + VECTOR, true));
  const vectorView = new DataView(vector.buffer, vector.byteOffset, vector.byteLength);
  const length = Number(vectorView.getBigUint64(8, true));
  const bytes = args.memory(vectorView.getBigUint64(0, true)).subarray(0, length);
  const nameAt = view.getBigUint64(header + NAME, true);
  if (nameAt === 0n) return socket.send(bytes);
  const name = readSockaddr(
    args.memory(nameAt).subarray(0, view.getUint32(header + NAME_LENGTH, true)),
  );
  if (!name) return -errno.EINVAL;
  if (socket.family === AF_INET && name.family !== AF_INET) return -errno.EAFNOSUPPORT;
  return socket.send(bytes, name.endpoint);
}

function writeName(socket: VmSocket, name: Endpoint | number, args: Arguments): number {
  if (typeof name === 'number') return name;
  writeSockaddr(args.bytes(1), socket.family, name);
  return 0;
}

/** System calls on sockets. */
export const socketCalls: { readonly [name in SyscallName]?: Call } = {
  socket(host, descriptors, args) {
    const [family, type] = [args.number(0), args.number(1) & TYPE_MASK];
    const { namespace } = host.context;
    if (family === AF_UNIX) return descriptors.open(new LocalSocket(namespace));
    if (family === AF_NETLINK) return descriptors.open(new NetlinkObject(namespace));
    if (family !== AF_INET && family !== AF_INET6) return -errno.EAFNOSUPPORT;
    if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -errno.ESOCKTNOSUPPORT;
    return descriptors.open(new VmSocket(host, family, type));
  },
  connect: orOther(
    (socket, host, args) =>
      socket instanceof LocalSocket ? socket.connect(host.files, args.bytes(1)) : 0,
    onSocket((socket, args) => {
      const name = readSockaddr(args.bytes(1).subarray(0, args.number(2)));
      if (name?.family === AF_UNSPEC) return socket.disconnect();
      const endpoint = endpointIn(socket, args, 1);
      return typeof endpoint === 'number' ? endpoint : socket.connect(endpoint);
    }),
  ),
  bind: orOther(
    (socket, host, args) =>
      socket instanceof LocalSocket ? socket.bind(host.files, args.bytes(1)) : 0,
    onSocket((socket, args) => {
      const endpoint = endpointIn(socket, args, 1);
      return typeof endpoint === 'number' ? endpoint : socket.bind(endpoint);
    }),
  ),
  listen: orOther(
    (socket) => (socket instanceof LocalSocket ? socket.listen() : -errno.EOPNOTSUPP),
    onSocket((socket) => socket.listen()),
  ),
  accept4: onSocket((socket, _, descriptors) => {
    const accepted = socket.accept();
    if (!accepted) return -errno.EAGAIN;
    const fd = descriptors.open(accepted);
    // Until now it was in the backlog.
    accepted.release();
    return fd;
  }),
  sendto: orOther(
    (socket, _, args) =>
      socket instanceof NetlinkObject ? socket.send(args.bytes(1)) : -errno.ENOTCONN,
    onSocket((socket, args) => {
      const bytes = args.bytes(1).subarray(0, args.number(2));
      if (args.number(5) === 0) return socket.send(bytes);
      const to = endpointIn(socket, args, 4);
      return typeof to === 'number' ? to : socket.send(bytes, to);
    }),
  ),
  recvfrom: orOther(
    (socket, _, args) =>
      socket instanceof NetlinkObject
        ? socket.receive(args.bytes(1), args.number(3))
        : -errno.ENOTCONN,
    onSocket((socket, args) => {
      const received = socket.receive();
      if (typeof received === 'number') return received;
      const bytes = received.bytes.subarray(0, args.number(2));
      args.bytes(1).set(bytes);
      writeSockaddr(args.bytes(4), socket.family, received.from);
      return bytes.length;
    }),
  ),
  sendmsg: onSocket((socket, args) => sendMessage(socket, args, args.bytes(1), 0)),
  sendmmsg: onSocket((socket, args) => {
    const headers = args.bytes(1);
    const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
    let count = 0;
    for (; count < args.number(2); count++) {
      const sent = sendMessage(socket, args, headers, count * MMSGHDR);
      if (sent < 0) return count > 0 ? count : sent;
      view.setUint32(count * MMSGHDR + MESSAGE_LENGTH, sent, true);
    }
    return count;
  }),
  dup(_, descriptors, args) {
    const object = descriptors.get(args.number(0));
    return object ? descriptors.open(object) : -errno.EBADF;
  },
  recvmmsg: onSocket((socket, args) => {
    const headers = args.bytes(1);
    const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
    let count = 0;
    for (; count < args.number(2); count++) {
      const received = socket.receive();
      if (typeof received === 'number') return count > 0 ? count : received;
      const header = count * MMSGHDR;
      const vector = args.memory(view.getBigUint64(header + VECTOR, true));
      const vectorView = new DataView(vector.buffer, vector.byteOffset, vector.byteLength);
      const room = args.memory(vectorView.getBigUint64(0, true));
      const bytes = received.bytes.subarray(0, Number(vectorView.getBigUint64(8, true)));
      room.set(bytes);
      const name = args.memory(view.getBigUint64(header + NAME, true));
      const length = view.getUint32(header + NAME_LENGTH, true);
      writeSockaddr(name.subarray(0, length), socket.family, received.from);
      view.setUint32(header + MESSAGE_LENGTH, bytes.length, true);
    }
    return count;
  }),
  getpeername: onSocket((socket, args) => writeName(socket, socket.peerName(), args)),
  getsockname: onSocket((socket, args) => writeName(socket, socket.ownName, args)),
  setsockopt(_, descriptors, args) {
    const socket = descriptors.get(args.number(0));
    const isV6Only = args.number(1) === IPPROTO_IPV6 && args.number(2) === IPV6_V6ONLY;
    if (socket instanceof VmSocket && isV6Only) socket.onlyIpv6 = args.bytes(3)[0] === 1;
    const isNoPort = args.number(1) === SOL_IP && args.number(2) === IP_BIND_ADDRESS_NO_PORT;
    if (socket instanceof VmSocket && isNoPort) socket.bindsNoPort = args.bytes(3)[0] === 1;
    const isReusePort = args.number(1) === SOL_SOCKET && args.number(2) === SO_REUSEPORT;
    if (socket instanceof VmSocket && isReusePort) socket.reusesPort = args.bytes(3)[0] === 1;
    // Other options have no effect here: calls never block, and closed sockets free their ports at once.
    return socket ? 0 : -errno.EBADF;
  },
  getsockopt(_, descriptors, args) {
    const socket = descriptors.get(args.number(0));
    if (!(socket instanceof VmSocket || socket instanceof LocalSocket)) return -errno.EBADF;
    if (args.number(1) !== SOL_SOCKET || args.number(2) !== SO_NETNS_COOKIE)
      return -errno.ENOPROTOOPT;
    const into = args.bytes(3);
    new DataView(into.buffer, into.byteOffset).setBigUint64(0, socket.namespace.cookie, true);
    return 0;
  },
};
