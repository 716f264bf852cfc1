/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Verdicts about packets that the node's stack delivers to a policed pod: the node's own, and those
 * that it forwards. Other programs may have decided about the latter. ctx/tc.h is included first.
 */
#pragma once

#include "portless.h"
#include "steps.h"

/*
 * Finds the connection of a packet that has the backend's address by now, by the tuple of its
 * replies.
 */
INLINE int find_translated(struct pkt_ctx *pkt)
{
	reverse_tuple(&pkt->to, &pkt->packet.tuple);
	if (!ct_lookup(&pkt->ct, &pkt->to) || !pkt->ct.is_reply)
		return 0;
	pkt->ct.is_reply = 0;
	return 1;
}

/*
 * Decides about a packet, of that kind, to a policed pod. A connection of the node itself gets an
 * entry, too, so that the pod may reply.
 */
INLINE enum verdict admit_step(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict;

	if (kind == PACKET_FRAGMENT && fragment_load_ports(packet))
		kind = PACKET_L4;
	if (!has_connection(kind))
		return policy_judge_portless(ctx, pkt, kind);
	verdict = conntrack_step(ctx, pkt);
	if (verdict == V_NEW && find_translated(pkt))
		return review_step(ctx, pkt);
	if (verdict == V_NEW) {
		verdict = judge_direct(ctx, pkt);
		if (verdict == V_OK)
			verdict = create_step(pkt);
	}
	if (verdict == V_OK && pkt->ct.entry &&
	    ct_is_direct(pkt->ct.entry, pkt->ct.entry->state_word)) {
		/* Others have passed another program, which counts them. */
		if (config.visibility && is_from_node(packet->tuple.source))
			ct_count(ctx, packet, reference_of(&pkt->ct));
		ct_update(ctx, packet, &pkt->ct, pkt->ct.entry->state_word);
	}
	return verdict == V_PASS ? V_OK : verdict;
}
