/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The garbage collection is a timer that examines a slice of the conntrack table at a time. */
#pragma once

#include "table.h"
#include "unanswered.h"

/*
 * Returns 1 if the address and port that a UDP client sends to are still a service's. Otherwise it
 * could use the entry forever, while a TCP connection ends some time.
 */
NOINLINE int ct_has_frontend(const struct ct_entry *entry)
{
	const __u32 *frontend = (const __u32 *)entry->frontend;
	struct service_key key = {
		.port = entry->frontend_port,
		.protocol = IPPROTO_UDP,
		.scope = SCOPE_EXTERNAL,
	};
	__u32 *address = (__u32 *)key.address;

	copy_address(address, frontend);
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	key.scope = SCOPE_INTERNAL;
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	/* The client may use a NodePort at an address that the node no longer has, or never had. */
	if (address[0] || address[1] || address[2] != bpf_htonl(0xffff))
		address[0] = address[1] = address[2] = 0;
	address[3] = 0;
	return bpf_map_lookup_elem(&services, &key) != 0;
}

/* Returns how long an entry may be idle, in ticks, as if it were in that state. */
INLINE __u32 ct_timeout(__u32 state_word, enum ct_state state)
{
	/*
	 * Many exchanges consist of one request and one reply, so only confirmed UDP and SCTP
	 * entries get the longer time.
	 */
	if (state_word & CT_UNCONFIRMED && state == CT_UDP)
		state = CT_UDP_UNANSWERED;
	if (state_word & CT_UNCONFIRMED && state == CT_SCTP)
		state = CT_SCTP_UNANSWERED;
	if (state_word & CT_TUNNELLED) {
		/*
		 * What the backend's node keeps does not depend on it, and many a client has one
		 * packet to send.
		 */
		if (ct_is_unanswered(state))
			return config.timeouts[state % CT_STATES] / 4;
		if (state == CT_TCP_CLIENT_FIN)
			state = CT_TCP_CLOSED_BY_BACKEND;
	}
	return config.timeouts[state % CT_STATES];
}

struct gc_slice {
	__u32 is_tight; /* More than half of the table is used. */
};

/* Examines one entry. */
static long gc_step(__u32 number, struct gc_slice *slice)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry;
	__u32 index, state_word, state;

	if (!table)
		return 1;
	index = table->gc_position + 1;
	if (index > table->high_water || index >= config.flows) {
		table->gc_position = 0;
		return 1;
	}
	table->gc_position = index;
	entry = ct_entry_at(index);
	if (!entry)
		return 1;
	state_word = entry->state_word;
	state = ct_state_of(state_word);
	if (state == CT_FREE)
		return 0;
	if (state == CT_DYING) {
		/*
		 * The first pass marks the entry, the next one frees it: by then no program uses it
		 * any more.
		 */
		if (!(state_word & CT_SEEN_MASK)) {
			entry->state_word = state_word | 1;
			return 0;
		}
		entry->state_word = 0;
		if (!ct_give_back(table, index, entry))
			entry->state_word = state_word;
		return 0;
	}
	/*
	 * A connection without its backend cannot continue; its client gets a reset or another
	 * backend. But a pod of this node may not know yet, and its packets must not leave with the
	 * pod's own address. So the entry of a local backend stays for its usual time while the
	 * table has room.
	 */
	if (!ct_has_backend(entry, state_word) && (slice->is_tight || !ct_is_local(state_word)))
		state = CT_TCP_RESET;
	/*
	 * From now on the client's datagrams belong to no entry, but a pod's replies do for a
	 * while.
	 */
	if ((state == CT_UDP || state == CT_UDP_UNANSWERED) && entry->backend_id &&
	    !ct_has_frontend(entry))
		ct_remove_tuple(index * 2, state_word);
	if (((now_ticks() - state_word) & CT_SEEN_MASK) > ct_timeout(state_word, state))
		ct_end(index, state_word);
	return 0;
}

/* The number of entries in a slice, and the time between slices. */
#define GC_SLICE 2048
#define GC_INTERVAL_NS 50000000ULL

static int gc_timer_callback(void *map, __u32 *key, struct nat_timer *timer)
{
	struct ct_table *table = get_ct_table();
	struct gc_slice slice = { .is_tight = table && table->used * 2 > config.flows };

	bpf_loop(GC_SLICE, gc_step, &slice, 0);
	bpf_timer_start(&timer->timer, GC_INTERVAL_NS, 0);
	return 0;
}
