/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One flow: its life, and the keys of its packets. */
#pragma once

#include "balance.h"
#include "maps.h"
#include "packet.h"

extern const volatile struct node_config config;

INLINE struct nat_table *the_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nat_table, &zero);
}

INLINE struct nat_flow *flow_at(__u32 flow)
{
	return bpf_map_lookup_elem(&nat_flows, &flow);
}

/* The clock of the last timer interrupt will do. */
INLINE __u32 now_in_ticks(void)
{
	return (bpf_ktime_get_coarse_ns() >> TICK_SHIFT) & LIFE_SEEN_MASK;
}

INLINE enum flow_state state_of(__u32 life)
{
	return (life & LIFE_STATE_MASK) >> LIFE_STATE_SHIFT;
}

INLINE __u32 source_of(__u32 life)
{
	return life >> LIFE_SOURCE_SHIFT & LIFE_SOURCE_MASK;
}

/* Whether the backend is on this node, and sees the client's own address: its replies leave by node_egress. */
INLINE int is_local(__u32 life)
{
	return !source_of(life);
}

INLINE int is_unanswered(enum flow_state state)
{
	return state == FLOW_TCP_SYN || state == FLOW_TCP_SYN_ACK || state == FLOW_UDP_UNANSWERED ||
	       state == FLOW_SCTP_UNANSWERED;
}

INLINE int is_closed(enum flow_state state)
{
	return state >= FLOW_TCP_CLOSED_BY_CLIENT && state <= FLOW_TCP_RESET;
}

INLINE __u32 protocol_of(enum flow_state state)
{
	return state <= FLOW_TCP_RESET ? IPPROTO_TCP : state <= FLOW_UDP ? IPPROTO_UDP : IPPROTO_SCTP;
}

/* Whether a connection is over. Of one that is tunnelled only the client's FIN is seen. */
INLINE int is_over(__u32 life)
{
	enum flow_state state = state_of(life);

	return is_closed(state) || (life & LIFE_TUNNELLED && state == FLOW_TCP_CLIENT_FIN);
}

/* How long a flow may be idle, in ticks, as if it were in that state. */
INLINE __u32 timeout_of(__u32 life, enum flow_state state)
{
	/* So many answers are the whole conversation that only some flows of UDP and SCTP are worth the longer time. */
	if (life & LIFE_UNCONFIRMED && state == FLOW_UDP)
		state = FLOW_UDP_UNANSWERED;
	if (life & LIFE_UNCONFIRMED && state == FLOW_SCTP)
		state = FLOW_SCTP_UNANSWERED;
	if (life & LIFE_TUNNELLED) {
		/* What the backend's node keeps does not depend on it, and many a client has one packet to send. */
		if (is_unanswered(state))
			return config.timeouts[state % FLOW_STATES] / 4;
		if (state == FLOW_TCP_CLIENT_FIN)
			state = FLOW_TCP_CLOSED_BY_BACKEND;
	}
	return config.timeouts[state % FLOW_STATES];
}

/* The state that a new flow begins with. */
INLINE enum flow_state first_state(__u32 protocol)
{
	return protocol == IPPROTO_TCP ? FLOW_TCP_SYN : protocol == IPPROTO_UDP ? FLOW_UDP_UNANSWERED : FLOW_SCTP_UNANSWERED;
}

/*
 * The state after a packet. As a packet's place in the stream isn't checked, a reset only shortens
 * the time that the flow may be idle (RFC 5961's concern): one that goes on is kept. A FIN of a client
 * that has not acknowledged the backend's answer says nothing: who invents addresses must not come by
 * the long timeout of a connection that is half closed, nor out of the share of unanswered flows.
 */
GLOBAL __u32 next_state(enum flow_state state, __u32 tcp_flags, __u32 is_reply)
{
	if (state == FLOW_UDP_UNANSWERED)
		return is_reply ? FLOW_UDP : state;
	if (state == FLOW_SCTP_UNANSWERED)
		return is_reply ? FLOW_SCTP : state;
	if (state > FLOW_TCP_RESET)
		return state;
	if (tcp_flags & TCP_RST)
		return FLOW_TCP_RESET;
	if (!is_reply && state == FLOW_TCP_SYN)
		return state;
	if (!is_reply && state == FLOW_TCP_SYN_ACK) {
		if ((tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_ACK)
			return state;
		return tcp_flags & TCP_FIN ? FLOW_TCP_CLIENT_FIN : FLOW_TCP_ESTABLISHED;
	}
	/* The client's last acknowledgement: the backend has forgotten it now. */
	if (!is_reply && state == FLOW_TCP_CLOSED_BY_CLIENT && !(tcp_flags & (TCP_FIN | TCP_SYN)))
		return FLOW_TCP_RESET;
	if (tcp_flags & TCP_FIN) {
		if (state == FLOW_TCP_CLIENT_FIN)
			return is_reply ? FLOW_TCP_CLOSED_BY_CLIENT : state;
		if (state == FLOW_TCP_BACKEND_FIN)
			return is_reply ? state : FLOW_TCP_CLOSED_BY_BACKEND;
		if (state <= FLOW_TCP_ESTABLISHED)
			return is_reply ? FLOW_TCP_BACKEND_FIN : FLOW_TCP_CLIENT_FIN;
		return state;
	}
	if (state == FLOW_TCP_SYN && tcp_flags & TCP_SYN)
		return FLOW_TCP_SYN_ACK;
	return state;
}

/*
 * The same for a flow that is tunnelled, whose backend isn't heard: a second packet of the client, other
 * than one that begins a connection anew, shows that it was answered.
 */
GLOBAL __u32 next_tunnelled_state(enum flow_state state, __u32 tcp_flags, __u32 is_second)
{
	if (state == FLOW_UDP_UNANSWERED && is_second)
		return FLOW_UDP;
	if (state == FLOW_SCTP_UNANSWERED && is_second && !(tcp_flags & TCP_SYN))
		return FLOW_SCTP;
	if (state == FLOW_TCP_SYN && !(tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) && tcp_flags & TCP_ACK)
		return FLOW_TCP_ESTABLISHED;
	return next_state(state, tcp_flags, 0);
}

/* The result of the lookup of a packet's key. */
struct found {
	struct nat_flow *flow;
	__u32 index;
	__u32 generation;
	__u16 is_reply;
	__u16 is_new;  /* it was made for this packet */
	__u32 service; /* id of the one that a flow would have begun for; 0: it isn't known */
};

/* Whether its place is a flow's: not free, nor about to be. */
INLINE int is_alive(__u32 life)
{
	return state_of(life) != FLOW_FREE && state_of(life) != FLOW_DYING;
}

/* A backend's generation, as far as a flow's `life` has room for it. */
INLINE __u32 mark_of(__u32 generation)
{
	return (generation % 7 + 1) << LIFE_BACKEND_SHIFT;
}

/* Whether the flow's backend is there, and its id not another's by now. */
INLINE int has_backend(const struct nat_flow *flow, __u32 life)
{
	__u32 id = flow->backend_id, mark = life & LIFE_BACKEND_MASK;
	struct backend *backend = backend_by_id(id);

	return backend && backend->state != BACKEND_GONE && (!mark || mark == mark_of(backend->generation));
}

/* The two keys of a flow. */
INLINE void client_key(struct flow_key *key, const struct nat_flow *flow, __u32 protocol)
{
	copy_address(key->source, flow->client);
	copy_address(key->destination, flow->frontend);
	key->source_port = flow->client_port;
	key->destination_port = flow->frontend_port;
	key->protocol = protocol;
}

/* The key of what the client gets. */
INLINE void answer_key(struct flow_key *key, const struct nat_flow *flow, __u32 protocol)
{
	copy_address(key->source, flow->frontend);
	copy_address(key->destination, flow->client);
	key->source_port = flow->frontend_port;
	key->destination_port = flow->client_port;
	key->protocol = protocol;
}

/* Returns 0 if the source's address is unknown, which can't be. */
INLINE int reply_key(struct flow_key *key, const struct nat_flow *flow, __u32 life, __u32 protocol)
{
	__u32 index = source_of(life);
	struct nat_source *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(key->source, flow->backend);
	copy_address(key->destination, index ? source->address : flow->client);
	key->source_port = flow->backend_port;
	key->destination_port = flow->source_port;
	key->protocol = protocol;
	return 1;
}
