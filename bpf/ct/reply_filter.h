/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This Bloom filter has the backends on this node, whose replies leave through node_egress. */
#pragma once

#include "maps.h"

INLINE __u32 endpoint_hash(const void *address, __be16 port)
{
	const __u32 *words = address;
	__u64 mixed =
		((__u64)(words[0] ^ words[2]) << 32 | (words[1] ^ words[3])) + ((__u64)port << 32);

	return mixed * 0x9e3779b97f4a7c15ULL >> 32;
}

/* Returns the bit of an address and port in reply_sources. */
INLINE __u32 reply_filter_bit(const void *address, __be16 port)
{
	return endpoint_hash(address, port) >> 16;
}

/* Adds a backend whose replies will leave the node. */
INLINE void reply_filter_add(const void *address, __be16 port)
{
	__u32 bit = reply_filter_bit(address, port), word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(&reply_sources, &word);

	if (bits && !(*bits >> bit % 64 & 1))
		__sync_fetch_and_or(bits, 1ULL << bit % 64);
}
