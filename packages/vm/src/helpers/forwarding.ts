import { programTypes } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import type { Helper } from '../machine.ts';

const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
const BPF_F_INGRESS = 1;
/** sizeof(struct bpf_redir_neigh) and struct bpf_fib_lookup. */
const NEXT_HOP = 20;
const ROUTE = 64;

const redirect: Helper = (machine) => {
  const R = machine.registers;
  const [ifindex, flags] = [R[2]! >>> 0, R[4]! >>> 0];
  if (machine.program.type === programTypes.xdp) {
    if (flags !== 0) return machine.answer(XDP_ABORTED);
    machine.redirection = { ifindex, to: 'egress' };
    return machine.answer(XDP_REDIRECT);
  }
  if (flags & ~BPF_F_INGRESS) return machine.answer(TC_ACT_SHOT);
  machine.redirection = { ifindex, to: flags & BPF_F_INGRESS ? 'ingress' : 'egress' };
  machine.answer(TC_ACT_REDIRECT);
};

const redirectPeer: Helper = (machine) => {
  const R = machine.registers;
  if (R[4] !== 0) return machine.answer(TC_ACT_SHOT);
  machine.redirection = { ifindex: R[2]! >>> 0, to: 'peer' };
  machine.answer(TC_ACT_REDIRECT);
};

const redirectNeighbour: Helper = (machine) => {
  const R = machine.registers;
  const length = R[6]! >>> 0;
  if ((length !== 0 && length < NEXT_HOP) || R[8] !== 0) return machine.answer(TC_ACT_SHOT);
  const nextHop = length === 0 ? undefined : machine.argumentBytes(2, NEXT_HOP).slice();
  machine.redirection = { ifindex: R[2]! >>> 0, to: 'neighbour', nextHop };
  machine.answer(TC_ACT_REDIRECT);
};

/** bpf_fib_lookup, with the routes of the surroundings. */
const lookUpRoute: Helper = (machine) => {
  const R = machine.registers;
  if (R[6]! >>> 0 < ROUTE) return machine.answer(-errno.EINVAL);
  const { routes } = machine;
  if (!routes) return machine.refuse('the machine was given no routes', 'not-simulated');
  machine.answer(routes(machine.argumentBytes(2, ROUTE, true), R[8]! >>> 0));
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const forwardingHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> =
  {
    23: ['redirect', redirect],
    69: ['fib_lookup', lookUpRoute],
    152: ['redirect_neigh', redirectNeighbour],
    155: ['redirect_peer', redirectPeer],
  };
