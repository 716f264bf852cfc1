/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions look up conntrack entries. */
#pragma once

#include "table.h"

/*
 * Returns the state of the backend with that id, if the id still has that generation (its lower 16
 * bits); else BACKEND_GONE. Id 0 stands for the destination of a connection without a backend.
 */
INLINE enum backend_state backend_state_of(__u32 id, __u16 generation)
{
	struct backend *backend = backend_by_id(id);

	if (!id)
		return BACKEND_ACTIVE;
	return backend && (__u16)backend->generation == generation ? backend->state : BACKEND_GONE;
}

/*
 * Finds the entry that has a tuple. The caller must check ct_still_matches() after it has read the
 * entry.
 */
INLINE int ct_lookup(struct ct_result *ct, const struct tuple *tuple)
{
	__u64 slot = ct_find_slot(tuple);

	if (!slot)
		return 0;
	ct->index = (__u32)slot / 2;
	ct->is_reply = slot & 1;
	ct->generation = slot >> CT_SLOT_GENERATION_SHIFT;
	ct->entry = ct_entry_at(ct->index);
	return ct->entry && ct_is_live(ct->entry->state_word);
}

/*
 * Returns 1 if an entry still has the tuple. An unconfirmed or closed connection may have been
 * evicted while its entry was read, and the entry be reused. A new entry gets its tuple first, so
 * the content that was read before this check belongs to the tuple.
 */
INLINE int ct_still_matches(const struct ct_result *ct, const struct tuple *tuple)
{
	__u32 state_word = ct->entry->state_word;

	return (ct_is_live(state_word) && !(state_word & CT_UNCONFIRMED) &&
		!ct_is_closed(state_word)) ||
	       ct_still_has_tuple(ct->index * 2 + ct->is_reply, tuple);
}

/*
 * Returns 1 if a client's packet belongs to the entry that has its tuple. Otherwise the connection
 * has lost its backend, or a new connection begins from the port of a closed one; then the entry is
 * ended.
 */
INLINE int ct_is_usable(const struct packet *packet, const struct ct_result *ct)
{
	__u32 state_word = ct->entry->state_word, id = ct->entry->backend_id;
	enum backend_state backend = backend_state_of(id, ct->generation);
	enum ct_state state = ct_state_of(state_word);

	if (backend != BACKEND_GONE) {
		if (!starts_connection(packet))
			return 1;
		/*
		 * A repeated SYN selects again if the backend of the first one is draining by now.
		 */
		if (!ct_is_closed(state_word) && (state != CT_TCP_SYN || backend == BACKEND_ACTIVE))
			return 1;
	} else if (ct_is_local(state_word)) {
		/*
		 * The reply tuple stays for the packets that the pod still sends; see
		 * translate_reply().
		 */
		ct_remove_tuple(ct->index * 2, state_word);
		return 0;
	}
	ct_end(ct->index, state_word);
	return 0;
}

/*
 * A client may also send to a backend of this node directly, from a port that it used for a
 * connection to the same backend through a service. The backend's replies would match the reply
 * tuple of that connection. Therefore the first packet of the direct exchange ends the entry,
 * unless that is an open TCP connection: the backend could not distinguish the two connections
 * either.
 */
GLOBAL int ct_end_for_direct(const struct packet *packet)
{
	struct tuple reply;
	struct ct_result ct = {};
	__u32 state_word;

	if (!packet)
		return 0;
	reverse_tuple(&reply, &packet->tuple);
	if (!ct_lookup(&ct, &reply) || !ct.is_reply)
		return 0;
	/* The entry may be of the exchange itself, which network policies have allowed. */
	if (!ct.entry->backend_id)
		return 0;
	state_word = ct.entry->state_word;
	return ct_is_local(state_word) &&
	       (packet->tuple.protocol != IPPROTO_TCP || ct_is_closed(state_word)) &&
	       ct_end(ct.index, state_word);
}
