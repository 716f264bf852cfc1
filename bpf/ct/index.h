/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The index finds the entry that has a tuple. It is not a BPF hash map, because that stores each
 * key once more, in memory that is cold for a new connection, and locks its buckets. Here a bucket
 * has two cache lines, and a slot names the entry to compare with. There are twice as many slots as
 * tuples. A tuple whose bucket is full cannot be inserted: that happens to one in 300 of the last
 * connections that the table has room for, and to one in a million as long as it is half empty.
 */
#pragma once

#include "entry.h"

/* Computes the tuple of one direction of an entry. Returns 0 if there is none. */
INLINE int ct_tuple_of(struct tuple *tuple, const struct ct_entry *entry, __u32 state_word,
		       __u32 is_reply)
{
	__u32 protocol = ct_protocol(entry, state_word);

	if (is_reply)
		return ct_reply_tuple(tuple, entry, state_word, protocol);
	ct_original_tuple(tuple, entry, protocol);
	return 1;
}

/*
 * Returns the hash of a tuple. The per-node secret makes it a universal hash (NH of UMAC, RFC
 * 4418), so that an attacker cannot craft tuples that collide. The last multiplication spreads the
 * sum over the upper half, which selects the bucket.
 */
INLINE __u64 ct_index_hash(const struct tuple *tuple)
{
	struct ct_table *table = get_ct_table();
	const __u32 *words = (const __u32 *)tuple;
	__u64 sum = 0;

	if (!table)
		return 0;
	for (int i = 0; i < TUPLE_WORDS; i += 2)
		sum += (__u64)(__u32)(words[i] + table->secret[i]) *
		       (__u32)(words[i + 1] + table->secret[i + 1]);
	return (sum ^ sum >> 32) * 0x9e3779b97f4a7c15ULL;
}

INLINE __u32 ct_bucket_number(__u64 hash)
{
	__u32 buckets = (config.flows + 3) / 4;

	return (hash >> 32) * buckets >> 32;
}

INLINE struct ct_bucket *ct_bucket_of(__u64 hash)
{
	__u32 bucket = ct_bucket_number(hash);

	return bpf_map_lookup_elem(&nat_index, &bucket);
}

/*
 * Returns the part of the hash that a slot has. It is never 0, so that it differs from a free
 * slot's.
 */
INLINE __u16 ct_slot_tag(__u64 hash)
{
	return (hash >> 16 & 0xffff) | 1;
}

/*
 * Returns 1 if the entry that a slot refers to has the tuple, in the direction that the slot is
 * for.
 */
INLINE int ct_has_tuple(__u32 reference, const struct tuple *tuple)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	__u32 state_word, index;
	struct snat_address *source;

	if (!entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_live(state_word) || ct_protocol(entry, state_word) != tuple->protocol)
		return 0;
	if (!(reference & 1))
		return entry->client_port == tuple->source_port &&
		       entry->frontend_port == tuple->destination_port &&
		       same_address(entry->client, tuple->source) &&
		       same_address(entry->frontend, tuple->destination);
	if (entry->backend_port != tuple->source_port ||
	    entry->source_port != tuple->destination_port ||
	    !same_address(entry->backend, tuple->source))
		return 0;
	index = ct_snat_index(state_word);
	source = bpf_map_lookup_elem(&nat_sources, &index);
	return source && same_address(index ? source->address : entry->client, tuple->destination);
}

/* Returns the same as ct_has_tuple(). Rare cases share this function. */
GLOBAL int ct_still_has_tuple(__u32 reference, const struct tuple *tuple)
{
	return tuple && ct_has_tuple(reference, tuple);
}

/* Returns the slot of a bucket that has the tuple, other than `own`; 0: there is none. */
INLINE __u64 bucket_search(const struct ct_bucket *bucket, const struct tuple *tuple, __u16 tag,
			   __u64 own)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CT_BUCKET_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u16)(slot >> CT_SLOT_TAG_SHIFT) == tag && slot != own &&
		    ct_has_tuple(slot, tuple))
			return slot;
	}
	return 0;
}

/* Returns the slot of the entry that has the tuple; 0: there is none. */
GLOBAL __u64 ct_find_slot(const struct tuple *tuple)
{
	struct ct_bucket *bucket;
	__u64 hash;

	if (!tuple)
		return 0;
	hash = ct_index_hash(tuple);
	bucket = ct_bucket_of(hash);
	return bucket ? bucket_search(bucket, tuple, ct_slot_tag(hash), 0) : 0;
}

/* Clears an entry's slot of the bucket. */
INLINE void bucket_remove(struct ct_bucket *bucket, __u32 reference)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CT_BUCKET_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u32)slot == reference)
			__sync_val_compare_and_swap(&bucket->slots[i], slot, 0);
	}
}

#define CT_BUCKET_FULL 1 /* This refers to entry 0, which does not exist. */

/*
 * Inserts the tuple of one direction of an entry. Returns 0 on success, CT_BUCKET_FULL, or a
 * reference to another entry that has the tuple. If two CPUs insert the same tuple at the same
 * time, at least one of them sees the other's slot; it removes its own.
 */
GLOBAL int ct_insert_tuple(__u32 reference, __u32 generation)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	struct ct_bucket *bucket;
	struct tuple parts, *tuple = &parts;
	__u64 hash, own;

	/*
	 * Keep the struct in memory: split into scalars it needs twice the stack, of which BPF has
	 * 512 bytes.
	 */
	barrier_var(tuple);
	if (!entry || !ct_tuple_of(tuple, entry, entry->state_word, reference & 1))
		return CT_BUCKET_FULL;
	hash = ct_index_hash(tuple);
	own = reference | (__u64)ct_slot_tag(hash) << CT_SLOT_TAG_SHIFT |
	      (__u64)generation << CT_SLOT_GENERATION_SHIFT;
	bucket = ct_bucket_of(hash);
	if (!bucket)
		return CT_BUCKET_FULL;
	for (int is_entered = 0;; is_entered = 1) {
		__u32 i, other = bucket_search(bucket, tuple, ct_slot_tag(hash), own);

		if (is_entered && other)
			bucket_remove(bucket, reference);
		if (is_entered || other)
			return other;
#pragma clang loop unroll(disable)
		for (i = 0; i < CT_BUCKET_SLOTS; i++)
			if (bucket->slots[i] == own ||
			    (!bucket->slots[i] &&
			     !__sync_val_compare_and_swap(&bucket->slots[i], 0, own)))
				break;
		if (i == CT_BUCKET_SLOTS)
			return CT_BUCKET_FULL;
	}
}

/* Removes the tuple of one direction of an entry, which had that state word. */
GLOBAL int ct_remove_tuple(__u32 reference, __u32 state_word)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	struct ct_bucket *bucket;
	struct tuple tuple;

	if (!entry || !ct_tuple_of(&tuple, entry, state_word, reference & 1))
		return 0;
	bucket = ct_bucket_of(ct_index_hash(&tuple));
	if (bucket)
		bucket_remove(bucket, reference);
	return 0;
}
