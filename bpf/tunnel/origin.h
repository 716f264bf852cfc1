/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet out of a tunnel of the pod network must come from the node of its sender. */
#pragma once

#include "lib/packet.h"
#include "pod/remote_node.h"

/*
 * Returns 1 if a packet out of a tunnel comes from the node whose pods have its source address. Any
 * host that reaches the tunnel's port can send packets there.
 */
NOINLINE int is_from_its_node(context *ctx, const struct packet *packet)
{
	struct remote_node *node = find_remote_node(packet->tuple.source);
	struct tunnel_end *end = get_tunnel();
	struct bpf_tunnel_key key = {};

	if (!node || !end)
		return 0;
	if (!bpf_skb_get_tunnel_key(ctx, &key, sizeof(key), 0))
		return key.tunnel_id == end->id && node->ipv4 &&
		       key.remote_ipv4 == bpf_htonl(node->ipv4);
	return !bpf_skb_get_tunnel_key(ctx, &key, sizeof(key), BPF_F_TUNINFO_IPV6) &&
	       key.tunnel_id == end->id && same_address(key.remote_ipv6, node->ipv6);
}
