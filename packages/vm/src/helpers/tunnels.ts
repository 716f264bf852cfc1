import { errno } from '@heddle/sys';
import type { Helper } from '../machine.ts';
import { Packet } from '../packet.ts';

/** BPF_F_TUNINFO_IPV6, and sizeof(struct bpf_tunnel_key). */
const IPV6 = 1;
const KEY = 44;
/** Flags of bpf_skb_set_tunnel_key. */
const SET_FLAGS = 0x1f;
/** Offsets in struct bpf_tunnel_key and struct __sk_buff. */
const [TTL_AND_FLAGS, LABEL] = [22, 24];
const [PROTOCOL, TIMESTAMP] = [16, 152];
/** ETH_P_* in network byte order. */
const [IPV4_TYPE, IPV6_TYPE] = [0x0008, 0xdd86];
const [ETHERNET, ECN_MASK] = [14, 3];

/** bpf_skb_get_tunnel_key: the tunnel that the packet has come through, as the caller of the machine says. */
const getTunnelKey: Helper = (machine) => {
  const R = machine.registers;
  const size = R[6]! >>> 0;
  if (size !== KEY) return machine.refuse('keys of another size', 'not-simulated');
  const into = machine.argumentBytes(2, size, true).fill(0);
  const key = machine.arrivedThrough;
  if (!key || R[8]! >>> 0 > IPV6) return machine.answer(-errno.EINVAL);
  if (key.isIpv6 !== (R[8] === IPV6)) return machine.answer(-errno.EPROTO);
  into.set(key.bytes);
  machine.answer(0);
};

/** bpf_skb_set_tunnel_key: notes the tunnel. The tunnel device is no part of the machine. */
const setTunnelKey: Helper = (machine) => {
  const R = machine.registers;
  const [size, flags] = [R[6]! >>> 0, R[8]! >>> 0];
  if (size !== KEY) return machine.refuse('keys of another size', 'not-simulated');
  const bytes = machine.argumentBytes(2, size).slice();
  const view = new DataView(bytes.buffer);
  const isIpv6 = (flags & IPV6) !== 0;
  const hasLabel = view.getUint32(LABEL, true) !== 0;
  if (
    (flags & ~SET_FLAGS) !== 0 ||
    view.getUint16(TTL_AND_FLAGS, true) !== 0 ||
    (hasLabel && !isIpv6)
  )
    return machine.answer(-errno.EINVAL);
  machine.sentThrough = { bytes, isIpv6 };
  machine.answer(0);
};

/** bpf_skb_set_tstamp: the departure time is in the context. */
const setTimestamp: Helper = (machine) => {
  const R = machine.registers;
  if (!(machine.subject instanceof Packet)) return machine.refuse('there is no packet');
  const { context } = machine.subject;
  const view = new DataView(context.buffer, context.byteOffset);
  const protocol = view.getUint16(PROTOCOL, true);
  if (protocol !== IPV4_TYPE && protocol !== IPV6_TYPE) return machine.answer(-errno.EOPNOTSUPP);
  const isZero = R[4] === 0 && R[5] === 0;
  const type = R[6]! >>> 0;
  if (type > 1 || (type === 1 && isZero)) return machine.answer(-errno.EINVAL);
  view.setInt32(TIMESTAMP, R[4]!, true);
  view.setInt32(TIMESTAMP + 4, R[5]!, true);
  machine.answer(0);
};

/** bpf_skb_ecn_set_ce: 1 if the packet has the mark now, 0 if its sender does not know marks. */
const setCongestion: Helper = (machine) => {
  if (!(machine.subject instanceof Packet)) return machine.refuse('there is no packet');
  const { packet, context } = machine.subject;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const protocol = new DataView(context.buffer, context.byteOffset).getUint16(PROTOCOL, true);
  if (protocol === IPV6_TYPE && packet.length >= ETHERNET + 40) {
    const word = view.getUint16(ETHERNET);
    if ((word & (ECN_MASK << 4)) === 0) return machine.answer(0);
    view.setUint16(ETHERNET, word | (ECN_MASK << 4));
    return machine.answer(1);
  }
  if (protocol !== IPV4_TYPE || packet.length < ETHERNET + 20) return machine.answer(0);
  const before = view.getUint16(ETHERNET);
  if ((before & ECN_MASK) === 0) return machine.answer(0);
  const after = before | ECN_MASK;
  view.setUint16(ETHERNET, after);
  // RFC 1624, equation 3.
  const sum = (~view.getUint16(ETHERNET + 10) & 0xffff) + (~before & 0xffff) + after;
  const folded = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(ETHERNET + 10, ~(folded + (folded >>> 16)) & 0xffff);
  machine.answer(1);
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const tunnelHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  20: ['skb_get_tunnel_key', getTunnelKey],
  21: ['skb_set_tunnel_key', setTunnelKey],
  97: ['skb_ecn_set_ce', setCongestion],
  192: ['skb_set_tstamp', setTimestamp],
};
