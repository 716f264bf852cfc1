/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function recognizes addresses that a rule cannot mean by the name of a host. */
#pragma once

#include "lib/link_local.h"
#include "lib/packet.h"
#include "pod/local.h"
#include "pod/remote_node.h"

/*
 * Returns 1 if a name of the outside cannot have an address: one of this cluster's pods, nodes and
 * services, or of this host or link. Otherwise the owner of a name that a rule allows could open
 * these by an answer of theirs.
 */
INLINE int is_inside(const struct address_key *address)
{
	const __u8 *bytes = address->address;

	if (is_mapped(bytes) ? bytes[12] == 0 || bytes[12] == 127 || bytes[12] >= 224 ||
				       (bytes[12] == 169 && bytes[13] == 254) :
			       !bytes[0] || bytes[0] == 0xff || is_link_local(bytes))
		return 1;
	return find_local_pod(bytes) || find_remote_node(bytes) ||
	       bpf_map_lookup_elem(&addresses, address);
}
