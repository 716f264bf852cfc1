import { attachTypes } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import type { SocketSubject } from '../helpers/sockets.ts';
import type { Machine } from '../machine.ts';
import type { SocketHandle } from '../socket.ts';
import { type Address, type Endpoint, fromBytes, isMapped, toBytes } from './address.ts';
import type { VmCgroup } from './cgroup.ts';

export type AddressHook = 'bind' | 'connect' | 'sendmsg' | 'recvmsg' | 'getpeername';

const hookTypes: Readonly<Record<AddressHook, readonly [v4: number, v6: number]>> = {
  bind: [attachTypes.cgroup_inet4_bind, attachTypes.cgroup_inet6_bind],
  connect: [attachTypes.cgroup_inet4_connect, attachTypes.cgroup_inet6_connect],
  sendmsg: [attachTypes.cgroup_udp4_sendmsg, attachTypes.cgroup_udp6_sendmsg],
  recvmsg: [attachTypes.cgroup_udp4_recvmsg, attachTypes.cgroup_udp6_recvmsg],
  getpeername: [attachTypes.cgroup_inet4_getpeername, attachTypes.cgroup_inet6_getpeername],
};

/** struct bpf_sock_addr (linux/bpf.h). */
const SIZE = 72;
const USER_FAMILY = 0;
const USER_IP4 = 4;
const USER_IP6 = 8;
const USER_PORT = 24;
const FAMILY = 28;
const TYPE = 32;
const PROTOCOL = 36;
const SK = 64;

/** The outcome of a hook: 0 or -errno, and the endpoint after the programs. */
export interface HookResult {
  readonly result: number;
  readonly endpoint: Endpoint;
}

/** Runs the programs of cgroup hooks for sockets. All runs share one context. */
export class SocketHooks {
  readonly #machine: Machine;
  readonly #bytes = new Uint8Array(SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #subject: { socket: SocketHandle | undefined } = { socket: undefined };
  readonly #region: number;

  constructor(machine: Machine) {
    this.#machine = machine;
    const subject = this.#subject as Partial<SocketSubject>;
    this.#region = machine.memory.add(
      { kind: 'kernel', what: 'the context', object: subject },
      this.#bytes,
    );
  }

  /**
   * Runs a hook with an address, which programs may change. `family` selects the variant: for an IPv4
   * address in an IPv6 socket it depends on the hook.
   */
  address(
    hook: AddressHook,
    family: 4 | 6,
    socket: SocketHandle,
    cgroup: VmCgroup,
    endpoint: Endpoint,
  ): HookResult {
    const type = hookTypes[hook][family === 4 ? 0 : 1];
    let ran = false;
    let result = 0;
    for (const program of cgroup.programs(type)) {
      if (!ran) {
        this.#fill(family, socket, endpoint);
        this.#machine.returnValue = 0;
        ran = true;
      }
      const allowed = this.#machine.run(program, this.#region) & 1;
      // A refusal without an errno is EPERM (bpf_prog_run_array_cg).
      if (!allowed && this.#machine.returnValue === 0) this.#machine.returnValue = -errno.EPERM;
      result = this.#machine.returnValue;
    }
    if (!ran) return { result: 0, endpoint };
    this.#subject.socket = undefined;
    return { result, endpoint: this.#read(family, endpoint) };
  }

  /** Runs a hook whose context is the socket itself. Returns 0 or -errno. */
  socket(attachType: number, socket: SocketHandle, cgroup: VmCgroup): number {
    this.#machine.returnValue = 0;
    for (const program of cgroup.programs(attachType)) {
      const allowed = this.#machine.run(program, socket.region) & 1;
      if (!allowed && this.#machine.returnValue === 0) this.#machine.returnValue = -errno.EPERM;
    }
    return this.#machine.returnValue;
  }

  #fill(family: 4 | 6, socket: SocketHandle, { address, port }: Endpoint): void {
    const view = this.#view;
    const bytes = toBytes(address);
    this.#bytes.fill(0);
    view.setUint32(USER_FAMILY, family === 4 ? AF_INET : AF_INET6, true);
    if (family === 4) this.#bytes.set(bytes.subarray(12), USER_IP4);
    else this.#bytes.set(bytes, USER_IP6);
    view.setUint16(USER_PORT, port);
    view.setUint32(FAMILY, socket.fields.family, true);
    view.setUint32(TYPE, socket.fields.type, true);
    view.setUint32(PROTOCOL, socket.fields.protocol, true);
    view.setInt32(SK + 4, socket.region, true);
    this.#subject.socket = socket;
  }

  #read(family: 4 | 6, before: Endpoint): Endpoint {
    const port = this.#view.getUint16(USER_PORT);
    const address: Address =
      family === 6
        ? fromBytes(this.#bytes.subarray(USER_IP6, USER_IP6 + 16))
        : before.address.slice(0, 12) + fromBytes(this.#bytes.subarray(USER_IP4, USER_IP4 + 4));
    return { address, port };
  }
}

/** Returns the variant of a hook for an address of a socket. */
export function familyOf(socketFamily: number, address: Address, hook: AddressHook): 4 | 6 {
  if (socketFamily === AF_INET) return 4;
  // The kernel passes a datagram for an IPv4 address to IPv4 before the hook (udpv6_sendmsg).
  return hook === 'sendmsg' && isMapped(address) ? 4 : 6;
}
