/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets from elsewhere to a pod of this node that are for no service. They go to the pod past
 * the stack, unless netfilter tracks connections and so must see both directions.
 */
#pragma once

#include "deliver.h"
#include "lib/source.h"
#include "policy/portless.h"
#include "steps.h"
#include "tc/reply.h"
#include "tc/translate.h"

/*
 * Returns V_OK if a packet is to be delivered to a pod of this node past the stack, V_PASS if the
 * stack is to see it, or the reason for a drop: no packet from elsewhere comes from a pod of this
 * node.
 */
GLOBAL enum verdict check_arrival(const struct packet *packet)
{
	struct ct_table *table = get_ct_table();

	if (!packet || !table || !find_local_pod(packet->tuple.destination))
		return V_PASS;
	/* The stack knows what to do with sources that no packet should have. */
	if (table->nf_tracked || is_martian(packet))
		return V_PASS;
	return find_local_pod(packet->tuple.source) ? V_DROP(DROP_INVALID_SOURCE) : V_OK;
}

/*
 * Delivers a packet with ports that nothing translates to the pod of this node that has its
 * destination. Returns NEXT if there is none, or if the packet needs the complete lookups.
 */
INLINE int deliver_plain(context *ctx, struct packet *packet)
{
	enum verdict verdict = is_plain(packet) ? check_arrival(packet) : V_PASS;

	if (verdict == V_PASS)
		return NEXT;
	return verdict == V_OK ? deliver_to_pod(ctx, packet) : drop(ctx, packet, verdict);
}

/*
 * Notes whether network policies select the pod of this node that an arriving packet is for.
 * Returns V_OK, or a drop reason if the packet's source is this node or a pod of it: an entry of
 * the conntrack table could have that source.
 */
GLOBAL enum verdict check_policed(struct packet *packet)
{
	struct pod *pod;

	if (!packet)
		return V_DROP(DROP_INVALID);
	pod = find_local_pod(packet->tuple.destination);
	if (!pod || !has_subject(pod))
		return V_OK;
	packet->policed = 1;
	return find_local_pod(packet->tuple.source) ||
			       is_address_of_node(
				       (const struct address_key *)packet->tuple.source) ?
		       V_DROP(DROP_INVALID_SOURCE) :
		       V_OK;
}

/*
 * Delivers a packet of that kind to the pod of this node that has its destination, if there is one.
 * The pod may be a client of a service that gets a reply.
 */
INLINE int deliver_arrival(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict = check_arrival(packet);
	int outcome;

	if (verdict != V_OK)
		return verdict == V_PASS ? NEXT : drop(ctx, packet, verdict);
	outcome = translate_for_client(ctx, packet, kind, &pkt->ct, &pkt->to);
	return outcome == NEXT ? deliver_to_pod(ctx, packet) : outcome;
}

/* Delivers a packet of that kind, which belongs to no connection, to a policed pod. */
INLINE int deliver_portless(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	int outcome = end_unless_allowed(ctx, pkt, kind);

	return outcome == NEXT ? deliver_arrival(ctx, pkt, kind) : outcome;
}
