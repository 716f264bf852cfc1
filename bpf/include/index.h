/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which flow has a key. An index of our own: the kernel's hash holds each key once more, in memory that a new
 * flow finds cold, and locks its buckets. Here a bucket is two lines of the processor's cache, and a slot of it
 * says which flow to look at. There are twice as many slots as keys, and no other place for a key whose bucket is
 * full: of the last flows that a table has room for, one in 300 finds it so; of those up to the half, one in a million.
 */
#pragma once

#include "flow.h"

/* The key of one direction of a flow. Returns 0 if it has none. */
INLINE int ct_tuple_of(struct tuple *key, const struct ct_entry *entry, __u32 state_word, __u32 is_reply)
{
	__u32 protocol = ct_protocol(ct_state_of(state_word));

	if (is_reply)
		return ct_reply_tuple(key, entry, state_word, protocol);
	ct_original_tuple(key, entry, protocol);
	return 1;
}

/*
 * Who does not know the secret can't have many keys meet in one bucket: a sum of products is universal by it
 * (NH of UMAC, RFC 4418). The last multiplication spreads it over the upper half, which the bucket is of.
 */
INLINE __u64 ct_index_hash(const struct tuple *key)
{
	struct ct_table *table = get_ct_table();
	const __u32 *words = (const __u32 *)key;
	__u64 sum = 0;

	if (!table)
		return 0;
	for (int i = 0; i < TUPLE_WORDS; i += 2)
		sum += (__u64)(__u32)(words[i] + table->secret[i]) * (__u32)(words[i + 1] + table->secret[i + 1]);
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

/* Never 0, so that a slot that is free has no key's. */
INLINE __u16 ct_slot_tag(__u64 hash)
{
	return (hash >> 16 & 0xffff) | 1;
}

/* Whether the flow of a slot, or of a part that names it, has the key in that direction. */
INLINE int ct_has_tuple(__u32 reference, const struct tuple *key)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	__u32 state_word, index;
	struct snat_address *source;

	if (!entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_live(state_word) || ct_protocol(ct_state_of(state_word)) != key->protocol)
		return 0;
	if (!(reference & 1))
		return entry->client_port == key->source_port && entry->frontend_port == key->destination_port &&
		       same_address(entry->client, key->source) && same_address(entry->frontend, key->destination);
	if (entry->backend_port != key->source_port || entry->source_port != key->destination_port ||
	    !same_address(entry->backend, key->source))
		return 0;
	index = ct_snat_index(state_word);
	source = bpf_map_lookup_elem(&nat_sources, &index);
	return source && same_address(index ? source->address : entry->client, key->destination);
}

/* The same, as a function of its own where it is rarely asked. */
GLOBAL int ct_still_has_tuple(__u32 reference, const struct tuple *key)
{
	return key && ct_has_tuple(reference, key);
}

/* The slot of a bucket with the key of a flow other than `own`; 0: there is none. */
INLINE __u64 bucket_search(const struct ct_bucket *bucket, const struct tuple *key, __u16 tag, __u64 own)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CT_BUCKET_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u16)(slot >> CT_SLOT_TAG_SHIFT) == tag && slot != own && ct_has_tuple(slot, key))
			return slot;
	}
	return 0;
}

/* The slot of the flow that has a key; 0: there is none. */
GLOBAL __u64 ct_find_slot(const struct tuple *key)
{
	struct ct_bucket *bucket;
	__u64 hash;

	if (!key)
		return 0;
	hash = ct_index_hash(key);
	bucket = ct_bucket_of(hash);
	return bucket ? bucket_search(bucket, key, ct_slot_tag(hash), 0) : 0;
}

/* Takes a flow's slot out of its bucket. */
INLINE void bucket_remove(struct ct_bucket *bucket, __u32 reference)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CT_BUCKET_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u32)slot == reference)
			__sync_val_compare_and_swap(&bucket->slots[i], slot, 0);
	}
}

#define CT_BUCKET_FULL 1 /* no slot names a flow so, as there is no flow 0 */

/*
 * Enters the key of one direction of a flow. Returns 0, CT_BUCKET_FULL, or what names the other flow that has the key.
 * Of two CPUs that enter it at once at least one sees the other's, and who does gives way.
 */
GLOBAL int ct_insert_tuple(__u32 reference, __u32 generation)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	struct ct_bucket *bucket;
	struct tuple parts, *key = &parts;
	__u64 hash, own;

	/* Taken apart into variables it would need twice its room. */
	barrier_var(key);
	if (!entry || !ct_tuple_of(key, entry, entry->state_word, reference & 1))
		return CT_BUCKET_FULL;
	hash = ct_index_hash(key);
	own = reference | (__u64)ct_slot_tag(hash) << CT_SLOT_TAG_SHIFT | (__u64)generation << CT_SLOT_GENERATION_SHIFT;
	bucket = ct_bucket_of(hash);
	if (!bucket)
		return CT_BUCKET_FULL;
	for (int is_entered = 0;; is_entered = 1) {
		__u32 i, other = bucket_search(bucket, key, ct_slot_tag(hash), own);

		if (is_entered && other)
			bucket_remove(bucket, reference);
		if (is_entered || other)
			return other;
#pragma clang loop unroll(disable)
		for (i = 0; i < CT_BUCKET_SLOTS; i++)
			if (bucket->slots[i] == own || (!bucket->slots[i] && !__sync_val_compare_and_swap(&bucket->slots[i], 0, own)))
				break;
		if (i == CT_BUCKET_SLOTS)
			return CT_BUCKET_FULL;
	}
}

/* Takes the key of one direction of a flow away, which had that life. */
GLOBAL int ct_remove_tuple(__u32 reference, __u32 state_word)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	struct ct_bucket *bucket;
	struct tuple key;

	if (!entry || !ct_tuple_of(&key, entry, state_word, reference & 1))
		return 0;
	bucket = ct_bucket_of(ct_index_hash(&key));
	if (bucket)
		bucket_remove(bucket, reference);
	return 0;
}
