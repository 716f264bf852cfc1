/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions recognize UDP of the node's own stack. Its sockets and its masquerading may use
 * an address and port that a service has, too. Such datagrams are noted when they leave, so that
 * their replies go to the stack.
 */
#pragma once

#include "lookup.h"

/* A reply is expected for 180 s. Netfilter waits 120 s (nf_conntrack_udp_timeout_stream). */
#define HOST_REPLY_TICKS 168

/* Notes a UDP datagram that leaves the node and belongs to no conntrack entry. */
GLOBAL int note_host_datagram(const struct packet *packet)
{
	struct tuple reply;
	struct ct_result ct = {};
	__u32 *role, now = now_ticks();

	if (!packet || packet->tuple.protocol != IPPROTO_UDP)
		return 0;
	reverse_tuple(&reply, &packet->tuple);
	role = bpf_map_lookup_elem(&addresses, reply.destination);
	/*
	 * A datagram to the client of an entry, which leaves by another interface than it arrived
	 * on, is Heddle's.
	 */
	if (role && *role & ADDRESS_NODE && !ct_lookup(&ct, &reply))
		bpf_map_update_elem(&stack_answers, &reply, &now, BPF_ANY);
	return 0;
}

/* Returns 1 if a packet to the node's address is a reply to a datagram of the stack. */
GLOBAL int is_host_reply(const struct packet *packet)
{
	struct tuple tuple;
	__u32 *sent;

	if (!packet || packet->tuple.protocol != IPPROTO_UDP)
		return 0;
	/*
	 * Before Linux 6.2 a map's key must be on the stack; memory that a global function gets is
	 * refused.
	 */
	tuple = packet->tuple;
	sent = bpf_map_lookup_elem(&stack_answers, &tuple);
	return sent && ((now_ticks() - *sent) & CT_SEEN_MASK) < HOST_REPLY_TICKS;
}
