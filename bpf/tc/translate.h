/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions translate packets to services, and to clients of services. */
#pragma once

#include "ct/asked.h"
#include "ct/icmp_error.h"
#include "forward.h"
#include "lib/later_fragment.h"
#include "reply.h"

/* Ends the entry of a client that sends to a backend directly now. */
INLINE void end_for_direct(const struct packet *packet)
{
	if (may_start_flow(packet) &&
	    reply_filter_hit(packet->tuple.destination, packet->tuple.destination_port))
		ct_end_for_direct(packet);
}

/* Translates and forwards a packet with ports as decided, or ends it. */
INLINE int translate_packet(context *ctx, struct pkt_ctx *pkt, enum verdict verdict)
{
	struct packet *packet = &pkt->packet;

	if (verdict != V_OK)
		return reply_to_drop(ctx, packet, verdict, pkt->route.mtu - pkt->route.overhead,
				     pkt->lb.service);
	cache_step(ctx, pkt);
	if (packet->fragment == FRAGMENT_FIRST)
		drop_early_fragments(ctx, packet);
	ct_observe(ctx, packet, reference_of(&pkt->ct));
	ct_update(ctx, packet, &pkt->ct, pkt->ct.entry->state_word);
	return send_translated(ctx, pkt);
}

/* Translates an ICMP error. Returns V_PASS if it is about no packet that was translated. */
INLINE enum verdict icmp_error_step(context *ctx, struct pkt_ctx *pkt)
{
	enum verdict verdict = icmp_translate_inner(ctx, &pkt->packet, &pkt->to);

	/* An error about a known connection passes. */
	if (verdict != V_PASS)
		pkt->packet.judged = 1;
	if (verdict == V_TUNNEL)
		return tunnel_route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route);
	return verdict == V_OK ? route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route) : verdict;
}

/* Ends a packet without ports to an address that services have but not the node. */
INLINE int handle_service_address(context *ctx, struct packet *packet, enum packet_kind kind)
{
	enum verdict verdict;

	switch (kind) {
	case PACKET_ICMP_ECHO:
		verdict = check_new_packet(ctx, packet);
		if (verdict != V_OK)
			return drop(ctx, packet, verdict);
		return packet->fragment ? drop(ctx, packet, DROP_FRAGMENT) :
					  reply_icmp_echo(ctx, packet);
	case PACKET_FRAGMENT:
		return drop(ctx, packet, DROP_FRAGMENT);
	case PACKET_INVALID:
	case PACKET_TRUNCATED:
		return drop(ctx, packet, DROP_INVALID);
	case PACKET_EXTENSIONS:
		return drop(ctx, packet, DROP_EXTENSION_HEADER);
	default:
		return drop(ctx, packet, DROP_PROTOCOL);
	}
}

/*
 * Ends a packet of that kind, without ports, to an address that the node or services have, once
 * nothing has translated it. What is for the node's own address goes to the stack.
 */
INLINE int end_at_address(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;

	if (kind == PACKET_FRAGMENT) {
		int outcome = requeue_fragment(ctx);

		if (outcome)
			return outcome;
	}
	if (pkt->lb.role & ADDRESS_NODE) {
		if (kind == PACKET_FRAGMENT)
			note_early_fragment(packet);
		return NEXT;
	}
	return handle_service_address(ctx, packet, kind);
}
