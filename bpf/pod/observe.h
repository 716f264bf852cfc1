/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * With the setting `visibility`, connections of pods that no network policy selects have entries of
 * the conntrack table like those of others, so that they can be observed. Nothing depends on such
 * an entry: without room for it the packet goes on, and this is counted. ctx/tc.h is included
 * first.
 */
#pragma once

#include "ct/asked.h"
#include "policy/opener.h"
#include "steps.h"
#include "tc/kind.h"

/*
 * Returns 1 if the client of an entry may hold it. Entries without a use but observation may take
 * no more than half of the table in this way, so that others always find room.
 */
INLINE int may_hold_observed(__u32 index)
{
	struct ct_table *table = get_ct_table();

	return table && table->held < config.flows / 2 && ct_may_hold(index);
}

/*
 * Updates the entry that a reference names for a packet. The sequence numbers are not compared with
 * windows: a forged segment could only end the entry early. The entry of a policed packet, which
 * has a verdict, stays as it is. Returns the reference, or 0 if the connection is translated: then
 * other functions update its entry.
 */
GLOBAL __u32 observe_known(__u32 reference, __u32 tcp_flags, int policed)
{
	__u32 index = reference / 2, is_reply = reference & 1, state_word, after, state;
	struct ct_entry *entry = ct_entry_at(index);

	if (!entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_live(state_word) || !ct_is_direct(entry, state_word))
		return 0;
	if (policed)
		return reference;
	state = ct_next_state(ct_state_of(state_word), tcp_flags, is_reply);
	if (is_reply && ct_state_of(state_word) == CT_TCP_ESTABLISHED)
		tcp_flags |= TCP_CONFIRMS;
	after = (state_word & ~(CT_SEEN_MASK | CT_STATE_MASK)) | state << CT_STATE_SHIFT |
		now_ticks();
	if (state_word & CT_UNCONFIRMED && packet_confirms(state_word, tcp_flags, is_reply) &&
	    may_hold_observed(index))
		after &= ~CT_UNCONFIRMED;
	ct_change_state(index, entry, state_word, after);
	return reference;
}

/*
 * Creates an entry for a packet without one, unless it is of a connection that is translated.
 * Returns a reference to the entry, or 0. `packet` gets the tuple of the client's packets; `tuple`
 * and `choice` are lent by the caller.
 */
GLOBAL __u32 observe_new(context *ctx, struct packet *packet, struct tuple *tuple,
			 struct lb_choice *choice)
{
	enum verdict verdict;
	__u32 index, is_reply;

	if (!packet || !tuple || !choice || packet->fragment == FRAGMENT_LATER ||
	    !(may_start_flow(packet) || may_continue_flow(packet)))
		return 0;
	/* A packet that has the backend's address by now is of the entry with that reply. */
	reverse_tuple(tuple, &packet->tuple);
	if (ct_find_slot(tuple))
		return 0;
	is_reply = packet->tuple.protocol == IPPROTO_TCP && may_continue_flow(packet) &&
		   policy_receiver_opened(ctx, packet, tuple);
	if (is_reply) {
		reverse_tuple(tuple, &packet->tuple);
		packet->tuple = *tuple;
	}
	*tuple = packet->tuple;
	/* Network policies have not decided: in epoch 0 they decide when they select the pod. */
	__builtin_memset(choice, 0, sizeof(*choice));
	verdict = ct_create(packet, tuple, choice, &index);
	if (verdict == V_OK)
		return index * 2 + is_reply;
	if (verdict != V_EXISTS)
		ct_count_event(CT_UNOBSERVED);
	return 0;
}

/*
 * Returns 1 if a connection begins with a packet, and another one between the same addresses and
 * ports had the entry that a reference names. That entry is ended.
 */
INLINE int ends_earlier(const struct packet *packet, __u32 reference)
{
	__u32 index = reference / 2, state_word;
	struct ct_entry *entry = ct_entry_at(index);

	if (!starts_connection(packet) || !entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_direct(entry, state_word) ||
	    !(ct_is_closed(state_word) || (reference & 1 && ct_state_of(state_word) != CT_TCP_SYN)))
		return 0;
	return ct_end(index, state_word);
}

/* The answers of find_observed() that are no reference: no entry has the index 0. */
#define OBSERVE_NOTHING 0
#define OBSERVE_NEW 1

/*
 * Returns a reference to the entry of a packet of that kind that goes on as it is. A packet that
 * network policies have decided about has an entry already, or none. This is a function of its own
 * so that the verifier forgets how the packet came here.
 */
GLOBAL __u32 find_observed(const struct packet *packet, int kind)
{
	__u32 reference;

	if (!packet || !packet->is_last_seen || !has_connection(kind))
		return OBSERVE_NOTHING;
	reference = ct_find_slot(&packet->tuple);
	return reference ? reference : packet->policed ? OBSERVE_NOTHING : OBSERVE_NEW;
}

/*
 * Observes a packet of that kind that has that outcome. Called last, as the packet's tuple may
 * change.
 */
INLINE void observe(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind, int outcome)
{
	struct packet *packet = &pkt->packet;
	__u32 reference;

	if (!config.visibility || outcome == DROP)
		return;
	reference = find_observed(packet, kind);
	if (reference == OBSERVE_NOTHING)
		return;
	if (reference == OBSERVE_NEW || (!packet->policed && ends_earlier(packet, reference)))
		reference = observe_new(ctx, packet, &pkt->to, &pkt->lb);
	else
		reference = observe_known(reference, packet->tcp_flags, packet->policed);
	if (reference)
		ct_observe(ctx, packet, reference);
}
