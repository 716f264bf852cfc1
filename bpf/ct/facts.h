/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions write facts about connections for those who observe them. */
#pragma once

#include "dns/copy.h"
#include "entry.h"

INLINE struct ct_facts *ct_facts_at(__u32 index)
{
	return bpf_map_lookup_elem(&nat_facts, &index);
}

/* Clears the facts about an earlier connection at the same index. */
INLINE void ct_begin_facts(__u32 index)
{
	struct ct_facts *facts = config.visibility ? ct_facts_at(index) : 0;

	if (!facts)
		return;
	__builtin_memset(facts, 0, sizeof(*facts));
	facts->created = bpf_ktime_get_coarse_ns();
}

/*
 * Adds packets, and the bytes of their frames, to those of the entry that a reference names. Returns
 * 1 if the client's socket is to be looked up: it never was, or not in this tick if `is_reusable`.
 */
GLOBAL int ct_add_packets(__u32 reference, __u32 packets, __u32 bytes, int is_reusable)
{
	struct ct_facts *facts = ct_facts_at(reference / 2);
	__u32 tick;

	if (!facts)
		return 0;
	__sync_fetch_and_add(&facts->packets[reference & 1], packets);
	__sync_fetch_and_add(&facts->bytes[reference & 1], bytes);
	if (facts->checked && (!is_reusable || reference & 1))
		return 0;
	tick = FRONTEND_CHECKED | now_ticks();
	if (facts->checked == tick)
		return 0;
	facts->checked = tick;
	return 1;
}

/*
 * Counts a packet of the entry that a reference names. One that will be segmented counts as its
 * segments, each with headers of its own. Each packet passes one call of this function on the node.
 * Returns 1 if the client's socket is to be looked up.
 */
INLINE int ct_count(context *ctx, const struct packet *packet, __u32 reference)
{
	__u32 segments = segment_count(ctx);

	if (!config.visibility)
		return 0;
	if (HOOK_JUDGES)
		dns_copy(ctx, packet, reference);
	return ct_add_packets(
		reference, segments,
		frame_length(ctx) + (segments - 1) * (packet->transport + packet->transport_length),
		packet->tuple.protocol == IPPROTO_UDP);
}
