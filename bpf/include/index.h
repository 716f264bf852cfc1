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
INLINE int key_of(struct flow_key *key, const struct nat_flow *flow, __u32 life, __u32 is_reply)
{
	__u32 protocol = protocol_of(state_of(life));

	if (is_reply)
		return reply_key(key, flow, life, protocol);
	client_key(key, flow, protocol);
	return 1;
}

/*
 * Who does not know the secret can't have many keys meet in one bucket: a sum of products is universal by it
 * (NH of UMAC, RFC 4418). The last multiplication spreads it over the upper half, which the bucket is of.
 */
INLINE __u64 hash_of(const struct flow_key *key)
{
	struct nat_table *table = the_table();
	const __u32 *words = (const __u32 *)key;
	__u64 sum = 0;

	if (!table)
		return 0;
	for (int i = 0; i < FLOW_KEY_WORDS; i += 2)
		sum += (__u64)(__u32)(words[i] + table->secret[i]) * (__u32)(words[i + 1] + table->secret[i + 1]);
	return (sum ^ sum >> 32) * 0x9e3779b97f4a7c15ULL;
}

INLINE __u32 bucket_number(__u64 hash)
{
	__u32 buckets = (config.flows + 3) / 4;

	return (hash >> 32) * buckets >> 32;
}

INLINE struct flow_bucket *bucket_of(__u64 hash)
{
	__u32 bucket = bucket_number(hash);

	return bpf_map_lookup_elem(&nat_index, &bucket);
}

/* Never 0, so that a slot that is free has no key's. */
INLINE __u16 tag_of(__u64 hash)
{
	return (hash >> 16 & 0xffff) | 1;
}

/* Whether the flow of a slot, or of a part that names it, has the key in that direction. */
INLINE int has_key(__u32 reference, const struct flow_key *key)
{
	struct nat_flow *flow = flow_at(reference / 2);
	__u32 life, index;
	struct nat_source *source;

	if (!flow)
		return 0;
	life = flow->life;
	if (!is_alive(life) || protocol_of(state_of(life)) != key->protocol)
		return 0;
	if (!(reference & 1))
		return flow->client_port == key->source_port && flow->frontend_port == key->destination_port &&
		       same_address(flow->client, key->source) && same_address(flow->frontend, key->destination);
	if (flow->backend_port != key->source_port || flow->source_port != key->destination_port ||
	    !same_address(flow->backend, key->source))
		return 0;
	index = source_of(life);
	source = bpf_map_lookup_elem(&nat_sources, &index);
	return source && same_address(index ? source->address : flow->client, key->destination);
}

/* The same, as a function of its own where it is rarely asked. */
GLOBAL int still_has_key(__u32 reference, const struct flow_key *key)
{
	return key && has_key(reference, key);
}

/* The slot of a bucket with the key of a flow other than `own`; 0: there is none. */
INLINE __u64 search_bucket(const struct flow_bucket *bucket, const struct flow_key *key, __u16 tag, __u64 own)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u16)(slot >> SLOT_TAG_SHIFT) == tag && slot != own && has_key(slot, key))
			return slot;
	}
	return 0;
}

/* The slot of the flow that has a key; 0: there is none. */
GLOBAL __u64 find_slot(const struct flow_key *key)
{
	struct flow_bucket *bucket;
	__u64 hash;

	if (!key)
		return 0;
	hash = hash_of(key);
	bucket = bucket_of(hash);
	return bucket ? search_bucket(bucket, key, tag_of(hash), 0) : 0;
}

/* Takes a flow's slot out of its bucket. */
INLINE void leave(struct flow_bucket *bucket, __u32 reference)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 slot = bucket->slots[i];

		if ((__u32)slot == reference)
			__sync_val_compare_and_swap(&bucket->slots[i], slot, 0);
	}
}

#define KEY_NO_ROOM 1 /* no slot names a flow so, as there is no flow 0 */

/*
 * Enters the key of one direction of a flow. Returns 0, KEY_NO_ROOM, or what names the other flow that has the key.
 * Of two CPUs that enter it at once at least one sees the other's, and who does gives way.
 */
GLOBAL int enter_key(__u32 reference, __u32 generation)
{
	struct nat_flow *flow = flow_at(reference / 2);
	struct flow_bucket *bucket;
	struct flow_key parts, *key = &parts;
	__u64 hash, own;

	/* Taken apart into variables it would need twice its room. */
	barrier_var(key);
	if (!flow || !key_of(key, flow, flow->life, reference & 1))
		return KEY_NO_ROOM;
	hash = hash_of(key);
	own = reference | (__u64)tag_of(hash) << SLOT_TAG_SHIFT | (__u64)generation << SLOT_GENERATION_SHIFT;
	bucket = bucket_of(hash);
	if (!bucket)
		return KEY_NO_ROOM;
	for (int is_entered = 0;; is_entered = 1) {
		__u32 i, other = search_bucket(bucket, key, tag_of(hash), own);

		if (is_entered && other)
			leave(bucket, reference);
		if (is_entered || other)
			return other;
#pragma clang loop unroll(disable)
		for (i = 0; i < FLOW_SLOTS; i++)
			if (bucket->slots[i] == own || (!bucket->slots[i] && !__sync_val_compare_and_swap(&bucket->slots[i], 0, own)))
				break;
		if (i == FLOW_SLOTS)
			return KEY_NO_ROOM;
	}
}

/* Takes the key of one direction of a flow away, which had that life. */
GLOBAL int forget_key(__u32 reference, __u32 life)
{
	struct nat_flow *flow = flow_at(reference / 2);
	struct flow_bucket *bucket;
	struct flow_key key;

	if (!flow || !key_of(&key, flow, life, reference & 1))
		return 0;
	bucket = bucket_of(hash_of(&key));
	if (bucket)
		leave(bucket, reference);
	return 0;
}
