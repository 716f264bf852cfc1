/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Each packet updates the state, time and counters of its entry. */
#pragma once

#include "dns/answer.h"
#include "facts.h"
#include "window.h"

/*
 * Returns 1 if a packet proves that both sides want an unconfirmed connection; `tcp_flags` are the
 * valid ones. A UDP client proves it by a datagram after the reply; but such entries get no more
 * than half of the table, because a client's address may be spoofed. SCTP proves it by a chunk that
 * can only follow the client's cookie (RFC 9260, 5.1). Nothing proves it for ICMP, where losing the
 * entry costs nothing but another identifier.
 */
INLINE int packet_confirms(__u32 state_word, __u32 tcp_flags, int is_reply)
{
	struct ct_table *table = get_ct_table();
	enum ct_state before = ct_state_of(state_word);

	if (before == CT_UDP)
		return !is_reply && table &&
		       (__s32)table->confirmed_udp < (__s32)(config.flows / 2);
	if (before == CT_SCTP)
		return state_word & CT_TUNNELLED ? !is_reply : is_reply && !tcp_flags;
	return before <= CT_TCP_RESET && tcp_flags & TCP_CONFIRMS;
}

/* Returns the flags of a TCP segment as far as they are valid; see tcp_track_segment(). */
INLINE __u32 track_tcp(context *ctx, const struct packet *packet, __u32 reference, __u32 state_word)
{
	return packet->tcp_flags & TCP_SYN ? tcp_track_syn(ctx, packet, reference, state_word) :
					     tcp_track_segment(ctx, packet, reference, state_word);
}

/* Counts a packet of a backend, in either direction. */
INLINE void count_packet(__u32 id, __u32 bytes)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	/* All masqueraded connections would share the counters of id 0. */
	if (!stats || !id)
		return;
	__sync_fetch_and_add(&stats->packets, 1);
	__sync_fetch_and_add(&stats->bytes, bytes);
}

/* Changes the state word of an entry, unless another CPU has changed it meanwhile. */
INLINE void ct_change_state(__u32 index, struct ct_entry *entry, __u32 state_word, __u32 after)
{
	if (after != state_word &&
	    __sync_val_compare_and_swap(&entry->state_word, state_word, after) == state_word &&
	    (after ^ state_word) & ~CT_SEEN_MASK)
		ct_on_transition(index, state_word, after);
}

/*
 * Updates an entry, which has that state word, for a packet. If two CPUs do so at the same time,
 * the state changes for one of the packets only.
 */
INLINE void ct_update(context *ctx, const struct packet *packet, const struct ct_result *ct,
		      __u32 state_word)
{
	struct ct_entry *entry = ct->entry;
	__u32 tcp_flags = packet->tcp_flags, state = ct_state_of(state_word), after;

	count_packet(entry->backend_id, frame_length(ctx));
	if (HOOK_JUDGES && ct->is_reply && entry->backend_port == bpf_htons(DNS_PORT) &&
	    packet->tuple.protocol == IPPROTO_UDP)
		dns_learn(ctx, packet, entry->client, entry->backend);
	/*
	 * The entry of a connection that nothing translates only keeps a verdict. Once it is
	 * confirmed, a forged reset costs another verdict at most, so its windows are not tracked.
	 */
	if (packet->tuple.protocol == IPPROTO_TCP &&
	    (state_word & CT_UNCONFIRMED || !ct_is_direct(entry, state_word)))
		tcp_flags = track_tcp(ctx, packet, ct->index * 2 + ct->is_reply, state_word);
	if (!(tcp_flags & TCP_INVALID))
		state = state_word & CT_TUNNELLED ?
				ct_next_state_tunnelled(state, tcp_flags,
							ct->origin != CT_CREATED) :
				ct_next_state(state, tcp_flags, ct->is_reply);
	after = (state_word & ~(CT_SEEN_MASK | CT_STATE_MASK)) | state << CT_STATE_SHIFT |
		now_ticks();
	if (ct_is_closed(after))
		after &= ~CT_COUNTED;
	if (state_word & CT_UNCONFIRMED && packet_confirms(state_word, tcp_flags, ct->is_reply) &&
	    (entry->backend_id || ct_may_hold(ct->index)))
		after &= ~CT_UNCONFIRMED;
	ct_change_state(ct->index, entry, state_word, after);
}
