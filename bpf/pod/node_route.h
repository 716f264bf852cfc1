/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions send packets to the node of a remote pod: by the routes of this node, or through
 * a tunnel. ctx/tc.h is included first.
 */
#pragma once

#include "lib/rewrite.h"
#include "remote_node.h"

/* The TTL of the outer header of a tunnel. */
#define TUNNEL_TTL 64

/*
 * Looks up the route of a packet of a pod with the tuple `to`, which passes no netfilter. `route`
 * is all zero before, but for the overhead.
 */
GLOBAL enum verdict pod_route_lookup(context *ctx, const struct packet *packet,
				     const struct tuple *to, struct route *route)
{
	struct bpf_fib_lookup fib = {};
	int has_source;

	if (!packet || !to || !route)
		return V_DROP(DROP_NO_ROUTE);
	return fib_query(ctx, packet, to, ROUTE_PAST_STACK, &fib, &has_source, route);
}

/*
 * Finds the path of a packet that has the tuple `to` when it leaves, to the node of its
 * destination. `route` is all zero before. Returns V_OK or the reason why the packet cannot be
 * sent; `route->mtu` then is the MTU that it exceeds.
 */
INLINE enum verdict find_node_path(context *ctx, const struct packet *packet,
				   const struct tuple *to, const struct remote_node *node,
				   struct route *route)
{
	struct tunnel_end *end;

	if (node->path == NODE_DIRECT)
		return pod_route_lookup(ctx, packet, to, route);
	end = get_tunnel();
	if (!end)
		return V_DROP(DROP_NO_ROUTE);
	route->ifindex = end->ifindex;
	route->mtu = node->path == NODE_TUNNEL_IPV4 ? end->mtu_ipv4 : end->mtu_ipv6;
	if (packet->ttl <= 1)
		return V_DROP(DROP_TTL);
	return segment_length(ctx, packet) > route->mtu ? V_DROP(DROP_TOO_LARGE) : V_OK;
}

/* Sends a packet whose TTL is decremented through a tunnel to a node. */
INLINE int send_through_tunnel(context *ctx, const struct remote_node *node)
{
	struct tunnel_end *end = get_tunnel();
	struct bpf_tunnel_key key = {};
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (!end)
		return DROP;
	key.tunnel_id = end->id;
	key.tunnel_ttl = TUNNEL_TTL;
	if (node->path == NODE_TUNNEL_IPV4) {
		/* The helper takes IPv4 addresses in host order. */
		key.remote_ipv4 = bpf_htonl(node->ipv4);
		key.local_ipv4 = bpf_htonl(end->ipv4);
	} else {
		copy_address(key.remote_ipv6, node->ipv6);
		copy_address(key.local_ipv6, end->ipv6);
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(ctx, &key, sizeof(key), flags))
		return DROP;
	return bpf_redirect(end->ifindex, 0);
}

/* Sends a packet by its route, past the stack. Decrements its TTL. */
INLINE int send_by_route(context *ctx, const struct packet *packet, const struct route *route)
{
	struct {
		__u8 destination[ETH_ALEN];
		__u8 source[ETH_ALEN];
	} link;

	if (route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT; /* The destination is this node. */
	if (decrement_ttl(ctx, packet))
		return DROP;
	/* Rules of the node are for marks that the node has set. */
	ctx->mark = 0;
	if (route->result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh next = { .nh_family = is_mapped(route->next_hop) ?
								     AF_INET :
								     AF_INET6 };

		if (next.nh_family == AF_INET)
			next.ipv4_nh = ((const __u32 *)route->next_hop)[3];
		else
			copy_address(next.ipv6_nh, route->next_hop);
		return bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
	}
	__builtin_memcpy(link.destination, route->dmac, ETH_ALEN);
	__builtin_memcpy(link.source, route->smac, ETH_ALEN);
	return store_bytes(ctx, 0, &link, sizeof(link)) ? DROP : bpf_redirect(route->ifindex, 0);
}

/* Sends a packet by the path that find_node_path() has found. */
INLINE int send_to_node(context *ctx, const struct packet *packet, const struct remote_node *node,
			const struct route *route)
{
	if (node->path == NODE_DIRECT)
		return send_by_route(ctx, packet, route);
	return decrement_ttl(ctx, packet) ? DROP : send_through_tunnel(ctx, node);
}
