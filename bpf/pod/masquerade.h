/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Masquerading: a destination outside sees an address of this node instead of a pod's, because it
 * has no route to pods. The pod's connection gets a conntrack entry without a backend, and an SNAT
 * port towards the destination. Replies return through node_ingress. Netfilter sees neither
 * direction. ctx/tc.h is included first.
 */
#pragma once

#include "steps.h"
#include "tc/kind.h"

/*
 * Decides about a packet with ports that belongs to no connection. An echo reply is about a request
 * to the pod's own address, and so keeps that address. `pkt->route` is known.
 */
INLINE enum verdict masquerade_new(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict;

	if (!may_start_flow(packet))
		return is_icmp(packet) ? V_PASS : V_DROP(DROP_NO_FLOW);
	verdict = check_ip_checksum(ctx, packet);
	if (verdict != V_OK)
		return verdict;
	pkt->to = packet->tuple;
	pkt->ct.is_reply = 0;
	verdict = judge_step(ctx, pkt);
	if (verdict == V_OK)
		verdict = create_step(pkt);
	return verdict == V_OK ? translate_step(ctx, pkt) : verdict;
}

/*
 * Decides about a pod's packet to the outside, of that kind, that is not in the flow cache: finds
 * or creates its conntrack entry, and computes its new tuple and its route. Returns V_PASS if it
 * keeps the pod's address. ICMP errors about masqueraded packets have been translated before, so
 * others are about nothing that the destination has sent.
 */
INLINE enum verdict masquerade_step(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	int has_ports = has_connection(kind);
	enum verdict known = has_ports ? conntrack_step(ctx, pkt) : V_NEW, verdict;

	/* An existing connection keeps its addresses. node_egress translates replies to clients. */
	if (known == V_OK)
		return pkt->ct.is_reply || is_only_observed(pkt) ? V_PASS :
								   translate_step(ctx, pkt);
	if (!is_masqueraded(pkt->packet.tuple.destination))
		return V_PASS;
	verdict = route_lookup_masquerade(ctx, &pkt->packet, &pkt->route, &pkt->lb);
	if (verdict != V_OK)
		return verdict;
	if (has_ports)
		return known == V_NEW ? masquerade_new(ctx, pkt) : known;
	return kind == PACKET_FRAGMENT	 ? V_DROP(DROP_FRAGMENT) :
	       kind == PACKET_ICMP_ERROR ? V_DROP(DROP_NO_FLOW) :
					   V_DROP(DROP_MASQUERADE_PROTOCOL);
}
