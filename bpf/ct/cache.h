/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow cache has the conntrack entry and the next hop of recent packets, per CPU. */
#pragma once

#include "lib/route.h"
#include "lookup.h"
#include "tunnel/path.h"

/*
 * An entry of the cache is valid until the clock advances, in units of 2^28 ns. So a change of
 * routes or neighbours takes effect within a quarter of a second.
 */
#define FLOW_CACHE_EPOCH_SHIFT 28

INLINE __u32 flow_cache_epoch(void)
{
	return bpf_ktime_get_coarse_ns() >> FLOW_CACHE_EPOCH_SHIFT;
}

/*
 * Returns the hash of a packet's tuple; with the ports, because the kernel may choose among several
 * routes by them.
 */
INLINE __u32 flow_cache_hash(const struct tuple *tuple)
{
	const __u32 *source = (const __u32 *)tuple->source,
		    *destination = (const __u32 *)tuple->destination;
	__u64 ports = (__u64)tuple->source_port << 16 | tuple->destination_port |
		      (__u64)tuple->protocol << 32;
	__u64 left = (__u64)(source[0] ^ destination[2]) << 32 | (source[3] ^ destination[1]);
	__u64 right = (__u64)(source[1] ^ destination[3]) << 32 | (source[2] ^ destination[0]);
	/* The processor does the two multiplications in parallel. */
	__u64 mixed = (left ^ config.cache_key[0]) * 0x9e3779b97f4a7c15ULL ^
		      ((right + ports) ^ config.cache_key[1]) * 0xc2b2ae3d27d4eb4fULL;

	return (mixed ^ mixed >> 32) * 0x9e3779b1;
}

/* Returns the cache entry for a hash. */
INLINE struct flow_cache_entry *flow_cache_slot(__u32 hash)
{
	__u32 number = hash >> 16 & (FLOW_CACHE_BLOCKS - 1);
	struct flow_cache_block *block = bpf_map_lookup_elem(&known_flows, &number);

	return block ? &block->entries[hash >> 20 & (FLOW_CACHE_BLOCK_ENTRIES - 1)] : 0;
}

/*
 * Returns the tag that distinguishes packets with the same cache entry. It includes the inputs of
 * the route lookup: the interface, and whether netfilter tracks connections; but not the DSCP and
 * the flow label, which seldom change within a flow.
 */
INLINE __u32 flow_cache_tag(context *ctx, __u32 hash)
{
	struct ct_table *table = get_ct_table();

	return hash ^ (ifindex_of(ctx) << 1 | (table && table->nf_tracked));
}

/*
 * Stores a packet's conntrack entry and route. It stores BPF_FIB_LKUP_RET_SUCCESS only: an
 * unresolved neighbour may be resolved at any moment, and the MTU of packets for the stack is
 * unknown.
 */
GLOBAL int flow_cache_insert(context *ctx, const struct packet *packet, __u32 reference,
			     const struct route *route)
{
	struct flow_cache_entry *cached;
	__u32 hash;

	if (!packet || packet->fragment || !route || route->result != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	hash = flow_cache_hash(&packet->tuple);
	cached = flow_cache_slot(hash);
	if (!cached)
		return 0;
	cached->tag = flow_cache_tag(ctx, hash);
	cached->reference = reference;
	cached->ifindex = route->ifindex;
	cached->mtu = route->mtu;
	__builtin_memcpy(cached->dmac, route->dmac, ETH_ALEN);
	__builtin_memcpy(cached->smac, route->smac, ETH_ALEN);
	cached->epoch = flow_cache_epoch();
	return 0;
}

/*
 * The reference of a packet that belongs to no connection and keeps its addresses: no conntrack
 * entry has the index 0.
 */
#define PLAIN_ROUTE 1

/*
 * Returns the cache entry for a packet whose tuple hashes to its tag, if it is valid now; else 0.
 */
INLINE struct flow_cache_entry *flow_cache_find(context *ctx, const struct packet *packet)
{
	__u32 hash = flow_cache_hash(&packet->tuple);
	struct flow_cache_entry *cached = flow_cache_slot(hash);

	return cached && cached->tag == flow_cache_tag(ctx, hash) &&
			       cached->epoch == flow_cache_epoch() ?
		       cached :
		       0;
}

/*
 * Finds the conntrack entry and the route of a packet like a recent one. Returns the reference to
 * the entry, as in a slot of nat_index; 0: nothing is cached, or the packet needs the complete
 * lookups. The conntrack entry may have been reused, so it counts only if it has the packet's
 * tuple.
 */
GLOBAL __u32 flow_cache_lookup(context *ctx, const struct packet *packet, struct route *route)
{
	struct flow_cache_entry *cached;
	struct ct_entry *entry;
	__u32 state_word, overhead;

	if (!packet || !route || packet->fragment || starts_connection(packet))
		return 0;
	cached = flow_cache_find(ctx, packet);
	if (!cached)
		return 0;
	entry = ct_entry_at(cached->reference / 2);
	if (!entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_has_tuple(cached->reference, &packet->tuple))
		return 0;
	if (!(cached->reference & 1) && (!ct_has_backend(entry, state_word) ||
					 (packet->backend && entry->backend_id != packet->backend)))
		return 0;
	overhead = !(cached->reference & 1) && state_word & CT_TUNNELLED ? tunnel_overhead(packet) :
									   0;
	if (segment_length(ctx, packet) + overhead > cached->mtu)
		return 0;
	route->ifindex = cached->ifindex;
	__builtin_memcpy(route->dmac, cached->dmac, ETH_ALEN);
	__builtin_memcpy(route->smac, cached->smac, ETH_ALEN);
	route->result = BPF_FIB_LKUP_RET_SUCCESS;
	route->overhead = overhead;
	return cached->reference;
}
