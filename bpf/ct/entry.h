/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions read the state and the tuples of a conntrack entry. */
#pragma once

#include "lb/select.h"
#include "lib/packet.h"
#include "maps.h"

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

/* Returns the time in ticks. The coarse clock is precise enough. */
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

/*
 * Returns 1 if the backend sees the client's own address: it is on this node, and its replies leave
 * by node_egress.
 */
INLINE int ct_is_local(__u32 state_word)
{
	return !ct_snat_index(state_word);
}

INLINE int ct_state_is_closed(enum ct_state state)
{
	return state >= CT_TCP_CLOSED_BY_CLIENT && state <= CT_TCP_RESET;
}

INLINE __u32 ct_protocol(const struct ct_entry *entry, __u32 state_word)
{
	enum ct_state state = ct_state_of(state_word);

	if (state >= CT_ICMP_UNANSWERED)
		return is_mapped(entry->client) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return state <= CT_TCP_RESET ? IPPROTO_TCP : state <= CT_UDP ? IPPROTO_UDP : IPPROTO_SCTP;
}

/*
 * Returns 1 if the connection is closed. Of a tunnelled connection only the client's FIN is seen.
 */
INLINE int ct_is_closed(__u32 state_word)
{
	enum ct_state state = ct_state_of(state_word);

	return ct_state_is_closed(state) ||
	       (state_word & CT_TUNNELLED && state == CT_TCP_CLIENT_FIN);
}

/* Returns the state of a new entry for a packet. */
INLINE enum ct_state ct_initial_state(const struct packet *packet)
{
	__u32 protocol = packet->tuple.protocol;

	if (protocol == IPPROTO_TCP && !starts_connection(packet))
		return CT_TCP_ESTABLISHED;
	return protocol == IPPROTO_TCP	? CT_TCP_SYN :
	       protocol == IPPROTO_UDP	? CT_UDP_UNANSWERED :
	       protocol == IPPROTO_SCTP ? CT_SCTP_UNANSWERED :
					  CT_ICMP_UNANSWERED;
}

/*
 * Returns the state after a packet. A reset only shortens the idle timeout (RFC 5961), so that a
 * connection survives a forged one if it continues. A FIN is ignored until the client has
 * acknowledged the backend's SYN: a client with a spoofed address must not get the long timeout of
 * a half-closed connection, nor leave the limit of unconfirmed entries.
 */
GLOBAL __u32 ct_next_state(enum ct_state state, __u32 tcp_flags, __u32 is_reply)
{
	if (state == CT_UDP_UNANSWERED)
		return is_reply ? CT_UDP : state;
	if (state == CT_SCTP_UNANSWERED)
		return is_reply ? CT_SCTP : state;
	if (state == CT_ICMP_UNANSWERED)
		return is_reply ? CT_ICMP : state;
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
	/* This is the client's last ACK: the backend forgets the connection now. */
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
 * Returns the state of a tunnelled connection after a packet of the client. The backend's packets
 * are not seen, but a second packet of the client shows that the backend has answered, unless it
 * starts the connection again.
 */
GLOBAL __u32 ct_next_state_tunnelled(enum ct_state state, __u32 tcp_flags, __u32 is_second)
{
	if (state == CT_UDP_UNANSWERED && is_second)
		return CT_UDP;
	if (state == CT_SCTP_UNANSWERED && is_second && !(tcp_flags & TCP_SYN))
		return CT_SCTP;
	if (state == CT_TCP_SYN && !(tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	    tcp_flags & TCP_ACK)
		return CT_TCP_ESTABLISHED;
	return ct_next_state(state, tcp_flags, 0);
}

/* The entry of a packet is found in one of these ways. */
enum ct_origin {
	CT_FOUND = 0,
	CT_CACHED = 1,	/* The flow cache had it, with the route. */
	CT_CREATED = 2, /* It was created for this packet. */
};

/* This is the entry that a packet belongs to. */
struct ct_result {
	struct ct_entry *entry;
	__u32 index;
	__u16 generation; /* of the backend, when the tuple was inserted */
	__u8 is_reply;
	__u8 origin; /* enum ct_origin */
};

/* Returns the reference to the entry, as in a slot of nat_index. */
INLINE __u32 reference_of(const struct ct_result *ct)
{
	return ct->index * 2 + ct->is_reply;
}

/* Returns 1 if the entry is in use. */
INLINE int ct_is_live(__u32 state_word)
{
	return ct_state_of(state_word) != CT_FREE && ct_state_of(state_word) != CT_DYING;
}

/* Returns the part of a backend's generation that the state word has room for. */
INLINE __u32 ct_backend_gen(__u32 generation)
{
	return (generation % 7 + 1) << CT_BACKEND_GEN_SHIFT;
}

/*
 * Returns 1 if the connection is masqueraded: no backend was selected, and the destination sees an
 * address of this node.
 */
INLINE int ct_is_masqueraded(const struct ct_entry *entry, __u32 state_word)
{
	return !entry->backend_id && ct_snat_index(state_word);
}

/*
 * Returns 1 if the connection keeps all addresses: it is of a pod that network policies select, or
 * of another pod whose connections are observed.
 */
INLINE int ct_is_direct(const struct ct_entry *entry, __u32 state_word)
{
	return !entry->backend_id && !ct_snat_index(state_word);
}

/*
 * Returns 1 if the entry's backend exists, and its id has not been given to another one. The
 * destination of a connection without a backend is never removed.
 */
INLINE int ct_has_backend(const struct ct_entry *entry, __u32 state_word)
{
	__u32 id = entry->backend_id, mark = state_word & CT_BACKEND_GEN_MASK;
	struct backend *backend = backend_by_id(id);

	if (!id)
		return 1;
	return backend && backend->state != BACKEND_GONE &&
	       (!mark || mark == ct_backend_gen(backend->generation));
}

/* Computes the tuple of packets from the client. */
INLINE void ct_original_tuple(struct tuple *tuple, const struct ct_entry *entry, __u32 protocol)
{
	copy_address(tuple->source, entry->client);
	copy_address(tuple->destination, entry->frontend);
	tuple->source_port = entry->client_port;
	tuple->destination_port = entry->frontend_port;
	tuple->protocol = protocol;
}

/* Computes the tuple of packets to the client. */
INLINE void ct_rev_nat_tuple(struct tuple *tuple, const struct ct_entry *entry, __u32 protocol)
{
	copy_address(tuple->source, entry->frontend);
	copy_address(tuple->destination, entry->client);
	tuple->source_port = entry->frontend_port;
	tuple->destination_port = entry->client_port;
	tuple->protocol = protocol;
}

/*
 * Computes the tuple of packets from the backend. Returns 0 if the index of the SNAT address is
 * invalid, which cannot happen: it was valid when the entry was created.
 */
INLINE int ct_reply_tuple(struct tuple *tuple, const struct ct_entry *entry, __u32 state_word,
			  __u32 protocol)
{
	__u32 index = ct_snat_index(state_word);
	struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(tuple->source, entry->backend);
	copy_address(tuple->destination, index ? source->address : entry->client);
	tuple->source_port = entry->backend_port;
	tuple->destination_port = entry->source_port;
	tuple->protocol = protocol;
	return 1;
}

/*
 * Replaces the source of a packet to the backend by the SNAT address and port, if the connection
 * has them.
 */
INLINE void ct_snat_tuple(struct tuple *to, const struct ct_entry *entry)
{
	__u32 index = ct_snat_index(entry->state_word);
	struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (index && source)
		copy_address(to->source, source->address);
	to->source_port = entry->source_port;
}
