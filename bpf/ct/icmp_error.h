/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions translate ICMP errors about translated packets. */
#pragma once

#include "lib/rewrite.h"
#include "lookup.h"
#include "tunnel/encap.h"

/*
 * Translates the ICMP error at offset `at` for the sender of the packet that it is about: rewrites
 * the quoted packet to the addresses that the sender knows, and computes the tuple `to` of the
 * error itself. `inner` is all zero before, and becomes the quoted packet. The error's source
 * becomes the address that the sender knows of the other side, because it may not know the
 * router's, and a router on both sides would treat the router's as spoofed (RFC 5508, REQ-5).
 *
 * Returns V_OK, V_DROP(DROP_WRITE), or V_PASS if the error is about something else. Returns
 * V_TUNNEL if the sender is a backend on another node; then nothing is rewritten, and `to` is the
 * outer tuple of the tunnel to that node.
 */
GLOBAL enum verdict icmp_translate_quoted(context *ctx, __u32 at, struct packet *inner,
					  struct tuple *to)
{
	struct ct_result ct = {};
	struct tuple inner_to;
	__u32 state_word;
	int kind;

	if (!inner || !to)
		return V_PASS;
	kind = parse_packet(ctx, at + 8, inner);
	if (kind != PACKET_L4 && kind != PACKET_TRUNCATED && kind != PACKET_ICMP_ECHO)
		return V_PASS;
	reverse_tuple(&inner_to, &inner->tuple);
	if (!ct_lookup(&ct, &inner_to))
		return V_PASS;
	state_word = ct.entry->state_word;
	inner->past_stack = ct_is_masqueraded(ct.entry, state_word);
	if (ct.is_reply) {
		/* The quoted packet went to the backend. */
		ct_original_tuple(&inner_to, ct.entry, inner->tuple.protocol);
		copy_address(to->destination, ct.entry->client);
		/* A pod knows the world's routers, and traceroute shows them. */
		if (ct.entry->backend_id)
			copy_address(to->source, ct.entry->frontend);
	} else if (state_word & CT_TUNNELLED) {
		return tunnel_tuple(to, ct.entry, inner->ipv4) ? V_TUNNEL : V_PASS;
	} else {
		if (!ct_reply_tuple(&inner_to, ct.entry, state_word, inner->tuple.protocol))
			return V_PASS;
		copy_address(to->destination, ct.entry->backend);
		if (ct_snat_index(state_word))
			copy_address(to->source, inner_to.destination);
	}
	return rewrite_inner(ctx, at, inner, &inner_to) ? V_DROP(DROP_WRITE) : V_OK;
}

/*
 * Translates the packet that an ICMP error quotes; see icmp_translate_quoted(). `to` becomes the
 * tuple of the error. The stack has no room for two packets, so `packet` is parsed again
 * afterwards.
 */
INLINE enum verdict icmp_translate_inner(context *ctx, struct packet *packet, struct tuple *to)
{
	__u32 network = packet->network, transport = packet->transport, backend = packet->backend;
	int past_stack, policed = packet->policed, judged = packet->judged;
	enum verdict verdict;

	*to = packet->tuple;
	if (packet->fragment)
		return V_PASS;
	__builtin_memset(packet, 0, sizeof(*packet));
	verdict = icmp_translate_quoted(ctx, transport, packet, to);
	past_stack = packet->past_stack;
	__builtin_memset(packet, 0, sizeof(*packet));
	parse_packet(ctx, network, packet);
	packet->backend = backend;
	packet->past_stack = past_stack;
	packet->policed = policed;
	packet->judged = judged;
	return verdict;
}
