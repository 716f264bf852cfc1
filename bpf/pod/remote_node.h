/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions find the nodes that remote pods run on. */
#pragma once

#include "lib/address.h"
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
