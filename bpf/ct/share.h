/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions track which entries may be evicted, and the share of each service and of each
 * client's address in them. An entry may be evicted until both sides have confirmed the connection,
 * and again when the connection is closed.
 */
#pragma once

#include "entry.h"

/*
 * Returns a keyed hash of an address and a port (NH, RFC 4418), so that an attacker cannot exhaust
 * another's share. The upper bits are the best ones.
 */
INLINE __u64 endpoint_share_hash(const __u32 *words, __u32 port)
{
	struct ct_table *table = get_ct_table();
	__u64 sum;

	if (!table)
		return 0;
	sum = (__u64)(__u32)(words[0] + table->secret[0]) * (__u32)(words[1] + table->secret[1]) +
	      (__u64)(__u32)(words[2] + table->secret[2]) * (__u32)(words[3] + table->secret[3]) +
	      (__u64)(__u32)(port + table->secret[4]) * (table->secret[5] | 1);
	return (sum ^ sum >> 32) * 0x9e3779b97f4a7c15ULL;
}

INLINE __u32 share_hash(const __u32 *words, __u32 port)
{
	return endpoint_share_hash(words, port) >> 52;
}

/*
 * Returns the hash of the client's address. Of an external IPv6 client it is that of its network of
 * 64 bits, but pods of this node share theirs.
 */
INLINE __u32 client_share_hash(const struct ct_entry *entry)
{
	const __u32 *client = (const __u32 *)entry->client;
	__u32 is_whole = is_mapped(client) || !entry->backend_id;
	__u32 words[4] = { client[0], client[1], is_whole ? client[2] : 0,
			   is_whole ? client[3] : 0 };

	return share_hash(words, 0);
}

/* Returns the counter of a client's unconfirmed entries. */
INLINE __u32 *client_share(__u64 word)
{
	__u32 key = word & EVICTABLE_SOURCE_MASK;

	return bpf_map_lookup_elem(&nat_shares, &key);
}

/* Returns the counter of a service's unconfirmed entries. */
INLINE __u32 *service_share(__u64 word)
{
	__u32 key = NAT_SHARES + (word >> EVICTABLE_SERVICE_SHIFT & (NAT_SHARES - 1));

	return bpf_map_lookup_elem(&nat_shares, &key);
}

INLINE void count_shares(struct ct_table *table, __u64 word, __s32 change)
{
	__u32 *source = client_share(word), *service = service_share(word);

	if (source)
		__sync_fetch_and_add(source, change);
	if (service)
		__sync_fetch_and_add(service, change);
	__sync_fetch_and_add(&table->unconfirmed, change);
	if (word & EVICTABLE_UDP)
		__sync_fetch_and_add(&table->unconfirmed_udp, change);
}

/* Returns the entry's word in nat_evictable. */
INLINE __u64 *evictable_word(__u32 index)
{
	__u32 group = index / ENTRIES_PER_GROUP;
	struct evictable_group *words = bpf_map_lookup_elem(&nat_evictable, &group);

	return words ? &words->entries[index % ENTRIES_PER_GROUP] : 0;
}

/* Allows the eviction of an unconfirmed entry. */
GLOBAL int ct_allow_eviction(__u32 index)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);
	__u64 *word = evictable_word(index), value;

	if (!table || !entry || !word)
		return 0;
	value = (__u64)__sync_fetch_and_add(&table->created, 1) << EVICTABLE_CREATED_SHIFT |
		EVICTABLE |
		share_hash((const __u32 *)entry->frontend, entry->frontend_port)
			<< EVICTABLE_SERVICE_SHIFT |
		client_share_hash(entry);
	if (ct_protocol(entry, entry->state_word) == IPPROTO_UDP)
		value |= EVICTABLE_UDP;
	count_shares(table, value, 1);
	*word = value;
	return 0;
}

/* Forbids the eviction of an entry. */
GLOBAL int ct_forbid_eviction(__u32 index)
{
	struct ct_table *table = get_ct_table();
	__u64 *word = evictable_word(index), value;

	if (!table || !word)
		return 0;
	value = *word;
	if (value && __sync_val_compare_and_swap(word, value, 0) == value &&
	    !(value & EVICTABLE_CLOSED))
		count_shares(table, value, -1);
	return 0;
}

/* Allows the eviction of an entry whose connection is closed. */
INLINE void ct_allow_eviction_closed(struct ct_table *table, __u32 index)
{
	__u64 *word = evictable_word(index);

	if (word)
		*word = (__u64)table->created << EVICTABLE_CREATED_SHIFT | EVICTABLE |
			EVICTABLE_CLOSED;
}
