/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions find the next hop of a packet by the node's own routes. */
#pragma once

#include "ct/entry.h"
#include "packet.h"
#include "pod/device.h"
#include "pod/local.h"
#include "pod/remote_node.h"
#include "verdict.h"

#define ROUTE_SOURCE (1u << 4) /* BPF_FIB_LOOKUP_SRC, Linux 6.7; older headers lack it */
/* The program forwards the packet itself, also where needs_host_stack() would leave it to the
 * stack. */
#define ROUTE_PAST_STACK (1u << 31)
#define EINVAL 22

struct route {
	__u8 next_hop[16]; /* set with NO_NEIGH only; it may be IPv6 for an IPv4 packet (RFC 5549) */
	__u32 ifindex;
	__u16 mtu;
	__s8 result;   /* BPF_FIB_LKUP_RET_*; NOT_FWDED: the packet is translated, and the stack
			  forwards it */
	__u8 overhead; /* bytes that a tunnel adds to the packet */
	__u8 dmac[ETH_ALEN];
	__u8 smac[ETH_ALEN];
};

INLINE int interface_has_role(__u32 ifindex, enum interface_role wanted)
{
	enum interface_role *role = bpf_map_lookup_elem(&node_devices, &ifindex);

	return role && *role == wanted;
}

/* Returns 1 for an interface to other nodes and the world; the device of tunnels is one, too. */
INLINE int is_external_interface(__u32 ifindex)
{
	return interface_has_role(ifindex, INTERFACE_EXTERNAL) || is_tunnel_device(ifindex);
}

INLINE int is_pod_interface(__u32 ifindex)
{
	return find_pod_device(ifindex) || interface_has_role(ifindex, INTERFACE_POD);
}

/*
 * Returns 1 if the stack must forward a translated packet between two interfaces. It forwards
 * replies of a backend on this node where netfilter tracks connections: netfilter has not seen the
 * request, so it would treat a redirected reply as invalid, which rules drop, or as a connection of
 * the backend, which rules masquerade. It forwards packets of pods there, too, and always where
 * another network plug-in has policies and masquerading for them; but not those that leave by the
 * interface that they arrived on, because they have an address of the node, and the stack would
 * drop them as spoofed.
 */
INLINE int needs_host_stack(__u32 from, __u32 to)
{
	struct ct_table *table = get_ct_table();

	if (from == to || !table)
		return 0;
	if (is_external_interface(from))
		return table->nf_tracked && !is_external_interface(to);
	return table->nf_tracked || !find_pod_device(from);
}

/* Returns the length of the packet, or of the largest segment that it will be cut into. */
INLINE __u32 segment_length(context *ctx, const struct packet *packet)
{
	__u32 size = segment_size(ctx);

	return size ? packet->transport - packet->network + packet->transport_length + size :
		      packet->length;
}

/* Returns V_OK, or the reason why the packet cannot be forwarded by the route. */
INLINE enum verdict fib_result_to_verdict(const struct packet *packet, const struct route *route)
{
	switch (route->result) {
	case BPF_FIB_LKUP_RET_NOT_FWDED: /* The stack decides. */
		return V_OK;
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return packet->ttl <= 1 ? V_DROP(DROP_TTL) : V_OK;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return V_DROP(DROP_TOO_LARGE);
	default:
		return V_DROP(DROP_NO_ROUTE);
	}
}

/*
 * Asks the kernel for a route; `fib` has the addresses. Rules may want a DSCP, and one of several
 * paths is chosen by the flow label. Returns BPF_FIB_LKUP_RET_*.
 */
INLINE long fib_lookup_kernel(context *ctx, const struct packet *packet, __u32 flags,
			      struct bpf_fib_lookup *fib, int *has_source, struct route *route)
{
	__be32 start; /* of the IP header, with the DSCP, and in IPv6 the flow label */
	long result;

	if (load_bytes(ctx, packet->network, &start, sizeof(start)))
		return BPF_FIB_LKUP_RET_UNREACHABLE;
	if (packet->ipv4)
		fib->tos = (__u8)(bpf_htonl(start) >> 16);
	else
		fib->flowinfo = start & bpf_htonl(0x0fffffff);
	result = bpf_fib_lookup(ctx, fib, sizeof(*fib), flags & ROUTE_SOURCE);
	*has_source = (flags & ROUTE_SOURCE) &&
		      (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH);
	if (result == -EINVAL && flags & ROUTE_SOURCE)
		result = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		__builtin_memcpy(route->dmac, fib->dmac, ETH_ALEN);
		__builtin_memcpy(route->smac, fib->smac, ETH_ALEN);
	} else if (result == BPF_FIB_LKUP_RET_NO_NEIGH && fib->family == AF_INET) {
		map_ipv4(route->next_hop, fib->ipv4_dst);
	} else if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		copy_address(route->next_hop, fib->ipv6_dst);
	}
	return result;
}

/* Fills the route to a pod of this node, as the kernel would. Returns BPF_FIB_LKUP_RET_*. */
INLINE long route_to_pod(const struct pod *pod, struct bpf_fib_lookup *fib, struct route *route)
{
	__u32 length = fib->tot_len;

	fib->ifindex = pod->ifindex;
	fib->mtu_result = pod->mtu;
	__builtin_memcpy(route->dmac, pod->mac, ETH_ALEN);
	__builtin_memcpy(route->smac, (const void *)pod_config.gateway_mac, ETH_ALEN);
	return length > pod->mtu ? BPF_FIB_LKUP_RET_FRAG_NEEDED : BPF_FIB_LKUP_RET_SUCCESS;
}

/*
 * Fills the route to a pod of another node through the tunnel device. Returns BPF_FIB_LKUP_RET_*.
 * The device at the other end accepts frames to any link address.
 */
INLINE long route_to_tunnel(enum node_path path, struct bpf_fib_lookup *fib, struct route *route)
{
	struct tunnel_end *end = get_tunnel();
	__u32 length = fib->tot_len, mtu;

	if (!end)
		return BPF_FIB_LKUP_RET_UNREACHABLE;
	mtu = path == NODE_TUNNEL_IPV4 ? end->mtu_ipv4 : end->mtu_ipv6;
	fib->ifindex = end->ifindex;
	fib->mtu_result = mtu;
	__builtin_memcpy(route->dmac, (const void *)pod_config.gateway_mac, ETH_ALEN);
	__builtin_memcpy(route->smac, (const void *)pod_config.gateway_mac, ETH_ALEN);
	return length > mtu ? BPF_FIB_LKUP_RET_FRAG_NEEDED : BPF_FIB_LKUP_RET_SUCCESS;
}

/*
 * Looks up the route of a packet with the tuple `to`. `fib` is all zero before, and `route` but for
 * the overhead. `flags` may be ROUTE_PAST_STACK and ROUTE_SOURCE; with the latter `has_source` is
 * set if `fib` has the route's preferred source address.
 */
INLINE enum verdict fib_query(context *ctx, const struct packet *packet, const struct tuple *to,
			      __u32 flags, struct bpf_fib_lookup *fib, int *has_source,
			      struct route *route)
{
	const __u32 *source = (const __u32 *)to->source,
		    *destination = (const __u32 *)to->destination;
	__u32 length = segment_length(ctx, packet) + route->overhead;
	struct pod *pod = find_local_pod(to->destination);
	enum node_path path = pod ? 0 : tunnel_path(to->destination);
	long result;

	fib->l4_protocol = to->protocol;
	fib->sport = to->source_port;
	fib->dport = to->destination_port;
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
	*has_source = 0;
	result = pod  ? route_to_pod(pod, fib, route) :
		 path ? route_to_tunnel(path, fib, route) :
			fib_lookup_kernel(ctx, packet, flags, fib, has_source, route);
	route->ifindex = fib->ifindex;
	route->mtu = fib->mtu_result;
	if (!(flags & ROUTE_PAST_STACK) && !packet->past_stack &&
	    (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) &&
	    needs_host_stack(ifindex_of(ctx), fib->ifindex))
		result = BPF_FIB_LKUP_RET_NOT_FWDED;
	route->result = result;
	return fib_result_to_verdict(packet, route);
}

/*
 * Looks up the route of a packet with the tuple `to`. `route` is all zero before, but for the
 * overhead.
 */
GLOBAL enum verdict route_lookup(context *ctx, const struct packet *packet, const struct tuple *to,
				 struct route *route)
{
	struct bpf_fib_lookup fib = {};
	int has_source;

	if (!packet || !to || !route)
		return V_DROP(DROP_NO_ROUTE);
	return fib_query(ctx, packet, to, 0, &fib, &has_source, route);
}
