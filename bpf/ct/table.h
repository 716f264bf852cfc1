/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions allocate and end entries, and evict entries for new ones. */
#pragma once

#include "held.h"
#include "index.h"
#include "lib/verdict.h"
#include "share.h"

/* The number of attempts to change the free list, because other CPUs may change it, too. */
#define ALLOCATION_ATTEMPTS 8

INLINE void ct_count_active(const struct ct_entry *entry, __u32 state_word, __s32 change)
{
	__u32 id = entry->backend_id;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats && ct_has_backend(entry, state_word))
		__sync_fetch_and_add(&stats->active, change);
}

GLOBAL int ct_count_event(enum ct_event event)
{
	__u32 key = event;
	__u64 *count = bpf_map_lookup_elem(&flow_events, &key);

	if (count)
		(*count)++;
	return 0;
}

/*
 * Returns 1 for a UDP entry that both sides have confirmed. The number of such entries is limited.
 */
INLINE int is_confirmed_udp(__u32 state_word)
{
	return ct_state_of(state_word) == CT_UDP && !(state_word & CT_UNCONFIRMED);
}

/* Updates the counters after an entry's state word has changed. */
GLOBAL int ct_on_transition(__u32 index, __u32 before, __u32 after)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);

	if (!table || !entry)
		return 0;
	if (before & CT_COUNTED && !(after & CT_COUNTED))
		ct_count_active(entry, before, -1);
	if (is_confirmed_udp(before) != is_confirmed_udp(after))
		__sync_fetch_and_add(&table->confirmed_udp, is_confirmed_udp(after) ? 1 : -1);
	if (ct_is_held(before) != ct_is_held(after))
		ct_count_held(index, before, ct_is_held(after) ? 1 : -1);
	if (before & CT_UNCONFIRMED ? !(after & CT_UNCONFIRMED) :
				      ct_is_closed(before) && !ct_is_closed(after))
		ct_forbid_eviction(index);
	if (!(after & CT_UNCONFIRMED) && ct_is_closed(after) && !ct_is_closed(before))
		ct_allow_eviction_closed(table, index);
	return 0;
}

/*
 * Removes an entry's tuples and sets its state word to `after`, if it still is `state_word`.
 * Returns whether it did.
 */
INLINE int ct_unlink(__u32 index, struct ct_entry *entry, __u32 state_word, __u32 after)
{
	if (__sync_val_compare_and_swap(&entry->state_word, state_word, after) != state_word)
		return 0;
	ct_on_transition(index, state_word, after);
	ct_remove_tuple(index * 2, state_word);
	if (!(state_word & CT_TUNNELLED))
		ct_remove_tuple(index * 2 + 1, state_word);
	return 1;
}

/*
 * Ends an entry, if its state word still is `state_word`. The garbage collection frees it in its
 * next but one pass.
 */
GLOBAL int ct_end(__u32 index, __u32 state_word)
{
	struct ct_entry *entry = ct_entry_at(index);

	return entry && ct_unlink(index, entry, state_word, CT_DYING << CT_STATE_SHIFT);
}

/*
 * Allows the eviction of an entry whose connection was confirmed, as network policies deny it by
 * now.
 */
GLOBAL int ct_unconfirm(__u32 index)
{
	struct ct_entry *entry = ct_entry_at(index);
	__u32 state_word, after;

	if (!entry)
		return 0;
	state_word = entry->state_word;
	after = state_word | CT_UNCONFIRMED;
	if (!ct_is_held(state_word) ||
	    __sync_val_compare_and_swap(&entry->state_word, state_word, after) != state_word)
		return 0;
	ct_on_transition(index, state_word, after);
	return ct_allow_eviction(index);
}

/* Takes a free entry. Returns its index; 0: there is none. */
GLOBAL __u32 ct_take_free(void)
{
	struct ct_table *table = get_ct_table();

	if (!table)
		return 0;
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;
		struct ct_entry *entry;

		if (!(__u32)head)
			break;
		entry = ct_entry_at((__u32)head);
		if (!entry)
			break;
		/*
		 * If another CPU takes the entry meanwhile, `backend_id` is no link; but then the
		 * count has changed, too.
		 */
		if (__sync_val_compare_and_swap(&table->free, head,
						((head >> 32) + 1) << 32 | entry->backend_id) ==
		    head) {
			__sync_fetch_and_add(&table->used, 1);
			return (__u32)head;
		}
	}
	if (table->high_water + 1 < config.flows) {
		__u32 entry = __sync_fetch_and_add(&table->high_water, 1) + 1;

		if (entry < config.flows) {
			__sync_fetch_and_add(&table->used, 1);
			return entry;
		}
		__sync_fetch_and_add(&table->high_water, -1);
	}
	return 0;
}

/*
 * Adds an entry to the free list. Returns 0 if other CPUs interfered too often; then the garbage
 * collection does it.
 */
INLINE int ct_give_back(struct ct_table *table, __u32 index, struct ct_entry *entry)
{
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;

		entry->backend_id = (__u32)head;
		if (__sync_val_compare_and_swap(&table->free, head,
						((head >> 32) + 1) << 32 | index) == head) {
			__sync_fetch_and_add(&table->used, -1);
			return 1;
		}
	}
	return 0;
}

/*
 * Ends an entry, if its state word still is `state_word`, and frees it at once: a flood needs
 * entries faster than the garbage collection frees them. A program on another CPU may be about to
 * use the entry; it checks the tuple again after it has read the entry (see ct_still_matches()).
 * Therefore ct_fill() writes the tuple first.
 */
GLOBAL int ct_release(__u32 index, __u32 state_word)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);

	if (!table || !entry || !ct_unlink(index, entry, state_word, 0))
		return 0;
	if (!ct_give_back(table, index, entry))
		entry->state_word = CT_DYING << CT_STATE_SHIFT;
	return 1;
}

/* Releases an entry for a new one, and counts the reason. */
INLINE int ct_evict(__u32 index, __u32 state_word, enum ct_event event)
{
	if (!ct_release(index, state_word))
		return 0;
	ct_count_event(event);
	return 1;
}

/* This is the state of a search for the entry to evict. */
struct eviction {
	__u64 rank; /* of the victim */
	__u32 group;
	__u32 victim;  /* index; 0: none yet */
	__u32 min_age; /* the age from which the victim may be evicted although free entries exist */
	__u16 seen;    /* number of entries compared */
	__u16 takes_closed; /* 1: closed connections are candidates, too */
};

/*
 * The rank of a candidate has its reason (enum ct_event) in the upper half, its age in the lower.
 */
#define RANK_EVENT_SHIFT 32

INLINE __u32 event_of(__u64 rank)
{
	return rank >> RANK_EVENT_SHIFT;
}

/*
 * The most groups of a search, and the number of entries that it compares at least if there are as
 * many.
 */
#define EVICTION_GROUPS 16
#define EVICTION_MIN_COMPARED 16

/*
 * Returns the reason for which an entry would be evicted: an exceeded share of a client, service or
 * protocol comes first. `count` becomes the number of entries that share the reason. The age of an
 * entry is the number of entries that were created since, so the oldest of them is at least `count`
 * old.
 */
INLINE enum ct_event eviction_reason(struct ct_table *table, __u64 word, __u32 *count)
{
	__u32 share = config.unconfirmed_limit / 4, *of_source, *of_service;

	*count = 0;
	if (word & EVICTABLE_CLOSED)
		return CT_EVICTED_CLOSED;
	of_source = client_share(word);
	if (of_source && *of_source > share) {
		*count = *of_source;
		return CT_EVICTED_SOURCE;
	}
	of_service = service_share(word);
	if (of_service && *of_service > share) {
		*count = *of_service;
		return CT_EVICTED_SERVICE;
	}
	/*
	 * UDP gets half of the room, because one packet with a spoofed address suffices for an
	 * entry.
	 */
	if (word & EVICTABLE_UDP && table->unconfirmed_udp > config.unconfirmed_limit / 2) {
		*count = table->unconfirmed_udp;
		return CT_EVICTED_SERVICE;
	}
	*count = table->unconfirmed;
	return CT_EVICTED_OLDEST;
}

/*
 * Compares an entry with the best candidate so far. The function is global so that the verifier
 * knows nothing of the search: otherwise it follows each state through all groups (160,000
 * instructions).
 */
GLOBAL int eviction_compare(__u32 index, __u64 word, struct eviction *search)
{
	struct ct_table *table = get_ct_table();
	__u32 count;
	__u64 rank;

	if (!table || !search || !word || (word & EVICTABLE_CLOSED && !search->takes_closed))
		return 0;
	search->seen++;
	rank = (__u64)eviction_reason(table, word, &count) << RANK_EVENT_SHIFT |
	       (__u32)(table->created - (__u32)(word >> EVICTABLE_CREATED_SHIFT));
	if (search->victim && rank <= search->rank)
		return 0;
	search->victim = index;
	search->rank = rank;
	search->min_age = count / 2;
	return 0;
}

/* Returns 1 if the victim is old compared to the entries that share its reason. */
INLINE int victim_is_old(const struct eviction *search)
{
	return (__u32)search->rank >= search->min_age;
}

static long eviction_search_next(__u32 number, struct eviction *search)
{
	struct ct_table *table = get_ct_table();
	__u32 group = search->group;
	struct evictable_group *words = bpf_map_lookup_elem(&nat_evictable, &group);

	if (!table)
		return 1;
	if (!words || group > table->high_water / ENTRIES_PER_GROUP) {
		search->group = 0;
		return 0;
	}
	search->group++;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < ENTRIES_PER_GROUP; i++)
		eviction_compare(group * ENTRIES_PER_GROUP + i, words->entries[i], search);
	if (!search->victim || !victim_is_old(search))
		return 0;
	return event_of(search->rank) >= CT_EVICTED_SOURCE || search->seen >= EVICTION_MIN_COMPARED;
}

/*
 * Evicts an old entry near the clock hand; one that exceeds a share comes first. Returns whether it
 * did. Where few entries are used, or others fill the groups, a search may find young entries only:
 * these are handshakes that are about to be confirmed, while the flood's entries are elsewhere.
 * Such a search evicts one only if the new connection gets no entry otherwise (`needs_entry`), and
 * the next search begins after these groups.
 */
GLOBAL int ct_evict_oldest(int takes_closed, int needs_entry)
{
	struct ct_table *table = get_ct_table();
	struct eviction search = { .takes_closed = takes_closed };
	struct ct_entry *entry;

	if (!table)
		return 0;
	search.group = __sync_fetch_and_add(&table->clock_hand, 1) %
		       (table->high_water / ENTRIES_PER_GROUP + 1);
	bpf_loop(EVICTION_GROUPS, eviction_search_next, &search, 0);
	if (!search.victim || !victim_is_old(&search))
		__sync_fetch_and_add(&table->clock_hand, EVICTION_GROUPS - 1);
	entry = ct_entry_at(search.victim);
	if (!search.victim || !entry || !(needs_entry || victim_is_old(&search)))
		return 0;
	/* The connection may have been confirmed since. */
	if (!(entry->state_word & CT_UNCONFIRMED) && !ct_is_closed(entry->state_word))
		return 0;
	return ct_evict(search.victim, entry->state_word, event_of(search.rank));
}

/*
 * Returns 1 if no further entry may be unconfirmed. Signed, as entries of an earlier version may
 * not be counted.
 */
INLINE int too_many_unconfirmed(const struct ct_table *table)
{
	return (__s32)table->unconfirmed >= (__s32)config.unconfirmed_limit;
}

/*
 * Allocates an entry; evicts another one if the table is full or too many are unconfirmed. Returns
 * 0 on failure.
 */
GLOBAL __u32 ct_alloc(void)
{
	struct ct_table *table = get_ct_table();
	__u32 index, has_many, is_full;

	if (!table)
		return 0;
	is_full = table->used + config.flows / 8 >= config.flows - 1;
	has_many = too_many_unconfirmed(table);
	if (is_full || has_many)
		ct_evict_oldest(!has_many, 0);
	/*
	 * An eviction may find no candidate, or lose it to another CPU, and the allocation succeeds
	 * all the same. A second eviction compensates for an earlier failure, so that the number
	 * returns to its limit.
	 */
	if (too_many_unconfirmed(table))
		ct_evict_oldest(0, 0);
	index = ct_take_free();
	if (!index && ct_evict_oldest(1, 1))
		index = ct_take_free();
	return index;
}

/* Returns the number of the bucket of an entry's original tuple. */
GLOBAL __u32 original_bucket_number(__u32 index)
{
	struct ct_entry *entry = ct_entry_at(index);
	struct tuple tuple;

	if (!entry)
		return 0;
	ct_original_tuple(&tuple, entry, ct_protocol(entry, entry->state_word));
	return ct_bucket_number(ct_index_hash(&tuple));
}

/*
 * Evicts an entry from the bucket of another entry's original tuple, by the order of
 * ct_evict_oldest(). Returns whether it did.
 */
GLOBAL int ct_evict_from_bucket(__u32 own)
{
	__u32 number = original_bucket_number(own);
	struct ct_bucket *bucket = bpf_map_lookup_elem(&nat_index, &number);
	struct eviction search = { .takes_closed = 1 };
	struct ct_entry *entry;

	if (!bucket)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CT_BUCKET_SLOTS; i++) {
		__u32 index = (__u32)bucket->slots[i] / 2;
		__u64 *word = evictable_word(index);

		if (index != own && word)
			eviction_compare(index, *word, &search);
	}
	entry = ct_entry_at(search.victim);
	if (!search.victim || !entry || !ct_is_live(entry->state_word) ||
	    !(entry->state_word & CT_UNCONFIRMED || ct_is_closed(entry->state_word)))
		return 0;
	return ct_evict(search.victim, entry->state_word, CT_EVICTED_BUCKET);
}

/*
 * Inserts an entry's original tuple as ct_insert_tuple() does, and evicts another entry from a full
 * bucket.
 */
GLOBAL enum verdict ct_insert_original_tuple(__u32 index, __u32 generation)
{
	__u32 other = ct_insert_tuple(index * 2, generation);

	if (other == CT_BUCKET_FULL && ct_evict_from_bucket(index))
		other = ct_insert_tuple(index * 2, generation);
	return !other ? V_OK : other == CT_BUCKET_FULL ? V_DROP(DROP_TABLE_FULL) : V_EXISTS;
}
