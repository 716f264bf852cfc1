/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions create conntrack entries. */
#pragma once

#include "facts.h"
#include "lb/select.h"
#include "lib/verdict.h"
#include "snat.h"
#include "window.h"

/*
 * Clears the window of an earlier connection at the same index: the sequence numbers are unknown
 * until a SYN or a segment of each side has been seen. Writes the verdict of network policies.
 */
INLINE void ct_begin_window(__u32 index, const struct lb_choice *choice)
{
	struct ct_window *window = bpf_map_lookup_elem(&nat_windows, &index);

	if (!window)
		return;
	window->shift[SIDE_CLIENT] = window->shift[SIDE_BACKEND] = 0;
	window->egress_rule = choice->policy.egress_rule;
	window->ingress_rule = choice->policy.ingress_rule;
	window->denied = 0;
	window->policy_epoch = choice->policy.epoch;
}

/*
 * Writes a new entry for a client's packet that will have the tuple `to`. The tuple comes first;
 * see ct_release().
 */
GLOBAL int ct_fill(__u32 index, const struct packet *packet, const struct tuple *to,
		   const struct lb_choice *choice)
{
	struct ct_entry *entry = ct_entry_at(index);
	__u32 state_word;

	if (!entry || !packet || !to || !choice)
		return 0;
	ct_begin_window(index, choice);
	ct_begin_facts(index);
	state_word = choice->snat << CT_SNAT_SHIFT | ct_initial_state(packet) << CT_STATE_SHIFT |
		     CT_UNCONFIRMED | ct_backend_gen(choice->generation) |
		     (choice->is_counted ? CT_COUNTED : 0) | now_ticks();
	copy_address(entry->client, packet->tuple.source);
	copy_address(entry->frontend, packet->tuple.destination);
	entry->client_port = packet->tuple.source_port;
	entry->frontend_port = packet->tuple.destination_port;
	copy_address(entry->backend, to->destination);
	entry->backend_port = to->destination_port;
	entry->source_port = packet->tuple.source_port;
	entry->backend_id = choice->backend;
	if (choice->is_counted)
		ct_count_active(entry, state_word, 1);
	entry->state_word = state_word;
	ct_allow_eviction(index);
	if (!choice->snat && choice->backend)
		reply_filter_add(to->destination, to->destination_port);
	return 0;
}

/*
 * Inserts the reply tuple of a new entry that translates nothing. It cannot get another port. If a
 * connection through a service has the tuple, that connection ends, as ct_end_for_direct() has it.
 */
GLOBAL enum verdict ct_insert_direct_reply(__u32 index)
{
	__u32 other = ct_insert_tuple(index * 2 + 1, 0), state_word;
	struct ct_entry *entry;

	if (!other)
		return V_OK;
	if (other == CT_BUCKET_FULL)
		return V_DROP(DROP_TABLE_FULL);
	entry = ct_entry_at(other / 2);
	if (!entry)
		return V_DROP(DROP_TABLE_FULL);
	if (!entry->backend_id)
		return V_EXISTS;
	state_word = entry->state_word;
	if (ct_protocol(entry, state_word) == IPPROTO_TCP && !ct_is_closed(state_word))
		return V_DROP(DROP_NO_PORT);
	ct_end(other / 2, state_word);
	return ct_insert_tuple(index * 2 + 1, 0) ? V_DROP(DROP_NO_PORT) : V_OK;
}

/*
 * Inserts the reply tuple of a new entry for a packet that will have the tuple `to`. A client that
 * keeps its address keeps its port, too, unless it has two connections to that backend. A tunnelled
 * connection has no reply tuple.
 */
INLINE enum verdict ct_insert_reply_tuple(__u32 index, const struct tuple *to,
					  const struct lb_choice *choice)
{
	if (!choice->backend && !choice->snat)
		return ct_insert_direct_reply(index);
	if (choice->snat & SNAT_TUNNELLED ||
	    (!choice->snat && !ct_insert_tuple(index * 2 + 1, choice->generation)))
		return V_OK;
	return snat_reserve_port(index, endpoint_hash(to->destination, to->destination_port),
				 choice->generation) ?
		       V_OK :
		       V_DROP(DROP_NO_PORT);
}

/* Ends an entry that could not be inserted. */
GLOBAL int ct_abort(__u32 index)
{
	struct ct_entry *entry = ct_entry_at(index);

	return entry && ct_end(index, entry->state_word);
}

/*
 * Creates an entry for a client's packet that will have the tuple `to`, and inserts its tuples.
 * Returns V_OK with its index in `created`, V_EXISTS, or the reason for a drop.
 */
INLINE enum verdict ct_create(const struct packet *packet, const struct tuple *to,
			      const struct lb_choice *choice, __u32 *created)
{
	enum verdict verdict;

	if (choice->snat && !(choice->snat & SNAT_TUNNELLED) && snat_ports_exhausted(to))
		return V_DROP(DROP_NO_PORT);
	*created = ct_alloc();
	if (!*created)
		return V_DROP(DROP_TABLE_FULL);
	ct_fill(*created, packet, to, choice);
	verdict = ct_insert_reply_tuple(*created, to, choice);
	if (verdict == V_OK)
		verdict = ct_insert_original_tuple(*created, choice->generation);
	if (verdict != V_OK)
		ct_abort(*created);
	return verdict;
}
