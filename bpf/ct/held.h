/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An entry is held while it may not be evicted: its connection is confirmed by both sides and open.
 * A pod must not starve other clients, so its connections to the world, and those that network
 * policies decide about, are held only while it holds no more entries than are left to others, and
 * no more SNAT ports towards the destination. It may have more connections, which stay unconfirmed,
 * until another client needs the room.
 */
#pragma once

#include "share.h"

/* Returns 1 if the entry may not be evicted. */
INLINE int ct_is_held(__u32 state_word)
{
	return ct_is_live(state_word) && !(state_word & CT_UNCONFIRMED) &&
	       !ct_is_closed(state_word);
}

/* The keys that the entry of a connection without a service counts for in nat_held. */
struct held_keys {
	__u64 client;
	__u64 destination; /* with the protocol and the SNAT address, so these share ports */
	__u64 both;
};

INLINE void held_keys_of(struct held_keys *keys, const struct ct_entry *entry, __u32 state_word)
{
	__u32 way = ct_snat_index(state_word) << 24 | ct_protocol(entry, state_word) << 16;

	keys->client = endpoint_share_hash((const __u32 *)entry->client, 0);
	keys->destination =
		endpoint_share_hash((const __u32 *)entry->backend, way | entry->backend_port);
	keys->both = (keys->client ^ keys->destination >> 1) * 0xc2b2ae3d27d4eb4fULL;
}

/* Returns the counter of a key in a row of nat_held. */
INLINE __u32 *held_counter(__u64 key, __u32 row)
{
	__u32 place = row * HELD_COUNTERS + ((__u32)(key >> (row ? 35 : 48)) & (HELD_COUNTERS - 1));

	return bpf_map_lookup_elem(&nat_held, &place);
}

INLINE void add_held(__u64 key, __s32 change)
{
	__u32 *one = held_counter(key, 0), *other = held_counter(key, 1);

	if (one)
		__sync_fetch_and_add(one, change);
	if (other)
		__sync_fetch_and_add(other, change);
}

INLINE __s32 held_by(__u64 key)
{
	__u32 *one = held_counter(key, 0), *other = held_counter(key, 1);

	if (!one || !other)
		return 0;
	return (__s32)(*one < *other ? *one : *other);
}

/* Counts an entry, with that state word, as held or no longer held. */
GLOBAL int ct_count_held(__u32 index, __u32 state_word, __s32 change)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);
	struct held_keys keys;

	if (!table || !entry)
		return 0;
	__sync_fetch_and_add(&table->held, change);
	if (entry->backend_id)
		return 0;
	held_keys_of(&keys, entry, state_word);
	add_held(keys.client, change);
	add_held(keys.destination, change);
	add_held(keys.both, change);
	return 0;
}

/* Returns 1 if the client of a connection without a service may hold its entry. */
GLOBAL int ct_may_hold(__u32 index)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);
	struct held_keys keys;

	if (!table || !entry)
		return 0;
	held_keys_of(&keys, entry, entry->state_word);
	if (held_by(keys.client) >= (__s32)(config.flows - 1 - table->held))
		return 0;
	return ct_is_direct(entry, entry->state_word) ||
	       held_by(keys.both) < (__s32)config.port_count - held_by(keys.destination);
}
