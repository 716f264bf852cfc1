/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets of policed pods that belong to no connection: those of protocols without ports, and ICMP
 * errors. Each is judged for itself. ctx/tc.h is included first.
 */
#pragma once

#include "ct/lookup.h"
#include "judge.h"
#include "lib/later_fragment.h"
#include "steps.h"
#include "tc/forward.h"
#include "tc/kind.h"

/*
 * Returns 1 if an ICMP error is about a packet of a known connection, and goes to its sender. The
 * stack has no room for two packets, so `packet` is the quoted one meanwhile, and is parsed again
 * afterwards; `tuple` is lent by the caller.
 */
GLOBAL int policy_knows_error(context *ctx, struct packet *packet, struct tuple *tuple)
{
	struct ct_window *window;
	__u32 network, index;
	__u64 slot;
	int kind;

	if (!packet || !tuple || packet->fragment)
		return 0;
	network = packet->network;
	index = packet->transport + 8;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = parse_packet(ctx, index, packet);
	reverse_tuple(tuple, &packet->tuple);
	__builtin_memset(packet, 0, sizeof(*packet));
	parse_packet(ctx, network, packet);
	packet->policed = 1;
	if (kind != PACKET_L4 && kind != PACKET_TRUNCATED && kind != PACKET_ICMP_ECHO)
		return 0;
	if (!same_address(packet->tuple.destination, tuple->destination))
		return 0;
	slot = ct_find_slot(tuple);
	index = (__u32)slot / 2;
	window = slot ? bpf_map_lookup_elem(&nat_windows, &index) : 0;
	return window && !window->denied;
}

/* Decides about a packet of that kind without a connection, by its own direction. */
INLINE enum verdict policy_judge_portless(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict = V_OK;

	if (kind == PACKET_FRAGMENT)
		return V_DROP(DROP_FRAGMENT);
	if (kind == PACKET_INVALID || kind == PACKET_TRUNCATED)
		return V_DROP(DROP_INVALID);
	if (kind == PACKET_EXTENSIONS)
		return V_DROP(DROP_EXTENSION_HEADER);
	if (kind != PACKET_ICMP_ERROR || !policy_knows_error(ctx, packet, &pkt->to))
		verdict = policy_judge(ctx, &packet->tuple, &pkt->lb.policy, 1);
	if (verdict == V_OK)
		packet->judged = 1;
	return verdict;
}

/*
 * Ends a packet of a policed pod, of that kind, that belongs to no connection, if it is denied or
 * invalid. Returns NEXT if it is to go on. No error is sent about an error.
 */
INLINE int end_unless_allowed(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	enum verdict verdict = policy_judge_portless(ctx, pkt, kind);
	int outcome = kind == PACKET_FRAGMENT ? requeue_fragment(ctx) : 0;

	if (outcome)
		return outcome;
	if (verdict == V_OK)
		return NEXT;
	return kind == PACKET_PROTOCOL ? reply_to_drop(ctx, &pkt->packet, verdict, 0, 0) :
					 drop(ctx, &pkt->packet, verdict);
}
