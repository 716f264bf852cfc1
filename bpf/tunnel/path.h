/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions find the direction in which an address is reached, and the overhead of a tunnel.
 */
#pragma once

#include "lib/route.h"

#define IPPROTO_IPIP 4
#define IPPROTO_IPV6 41

/* Returns the bytes that a tunnel adds to a packet. */
INLINE __u32 tunnel_overhead(const struct packet *packet)
{
	return packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* A path is the direction of an address, seen from an interface. */
enum path {
	PATH_LOCAL,    /* an address of this node, or a broadcast address */
	PATH_POD,      /* through an interface that is not external, such as a pod's */
	PATH_PEER,     /* to another node or by it; also if there is no route */
	PATH_EXTERNAL, /* through an external interface */
};

/*
 * Returns the path to an address of the packet's family; PATH_EXTERNAL for other nodes, too. The
 * caller has set the interface in `fib`, and nothing else.
 */
INLINE enum path path_lookup(context *ctx, const struct packet *packet, const void *address,
			     struct bpf_fib_lookup *fib)
{
	const __u32 *words = address;
	long result;

	if (packet->ipv4) {
		fib->family = AF_INET;
		fib->ipv4_dst = words[3];
	} else {
		fib->family = AF_INET6;
		copy_address(fib->ipv6_dst, words);
	}
	result = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if (result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return PATH_LOCAL;
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    result != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return PATH_PEER;
	return is_external_interface(fib->ifindex) ? PATH_EXTERNAL : PATH_POD;
}

/* Returns the path to an address of the packet's family. */
GLOBAL enum path path_to(context *ctx, const struct packet *packet,
			 const struct address_key *address)
{
	struct bpf_fib_lookup fib = { .ifindex = ifindex_of(ctx) };
	struct address_key next;
	enum path path;
	__u32 *role;

	if (!packet || !address)
		return PATH_PEER;
	path = path_lookup(ctx, packet, address, &fib);
	if (path != PATH_EXTERNAL)
		return path;
	if (packet->ipv4)
		map_ipv4(&next, fib.ipv4_dst);
	else
		copy_address(&next, fib.ipv6_dst);
	role = bpf_map_lookup_elem(&addresses, &next);
	return role && *role & ADDRESS_PEER ? PATH_PEER : PATH_EXTERNAL;
}
