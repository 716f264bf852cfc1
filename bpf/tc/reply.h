/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions translate what backends on this node reply to clients. */
#pragma once

#include "ct/host_reply.h"
#include "ct/icmp_error.h"
#include "ct/reply_filter.h"
#include "ct/unanswered.h"
#include "ct/update.h"
#include "lib/bits.h"
#include "lib/drop.h"
#include "lib/fragment.h"
#include "lib/later_fragment.h"

/*
 * Returns 1 if a packet from that address and port may be a reply that leaves the node. Most
 * packets that leave are not, and the filter, unlike the index of tuples, stays in the processor's
 * cache.
 */
INLINE int reply_filter_hit(const void *address, __be16 port)
{
	return has_bit(&reply_sources, reply_filter_bit(address, port));
}

/* Returns 1 if no connection that is translated can have the packet's source or destination. */
INLINE int is_plain(const struct packet *packet)
{
	return !reply_filter_hit(packet->tuple.source, packet->tuple.source_port) &&
	       !reply_filter_hit(packet->tuple.destination, packet->tuple.destination_port);
}

/*
 * Translates a reply of a backend on this node. If the backend has been removed from the service,
 * its packets are dropped: the client's connection was reset, or has another backend. Nor may they
 * reach the client with the pod's own address, which the client does not know. `ct` is all zero
 * before, and it and `to` are lent by the caller, because the stack is short.
 */
INLINE int translate_reply(context *ctx, struct packet *packet, struct ct_result *ct,
			   struct tuple *to)
{
	__u32 state_word;

	if (!reply_filter_hit(packet->tuple.source, packet->tuple.source_port))
		return NEXT;
	if (!ct_lookup(ct, &packet->tuple) || !ct->is_reply) {
		note_host_datagram(packet);
		return NEXT;
	}
	state_word = ct->entry->state_word;
	if (!ct_has_backend(ct->entry, state_word)) {
		/*
		 * A SYN begins a connection of the pod's own between the same addresses and ports.
		 */
		if (!(packet->tcp_flags & TCP_SYN) || ct_is_unanswered(ct_state_of(state_word)))
			return drop(ctx, packet, DROP_NO_BACKEND);
		ct_end(ct->index, state_word);
		return NEXT;
	}
	if (packet->fragment == FRAGMENT_FIRST)
		fragment_store_ports(packet);
	ct_rev_nat_tuple(to, ct->entry, packet->tuple.protocol);
	if (!ct_still_matches(ct, &packet->tuple))
		return drop(ctx, packet, DROP_TABLE_FULL);
	ct_count(ctx, packet, reference_of(ct));
	ct_update(ctx, packet, ct, state_word);
	return rewrite(ctx, packet, to, 0) ? drop(ctx, packet, DROP_WRITE) : NEXT;
}

/* Translates an ICMP error about a packet of a connection. */
INLINE int translate_icmp_error(context *ctx, struct packet *packet, struct tuple *to)
{
	enum verdict verdict = icmp_translate_inner(ctx, packet, to);

	if (verdict == V_PASS || verdict == V_TUNNEL)
		return NEXT;
	return verdict != V_OK || rewrite(ctx, packet, to, 0) ? drop(ctx, packet, DROP_WRITE) :
								NEXT;
}

/*
 * Translates a packet to a client of a service, of that kind: a reply, or an ICMP error. Returns
 * NEXT if it is to go on, changed or not.
 */
INLINE int translate_for_client(context *ctx, struct packet *packet, enum packet_kind kind,
				struct ct_result *ct, struct tuple *to)
{
	if (kind == PACKET_FRAGMENT && fragment_load_ports(packet))
		kind = PACKET_L4;
	if (kind == PACKET_L4)
		return translate_reply(ctx, packet, ct, to);
	return kind == PACKET_ICMP_ERROR ? translate_icmp_error(ctx, packet, to) : NEXT;
}
