/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets to pods of nodes that no route leads to go through VXLAN. ctx/tc.h is included first. */
#pragma once

#include "lib/packet.h"
#include "pod/remote_node.h"

/* The TTL of the outer header of a tunnel. */
#define TUNNEL_TTL 64

/* Sends a packet whose headers are complete through the tunnel to the node of its destination. */
NOINLINE int send_through_tunnel(context *ctx, const struct packet *packet)
{
	struct remote_node *node = find_remote_node(packet->tuple.destination);
	struct tunnel_end *end = get_tunnel();
	struct bpf_tunnel_key key = {};
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (!node || !end)
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
	/* Rules of the node are for marks that the node has set. */
	ctx->mark = 0;
	return bpf_redirect(end->ifindex, 0);
}
