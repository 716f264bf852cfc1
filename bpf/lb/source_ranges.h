/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* loadBalancerSourceRanges restricts the clients of a frontend. */
#pragma once

#include "lib/address.h"
#include "maps.h"

/*
 * Returns 1 if a frontend with restricted clients serves this client. Such a frontend has an entry
 * for all clients, so one without any entry is damaged, and serves no client.
 */
NOINLINE int is_in_ranges(const void *frontend, __be16 port, __u8 protocol, const void *client)
{
	struct source_range_key key = {
		.prefix_length = 8 * (sizeof(key) - sizeof(key.prefix_length)),
		.port = port,
		.protocol = protocol,
	};
	enum source_range *range;

	copy_address(key.frontend, frontend);
	copy_address(key.client, client);
	range = bpf_map_lookup_elem(&source_ranges, &key);
	return range && *range == RANGE_ALLOWED;
}
