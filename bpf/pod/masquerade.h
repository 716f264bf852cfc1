/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Destinations outside may see an address of this node instead of a pod's. */
#pragma once

#include "lib/address.h"
#include "maps.h"

/* Returns 1 if a destination outside sees an address of this node instead of the pod's. */
INLINE int is_masqueraded(const void *destination)
{
	struct range_key key = { .prefix_length = 128 };
	enum masquerade *choice;

	copy_address(key.address, destination);
	choice = bpf_map_lookup_elem(&no_masquerade, &key);
	return choice && *choice == MASQUERADE_ALWAYS;
}
