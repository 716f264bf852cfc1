/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions translate packets to services, and to clients of services. */
#pragma once

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
	ct_update(ctx, packet, &pkt->ct, pkt->ct.entry->state_word);
	return send_translated(ctx, pkt);
}

/*
 * Ends a packet of a policed pod that belongs to no connection and is denied or invalid. No error
 * is sent about an error.
 */
INLINE int end_portless(context *ctx, const struct packet *packet, enum packet_kind kind,
			enum verdict verdict)
{
	return kind == PACKET_PROTOCOL ? reply_to_drop(ctx, packet, verdict, 0, 0) :
					 drop(ctx, packet, verdict);
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
