/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions find the nodes that remote pods run on. */
#pragma once

#include "lib/address.h"
#include "local.h"
#include "maps.h"

/* Returns the other node whose pods have an address, or 0. */
INLINE struct remote_node *find_remote_node(const void *address)
{
	struct range_key key = { .prefix_length = 128 };

	copy_address(key.address, address);
	return bpf_map_lookup_elem(&node_ranges, &key);
}

/* Returns this node's end of tunnels, or 0 if it has none. */
INLINE struct tunnel_end *get_tunnel(void)
{
	__u32 zero = 0;
	struct tunnel_end *end = bpf_map_lookup_elem(&tunnel, &zero);

	return end && end->ifindex ? end : 0;
}

/* Returns 1 for the device of the tunnels to other nodes. */
INLINE int is_tunnel_device(__u32 ifindex)
{
	struct tunnel_end *end = pod_config.enabled ? get_tunnel() : 0;

	return end && end->ifindex == ifindex;
}

/* Returns the kind of tunnel to the node that has an address in the range of its pods, or 0. */
NOINLINE enum node_path tunnel_path(const void *address)
{
	struct remote_node *node;

	if (!pod_config.enabled || !get_tunnel())
		return 0;
	node = find_remote_node(address);
	return node && node->path != NODE_DIRECT ? node->path : 0;
}
