/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One flow: its life, and the keys of its packets. */
#pragma once

#include "balance.h"
#include "maps.h"
#include "packet.h"

extern const volatile struct node_config config;

INLINE struct ct_table *get_ct_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nat_table, &zero);
}

INLINE struct ct_entry *ct_entry_at(__u32 entry)
{
	return bpf_map_lookup_elem(&nat_flows, &entry);
}

/* The clock of the last timer interrupt will do. */
INLINE __u32 now_ticks(void)
{
	return (bpf_ktime_get_coarse_ns() >> TICK_SHIFT) & CT_SEEN_MASK;
}

INLINE enum ct_state ct_state_of(__u32 state_word)
{
	return (state_word & CT_STATE_MASK) >> CT_STATE_SHIFT;
}

INLINE __u32 ct_snat_index(__u32 state_word)
{
	return state_word >> CT_SNAT_SHIFT & CT_SNAT_MASK;
}

/* Whether the backend is on this node, and sees the client's own address: its replies leave by node_egress. */
INLINE int ct_is_local(__u32 state_word)
{
	return !ct_snat_index(state_word);
}

INLINE int ct_is_unanswered(enum ct_state state)
{
	return state == CT_TCP_SYN || state == CT_TCP_SYN_ACK || state == CT_UDP_UNANSWERED ||
	       state == CT_SCTP_UNANSWERED;
}

INLINE int ct_state_is_closed(enum ct_state state)
{
	return state >= CT_TCP_CLOSED_BY_CLIENT && state <= CT_TCP_RESET;
}

INLINE __u32 ct_protocol(enum ct_state state)
{
	return state <= CT_TCP_RESET ? IPPROTO_TCP : state <= CT_UDP ? IPPROTO_UDP : IPPROTO_SCTP;
}

/* Whether a connection is over. Of one that is tunnelled only the client's FIN is seen. */
INLINE int ct_is_closed(__u32 state_word)
{
	enum ct_state state = ct_state_of(state_word);

	return ct_state_is_closed(state) || (state_word & CT_TUNNELLED && state == CT_TCP_CLIENT_FIN);
}

/* How long a flow may be idle, in ticks, as if it were in that state. */
INLINE __u32 ct_timeout(__u32 state_word, enum ct_state state)
{
	/* So many answers are the whole conversation that only some flows of UDP and SCTP are worth the longer time. */
	if (state_word & CT_UNCONFIRMED && state == CT_UDP)
		state = CT_UDP_UNANSWERED;
	if (state_word & CT_UNCONFIRMED && state == CT_SCTP)
		state = CT_SCTP_UNANSWERED;
	if (state_word & CT_TUNNELLED) {
		/* What the backend's node keeps does not depend on it, and many a client has one packet to send. */
		if (ct_is_unanswered(state))
			return config.timeouts[state % CT_STATES] / 4;
		if (state == CT_TCP_CLIENT_FIN)
			state = CT_TCP_CLOSED_BY_BACKEND;
	}
	return config.timeouts[state % CT_STATES];
}

/* The state that a new flow begins with. */
INLINE enum ct_state ct_initial_state(__u32 protocol)
{
	return protocol == IPPROTO_TCP ? CT_TCP_SYN : protocol == IPPROTO_UDP ? CT_UDP_UNANSWERED : CT_SCTP_UNANSWERED;
}

/*
 * The state after a packet. As a packet's place in the stream isn't checked, a reset only shortens
 * the time that the flow may be idle (RFC 5961's concern): one that goes on is kept. A FIN of a client
 * that has not acknowledged the backend's answer says nothing: who invents addresses must not come by
 * the long timeout of a connection that is half closed, nor out of the share of unanswered flows.
 */
GLOBAL __u32 ct_next_state(enum ct_state state, __u32 tcp_flags, __u32 is_reply)
{
	if (state == CT_UDP_UNANSWERED)
		return is_reply ? CT_UDP : state;
	if (state == CT_SCTP_UNANSWERED)
		return is_reply ? CT_SCTP : state;
	if (state > CT_TCP_RESET)
		return state;
	if (tcp_flags & TCP_RST)
		return CT_TCP_RESET;
	if (!is_reply && state == CT_TCP_SYN)
		return state;
	if (!is_reply && state == CT_TCP_SYN_ACK) {
		if ((tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_ACK)
			return state;
		return tcp_flags & TCP_FIN ? CT_TCP_CLIENT_FIN : CT_TCP_ESTABLISHED;
	}
	/* The client's last acknowledgement: the backend has forgotten it now. */
	if (!is_reply && state == CT_TCP_CLOSED_BY_CLIENT && !(tcp_flags & (TCP_FIN | TCP_SYN)))
		return CT_TCP_RESET;
	if (tcp_flags & TCP_FIN) {
		if (state == CT_TCP_CLIENT_FIN)
			return is_reply ? CT_TCP_CLOSED_BY_CLIENT : state;
		if (state == CT_TCP_BACKEND_FIN)
			return is_reply ? state : CT_TCP_CLOSED_BY_BACKEND;
		if (state <= CT_TCP_ESTABLISHED)
			return is_reply ? CT_TCP_BACKEND_FIN : CT_TCP_CLIENT_FIN;
		return state;
	}
	if (state == CT_TCP_SYN && tcp_flags & TCP_SYN)
		return CT_TCP_SYN_ACK;
	return state;
}

/*
 * The same for a flow that is tunnelled, whose backend isn't heard: a second packet of the client, other
 * than one that begins a connection anew, shows that it was answered.
 */
GLOBAL __u32 ct_next_state_tunnelled(enum ct_state state, __u32 tcp_flags, __u32 is_second)
{
	if (state == CT_UDP_UNANSWERED && is_second)
		return CT_UDP;
	if (state == CT_SCTP_UNANSWERED && is_second && !(tcp_flags & TCP_SYN))
		return CT_SCTP;
	if (state == CT_TCP_SYN && !(tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) && tcp_flags & TCP_ACK)
		return CT_TCP_ESTABLISHED;
	return ct_next_state(state, tcp_flags, 0);
}

/* The result of the lookup of a packet's key. */
struct ct_result {
	struct ct_entry *entry;
	__u32 index;
	__u32 generation;
	__u16 is_reply;
	__u16 is_new;  /* it was made for this packet */
	__u32 service; /* id of the one that a flow would have begun for; 0: it isn't known */
};

/* Whether its place is a flow's: not free, nor about to be. */
INLINE int ct_is_live(__u32 state_word)
{
	return ct_state_of(state_word) != CT_FREE && ct_state_of(state_word) != CT_DYING;
}

/* A backend's generation, as far as a flow's `life` has room for it. */
INLINE __u32 ct_backend_gen(__u32 generation)
{
	return (generation % 7 + 1) << CT_BACKEND_GEN_SHIFT;
}

/* Whether the flow's backend is there, and its id not another's by now. */
INLINE int ct_has_backend(const struct ct_entry *entry, __u32 state_word)
{
	__u32 id = entry->backend_id, mark = state_word & CT_BACKEND_GEN_MASK;
	struct backend *backend = backend_by_id(id);

	return backend && backend->state != BACKEND_GONE && (!mark || mark == ct_backend_gen(backend->generation));
}

/* The two keys of a flow. */
INLINE void ct_original_tuple(struct tuple *key, const struct ct_entry *entry, __u32 protocol)
{
	copy_address(key->source, entry->client);
	copy_address(key->destination, entry->frontend);
	key->source_port = entry->client_port;
	key->destination_port = entry->frontend_port;
	key->protocol = protocol;
}

/* The key of what the client gets. */
INLINE void ct_rev_nat_tuple(struct tuple *key, const struct ct_entry *entry, __u32 protocol)
{
	copy_address(key->source, entry->frontend);
	copy_address(key->destination, entry->client);
	key->source_port = entry->frontend_port;
	key->destination_port = entry->client_port;
	key->protocol = protocol;
}

/* Returns 0 if the source's address is unknown, which can't be. */
INLINE int ct_reply_tuple(struct tuple *key, const struct ct_entry *entry, __u32 state_word, __u32 protocol)
{
	__u32 index = ct_snat_index(state_word);
	struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(key->source, entry->backend);
	copy_address(key->destination, index ? source->address : entry->client);
	key->source_port = entry->backend_port;
	key->destination_port = entry->source_port;
	key->protocol = protocol;
	return 1;
}
