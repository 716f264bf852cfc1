/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets of a pod that are for no service: their way out. The stack forwards those that need an
 * ICMP error or are to be fragmented, and all where netfilter tracks connections.
 */
#pragma once

#include "masquerade.h"
#include "recent.h"
#include "tc/forward.h"
#include "tc/kind.h"
#include "tc/reply.h"
#include "tc/translate.h"

/*
 * Forwards a packet that nothing translates, and that no network policy has to decide about, by the
 * route of a recent one. Returns NEXT if it needs the complete lookups.
 */
INLINE int forward_like_recent(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;

	if (!recent_route_lookup(ctx, packet, &pkt->route))
		return NEXT;
	if (route_frame(ctx, packet, pkt->route.dmac, pkt->route.smac))
		return drop(ctx, packet, DROP_WRITE);
	/* node_egress has nothing to translate. */
	ctx->tc_index = TC_INDEX_TRANSLATED;
	packet->is_last_seen = 1;
	return redirect_out(ctx, packet, &pkt->route);
}

/*
 * Returns the interface of the pod of this node that a packet is for, or 0. Notes whether network
 * policies select the pod.
 */
NOINLINE __u32 receiver_interface(struct packet *packet)
{
	struct pod *pod = find_local_pod(packet->tuple.destination);

	if (!pod)
		return 0;
	if (has_subject(pod))
		packet->policed = 1;
	return pod->ifindex;
}

/*
 * Sends a packet of a connection as decided, or ends it. The stack reports to the sender that a TTL
 * is exceeded.
 */
INLINE int end_connection(context *ctx, struct pkt_ctx *pkt, enum verdict verdict)
{
	if (verdict == V_DROP(DROP_TTL) && pkt->packet.judged && !pkt->lb.role)
		return NEXT;
	return translate_packet(ctx, pkt, verdict);
}

/* Ends a packet that masquerade_step() has not let pass, or sends it. */
INLINE int end_masqueraded(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind,
			   enum verdict verdict)
{
	struct ct_entry *entry = pkt->ct.entry;

	/* The stack reports to the sender that a TTL is exceeded. */
	if (verdict == V_DROP(DROP_TTL))
		return NEXT;
	/* No error is sent about an error. */
	if (kind == PACKET_ICMP_ERROR)
		return drop(ctx, &pkt->packet, verdict);
	/* Linux 6.1 does not see that a packet to be sent has an entry. */
	barrier_var(entry);
	if (verdict != V_OK || !entry)
		return reply_to_drop(ctx, &pkt->packet, verdict, pkt->route.mtu, 0);
	return translate_packet(ctx, pkt, V_OK);
}

/* Sends a packet of that kind to the outside, masqueraded or as it is, by the kernel's routes. */
INLINE int route_departure(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	/* A packet with ports that keeps its addresses by now is not masqueraded. */
	enum verdict verdict =
		packet->judged && has_connection(kind) ? V_PASS : masquerade_step(ctx, pkt, kind);

	if (verdict != V_PASS)
		return end_masqueraded(ctx, pkt, kind, verdict);
	__builtin_memset(&pkt->route, 0, sizeof(pkt->route));
	packet->is_last_seen = 1;
	if (route_lookup(ctx, packet, &packet->tuple, &pkt->route) != V_OK ||
	    pkt->route.result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT;
	if (kind == PACKET_L4 && !packet->policed && is_plain(packet))
		flow_cache_insert(ctx, packet, PLAIN_ROUTE, &pkt->route);
	/* A neighbour that is not resolved yet has no link address; the kernel then writes both. */
	if (route_frame(ctx, packet, pkt->route.dmac, pkt->route.smac))
		return drop(ctx, packet, DROP_WRITE);
	return forward(ctx, packet, &pkt->route);
}

/*
 * Sends a packet of that kind to the pod of this node at an interface. The pod may be a client that
 * gets a backend's reply, and knows the service's address only. Replies to others are translated
 * where they leave the node.
 */
INLINE int send_to_local_pod(context *ctx, struct pkt_ctx *pkt, __u32 ifindex,
			     enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	int outcome;

	if (needs_host_stack(ifindex_of(ctx), ifindex))
		return NEXT;
	outcome = translate_for_client(ctx, packet, kind, &pkt->ct, &pkt->to);
	return outcome == NEXT ? deliver_to_pod(ctx, packet) : outcome;
}
