import { decodeCString, encodeCString, errno } from '@heddle/sys';
import { AF_INET6 } from '@heddle/sys/net';
import { readSockaddr, toBytes } from '../host/address.ts';
import type { Helper, Machine } from '../machine.ts';
import { StorageMap } from '../maps/storage-map.ts';
import { SocketHandle } from '../socket.ts';

/** Sockets by the context of a hook: helpers accept the context in place of its socket. */
export interface SocketSubject {
  readonly socket: SocketHandle;
}

function socketAt(machine: Machine, region: number): SocketHandle | undefined {
  const owner = machine.memory.owner(region);
  const object = owner?.kind === 'kernel' ? owner.object : undefined;
  if (object instanceof SocketHandle) return object;
  return (object as Partial<SocketSubject> | undefined)?.socket;
}

/** Returns the socket that a register points to, directly or by a context. */
function socketIn(machine: Machine, register: number): SocketHandle {
  const found = socketAt(machine, machine.registers[2 * register + 1]!);
  return found ?? machine.refuse(`r${register} is no socket`);
}

function storageIn(machine: Machine): StorageMap {
  const owner = machine.memory.owner(machine.registers[3]!);
  if (owner?.kind === 'map' && owner.map instanceof StorageMap) return owner.map;
  return machine.refuse('r1 is no socket storage');
}

const storageGet: Helper = (machine) => {
  const R = machine.registers;
  const map = storageIn(machine);
  // The kernel accepts a null pointer.
  if (R[5] === 0) return machine.answerPointer(0);
  const socket = socketIn(machine, 2);
  const initial = R[7] === 0 ? undefined : machine.argumentBytes(3, map.options.valueSize);
  machine.answerPointer(map.get(socket, R[8]!, initial));
};

const storageDelete: Helper = (machine) => {
  const map = storageIn(machine);
  if (machine.registers[5] === 0) return machine.answer(-errno.EINVAL);
  machine.answer(map.forget(socketIn(machine, 2)));
};

const socketCookie: Helper = (machine) => {
  machine.answerBig(socketAt(machine, machine.registers[3]!)?.fields.cookie ?? 0n);
};

/** The cookie of the initial network namespace, which is the first one with a cookie. */
const INITIAL_NETNS = 1n;

const netnsCookie: Helper = (machine) => {
  machine.answerBig(socketAt(machine, machine.registers[3]!)?.fields.netnsCookie ?? INITIAL_NETNS);
};

/** bpf_bind(ctx, struct sockaddr, length). */
const bind: Helper = (machine) => {
  const socket = socketIn(machine, 1);
  const name = readSockaddr(machine.argumentBytes(2, machine.registers[6]!));
  if (!name || !socket.bind) return machine.answer(-errno.EINVAL);
  machine.answer(socket.bind(toBytes(name.endpoint.address), name.endpoint.port));
};

/** Returns the kernel's struct of an IPv6 socket of the protocol, for others NULL. */
const toSocket6 =
  (protocol: number): Helper =>
  (machine) => {
    const { fields, commonRegion } = socketIn(machine, 1);
    const matches = fields.family === AF_INET6 && fields.protocol === protocol;
    machine.answerPointer(matches ? commonRegion : 0);
  };

/** No socket of the machine uses MPTCP. */
const toMptcp: Helper = (machine) => {
  socketIn(machine, 1);
  machine.answerPointer(0);
};

const SOL_TCP = 6;
const TCP_CONGESTION = 13;
/** The congestion control of all TCP sockets of the machine. */
const congestionControl = encodeCString('cubic');

/** Returns the value of an option (bpf_getsockopt and bpf_setsockopt), or undefined if it is not TCP_CONGESTION. */
function congestionValue(machine: Machine, write: boolean): Uint8Array | undefined {
  const R = machine.registers;
  socketIn(machine, 1);
  if (R[4] !== SOL_TCP || R[6] !== TCP_CONGESTION) return undefined;
  return machine.argumentBytes(4, R[10]!, write);
}

const getOption: Helper = (machine) => {
  const value = congestionValue(machine, true);
  if (!value || value.length < congestionControl.length) return machine.answer(-errno.EINVAL);
  value.fill(0);
  value.set(congestionControl);
  machine.answer(0);
};

const setOption: Helper = (machine) => {
  const value = congestionValue(machine, false);
  if (!value) return machine.answer(-errno.EINVAL);
  const isKnown = decodeCString(value) === decodeCString(congestionControl);
  machine.answer(isKnown ? 0 : -errno.ENOENT);
};

/** Returns the kernel's struct of a TCP socket, for others NULL. */
const toTcp: Helper = (machine) => {
  const { fields, commonRegion } = socketIn(machine, 1);
  machine.answerPointer(fields.protocol === 6 ? commonRegion : 0);
};

/** The connections of the machine's sockets have no packets, so no packet belongs to one of them. */
const lookupSocket: Helper = (machine) => {
  machine.argumentBytes(2, machine.registers[6]!);
  machine.answerPointer(0);
};

/** There is no socket that lookupSocket could have returned. */
const releaseSocket: Helper = (machine) => machine.refuse('r1 is no socket that was looked up');

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const socketHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  46: ['get_socket_cookie', socketCookie],
  49: ['setsockopt', setOption],
  57: ['getsockopt', getOption],
  64: ['bind', bind],
  85: ['sk_lookup_udp', lookupSocket],
  86: ['sk_release', releaseSocket],
  99: ['skc_lookup_tcp', lookupSocket],
  107: ['sk_storage_get', storageGet],
  108: ['sk_storage_delete', storageDelete],
  122: ['get_netns_cookie', netnsCookie],
  136: ['skc_to_tcp6_sock', toSocket6(6)],
  137: ['skc_to_tcp_sock', toTcp],
  140: ['skc_to_udp6_sock', toSocket6(17)],
  196: ['skc_to_mptcp_sock', toMptcp],
};
