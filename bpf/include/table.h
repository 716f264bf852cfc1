/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The places of the flow table: taking one, giving it back, and evicting a flow for a new one. */
#pragma once

#include "index.h"
#include "share.h"

/* The number of attempts of an allocation that another CPU interferes with. */
#define ALLOCATION_ATTEMPTS 8

INLINE void count_flow(const struct nat_flow *flow, __u32 life, __s32 change)
{
	__u32 id = flow->backend_id;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats && has_backend(flow, life))
		__sync_fetch_and_add(&stats->active, change);
}

INLINE void count_event(enum flow_event event)
{
	__u32 key = event;
	__u64 *count = bpf_map_lookup_elem(&flow_events, &key);

	if (count)
		(*count)++;
}

/* True when both sides have confirmed a UDP flow. The number of such flows is limited. */
INLINE int is_confirmed_udp(__u32 life)
{
	return state_of(life) == FLOW_UDP && !(life & LIFE_UNCONFIRMED);
}

/* Does what follows from a flow's change of state, which its `life` has just gone through. */
GLOBAL int on_change(__u32 index, __u32 before, __u32 after)
{
	struct nat_table *table = the_table();
	struct nat_flow *flow = flow_at(index);

	if (!table || !flow)
		return 0;
	if (before & LIFE_COUNTED && !(after & LIFE_COUNTED))
		count_flow(flow, before, -1);
	if (is_confirmed_udp(before) != is_confirmed_udp(after))
		__sync_fetch_and_add(&table->confirmed_udp, is_confirmed_udp(after) ? 1 : -1);
	if (before & LIFE_UNCONFIRMED ? !(after & LIFE_UNCONFIRMED) : is_over(before) && !is_over(after))
		forbid_eviction(index);
	if (!(after & LIFE_UNCONFIRMED) && is_over(after) && !is_over(before))
		allow_eviction_of_past(table, index);
	return 0;
}

/* Ends a flow, if it still is as `life` says; its place becomes what `after` says. */
INLINE int remove_flow(__u32 index, struct nat_flow *flow, __u32 life, __u32 after)
{
	if (__sync_val_compare_and_swap(&flow->life, life, after) != life)
		return 0;
	on_change(index, life, after);
	forget_key(index * 2, life);
	if (!(life & LIFE_TUNNELLED))
		forget_key(index * 2 + 1, life);
	return 1;
}

/* Ends a flow, if it still is as `life` says. Its place is free again after the next but one sweep. */
GLOBAL int end_flow(__u32 index, __u32 life)
{
	struct nat_flow *flow = flow_at(index);

	return flow && remove_flow(index, flow, life, FLOW_DYING << LIFE_STATE_SHIFT);
}

/* Takes a free place; 0: there is none. */
GLOBAL __u32 take_flow(void)
{
	struct nat_table *table = the_table();

	if (!table)
		return 0;
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;
		struct nat_flow *flow;

		if (!(__u32)head)
			break;
		flow = flow_at((__u32)head);
		if (!flow)
			break;
		/* If the flow is taken meanwhile, `backend_id` is no link; but then the count has changed. */
		if (__sync_val_compare_and_swap(&table->free, head, ((head >> 32) + 1) << 32 | flow->backend_id) == head) {
			__sync_fetch_and_add(&table->used, 1);
			return (__u32)head;
		}
	}
	if (table->used_once + 1 < config.flows) {
		__u32 flow = __sync_fetch_and_add(&table->used_once, 1) + 1;

		if (flow < config.flows) {
			__sync_fetch_and_add(&table->used, 1);
			return flow;
		}
		__sync_fetch_and_add(&table->used_once, -1);
	}
	return 0;
}

/* Makes a place free. Returns 0 when others interfered too often; then the next sweep does it. */
INLINE int give_flow(struct nat_table *table, __u32 index, struct nat_flow *flow)
{
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;

		flow->backend_id = (__u32)head;
		if (__sync_val_compare_and_swap(&table->free, head, ((head >> 32) + 1) << 32 | index) == head) {
			__sync_fetch_and_add(&table->used, -1);
			return 1;
		}
	}
	return 0;
}

/*
 * Ends a flow, if it still is as `life` says, and makes its place free at once: a flood needs places faster than
 * sweeps free them. A program on another CPU may be about to use the flow: it asks once more whether the flow has
 * its packet's key when it has read what it needs (see is_still_flow). A flow is filled beginning with its key.
 */
GLOBAL int release_flow(__u32 index, __u32 life)
{
	struct nat_table *table = the_table();
	struct nat_flow *flow = flow_at(index);

	if (!table || !flow || !remove_flow(index, flow, life, 0))
		return 0;
	if (!give_flow(table, index, flow))
		flow->life = FLOW_DYING << LIFE_STATE_SHIFT;
	return 1;
}

GLOBAL int evict_flow(__u32 index, __u32 life, enum flow_event event)
{
	if (!release_flow(index, life))
		return 0;
	count_event(event);
	return 1;
}

/* A search for the flow to evict. */
struct eviction {
	__u32 group;
	__u32 seen; /* the number of flows that have been compared */
	__u32 takes_past; /* flows that are over may be the victim, too */
	__u32 victim; /* 0: none yet */
	__u64 rank;   /* of the victim */
	__u32 old;    /* an age that some of the flows reach that the victim is one of; a younger victim is not evicted */
};

/* The rank of a flow is the reason why it is a victim, and then its age. */
#define RANK_EVENT_SHIFT 32

INLINE __u32 event_of(__u64 rank)
{
	return rank >> RANK_EVENT_SHIFT;
}

/* Groups that a search looks at, and how many flows it compares at least where there are as many. */
#define GROUPS_SEARCHED 16
#define FLOWS_COMPARED 16

/*
 * Rates a flow as a victim: flows of a service, a client's address or a protocol that has too many come first.
 * `count` becomes the number of the flows that it is one of. Ages are numbers of flows that have begun since, so the
 * oldest of them is at least as old.
 */
INLINE enum flow_event victim_for(struct nat_table *table, __u64 word, __u32 *count)
{
	__u32 share = config.unanswered_limit / 4, *of_source, *of_service;

	*count = 0;
	if (word & EVICTABLE_OVER)
		return EVENT_EVICTED_OVER;
	of_source = source_share(word);
	if (of_source && *of_source > share) {
		*count = *of_source;
		return EVENT_EVICTED_SOURCE;
	}
	of_service = service_share(word);
	if (of_service && *of_service > share) {
		*count = *of_service;
		return EVENT_EVICTED_SERVICE;
	}
	/* UDP leaves half of the room to others: it can be had for one packet with an invented address. */
	if (word & EVICTABLE_UDP && table->unconfirmed_udp > config.unanswered_limit / 2) {
		*count = table->unconfirmed_udp;
		return EVENT_EVICTED_SERVICE;
	}
	*count = table->unanswered;
	return EVENT_EVICTED_OLDEST;
}

/*
 * Compares the flow of a place with the victim so far. The function is global because the verifier knows nothing of
 * what such a function is given: what it knows of the search, it follows through all groups (160,000 instructions).
 */
GLOBAL int compare_victim(__u32 index, __u64 word, struct eviction *search)
{
	struct nat_table *table = the_table();
	__u32 count;
	__u64 rank;

	if (!table || !search || !word || (word & EVICTABLE_OVER && !search->takes_past))
		return 0;
	search->seen++;
	rank = (__u64)victim_for(table, word, &count) << RANK_EVENT_SHIFT |
	       (__u32)(table->begun - (__u32)(word >> EVICTABLE_BORN_SHIFT));
	if (search->victim && rank <= search->rank)
		return 0;
	search->victim = index;
	search->rank = rank;
	search->old = count / 2;
	return 0;
}

/* True when the victim is old for the flows that it is one of. */
INLINE int is_old(const struct eviction *search)
{
	return (__u32)search->rank >= search->old;
}

static long search_next(__u32 number, struct eviction *search)
{
	struct nat_table *table = the_table();
	__u32 group = search->group;
	struct evictable_group *words = bpf_map_lookup_elem(&nat_evictable, &group);

	if (!table)
		return 1;
	if (!words || group > table->used_once / FLOWS_IN_GROUP) {
		search->group = 0;
		return 0;
	}
	search->group++;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_IN_GROUP; i++)
		compare_victim(group * FLOWS_IN_GROUP + i, words->flows[i], search);
	if (!search->victim || !is_old(search))
		return 0;
	return event_of(search->rank) >= EVENT_EVICTED_SOURCE || search->seen >= FLOWS_COMPARED;
}

/*
 * Evicts an old flow near where the last search ended, those first that exceed a share. Returns whether it did.
 * Where few places are taken, or where the flows of others fill them, a search may find young flows only: these
 * are handshakes that are about to be confirmed, while a flood's flows are elsewhere. Such a search evicts one only
 * if the new flow would find no place otherwise (`needs_place`), and the next search begins behind it.
 */
GLOBAL int evict_oldest(int takes_past, int needs_place)
{
	struct nat_table *table = the_table();
	struct eviction search = { .takes_past = takes_past };
	struct nat_flow *flow;

	if (!table)
		return 0;
	search.group = __sync_fetch_and_add(&table->hand, 1) % (table->used_once / FLOWS_IN_GROUP + 1);
	bpf_loop(GROUPS_SEARCHED, search_next, &search, 0);
	if (!search.victim || !is_old(&search))
		__sync_fetch_and_add(&table->hand, GROUPS_SEARCHED - 1);
	flow = flow_at(search.victim);
	if (!search.victim || !flow || !(needs_place || is_old(&search)))
		return 0;
	/* The flow may have been confirmed since. */
	if (!(flow->life & LIFE_UNCONFIRMED) && !is_over(flow->life))
		return 0;
	return evict_flow(search.victim, flow->life, event_of(search.rank));
}

/* True when no further flow may be unconfirmed. Signed: flows of an earlier version may not have been counted. */
INLINE int has_too_many_unconfirmed(const struct nat_table *table)
{
	return (__s32)table->unanswered >= (__s32)config.unanswered_limit;
}

/* Takes a place for a new flow; where too many are unconfirmed, or the table is full, another flow gives way. 0: none does. */
GLOBAL __u32 take_place(void)
{
	struct nat_table *table = the_table();
	__u32 index, has_many, is_full;

	if (!table)
		return 0;
	is_full = table->used + config.flows / 8 >= config.flows - 1;
	has_many = has_too_many_unconfirmed(table);
	if (is_full || has_many)
		evict_oldest(!has_many, 0);
	/*
	 * A search may find nothing, or lose what it found to another CPU, and the new flow is taken all the same: a
	 * second eviction makes up for one that failed before, so that the number comes back to its limit.
	 */
	if (has_too_many_unconfirmed(table))
		evict_oldest(0, 0);
	index = take_flow();
	if (!index && evict_oldest(1, 1))
		index = take_flow();
	return index;
}

/* The number of the bucket that the client's key of a flow belongs to. */
GLOBAL __u32 client_bucket(__u32 index)
{
	struct nat_flow *flow = flow_at(index);
	struct flow_key key;

	if (!flow)
		return 0;
	client_key(&key, flow, protocol_of(state_of(flow->life)));
	return bucket_number(hash_of(&key));
}

/* Evicts a flow that a slot of the bucket names which a flow's client's key belongs to, as evict_oldest chooses it. */
GLOBAL int evict_from_bucket(__u32 own)
{
	__u32 number = client_bucket(own);
	struct flow_bucket *bucket = bpf_map_lookup_elem(&nat_index, &number);
	struct eviction search = { .takes_past = 1 };
	struct nat_flow *flow;

	if (!bucket)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u32 index = (__u32)bucket->slots[i] / 2;
		__u64 *word = evictable_word(index);

		if (index != own && word)
			compare_victim(index, *word, &search);
	}
	flow = flow_at(search.victim);
	if (!search.victim || !flow || !is_alive(flow->life) || !(flow->life & LIFE_UNCONFIRMED || is_over(flow->life)))
		return 0;
	return evict_flow(search.victim, flow->life, EVENT_EVICTED_BUCKET);
}

/* Enters the client's key of a flow, as enter_key. In a bucket that is full another flow gives way, if one may. */
GLOBAL int enter_client_key(__u32 index, __u32 generation)
{
	int outcome = enter_key(index * 2, generation);

	return outcome == KEY_NO_ROOM && evict_from_bucket(index) ? enter_key(index * 2, generation) : outcome;
}
