/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which way a packet goes, by the node's own routes. */
#pragma once

#include "nat.h"

#define ROUTE_SOURCE (1u << 4) /* BPF_FIB_LOOKUP_SRC, Linux 6.7; the headers here may not have it yet */
#define EINVAL 22

struct route {
	struct bpf_fib_lookup fib; /* as the kernel answered */
	__s32 result;		   /* BPF_FIB_LKUP_RET_*; NOT_FWDED: it is translated, the stack does the rest */
	__u16 overhead;		   /* bytes that the packet grows by on that way */
	__u16 has_source_address;	   /* whether `fib` says which address of the node's goes this way */
};

INLINE int interface_has_role(__u32 ifindex, enum interface_role wanted)
{
	enum interface_role *role = bpf_map_lookup_elem(&node_devices, &ifindex);

	return role && *role == wanted;
}

INLINE int is_external_interface(__u32 ifindex)
{
	return interface_has_role(ifindex, INTERFACE_EXTERNAL);
}

/*
 * Whether a translated packet from one device to another must take the stack's way. Replies of a backend
 * on this node do: if netfilter tracks connections and has not seen the request, it takes them for invalid,
 * which rules drop, or for a connection of the backend's own, which rules masquerade. What pods send does
 * in any case, so that it meets policies and masquerading like all that they send; but not what turns back,
 * which bears the node's address and would be taken for a forgery.
 */
INLINE int needs_host_stack(__u32 from, __u32 to)
{
	struct ct_table *table = get_ct_table();

	if (from == to || !table)
		return 0;
	return !is_external_interface(from) || (table->nf_tracked && !is_external_interface(to));
}

/* Length of the largest packet that this one is or will be cut into. */
INLINE __u32 segment_length(context *ctx, const struct packet *packet)
{
	__u32 size = segment_size(ctx);

	return size ? packet->transport - packet->network + packet->transport_length + size : packet->length;
}

/* Why a packet can't go that way; 0: it can. */
INLINE int fib_result_to_drop_reason(const struct packet *packet, const struct route *route)
{
	switch (route->result) {
	case BPF_FIB_LKUP_RET_NOT_FWDED: /* it is the stack's */
		return 0;
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return packet->ttl <= 1 ? DROP_TTL : 0;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return DROP_TOO_LARGE;
	default:
		return DROP_NO_ROUTE;
	}
}

/*
 * Looks up the way of a packet that is from and to what `key` says; `route` is all zero before, but for
 * the overhead. `flags` may be ROUTE_SOURCE. Returns 0, or why the packet can't go that way.
 */
GLOBAL int route_lookup(context *ctx, const struct packet *packet, const struct tuple *key, __u32 flags,
		      struct route *route)
{
	const __u32 *source, *destination;
	struct bpf_fib_lookup *fib;
	__u32 length;
	long result;

	if (!packet || !key || !route)
		return DROP_NO_ROUTE;
	fib = &route->fib;
	source = (const __u32 *)key->source;
	destination = (const __u32 *)key->destination;
	length = segment_length(ctx, packet) + route->overhead;
	fib->l4_protocol = key->protocol;
	fib->sport = key->source_port;
	fib->dport = key->destination_port;
	fib->tot_len = length > 0xffff ? 0xffff : length;
	fib->ifindex = ifindex_of(ctx);
	if (packet->ipv4) {
		fib->family = AF_INET;
		fib->ipv4_src = source[3];
		fib->ipv4_dst = destination[3];
	} else {
		fib->family = AF_INET6;
		copy_address(fib->ipv6_src, source);
		copy_address(fib->ipv6_dst, destination);
	}
	result = bpf_fib_lookup(ctx, fib, sizeof(*fib), flags);
	route->has_source_address = flags && (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH);
	if (result == -EINVAL && flags)
		result = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if ((result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) &&
	    needs_host_stack(ifindex_of(ctx), fib->ifindex))
		result = BPF_FIB_LKUP_RET_NOT_FWDED;
	route->result = result;
	return fib_result_to_drop_reason(packet, route);
}
