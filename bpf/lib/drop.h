/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A drop has a reason, is counted, and is written to a ring buffer while it has a reader. */
#pragma once

#include "ct/entry.h"
#include "policy/verdict.h"

/*
 * This is a function so that the object's BTF has the struct, from which the bindings are
 * generated.
 */
NOINLINE long report_drop(const struct drop_event *event)
{
	return bpf_ringbuf_output(&drop_events, event, sizeof(*event), 0);
}

/* The verdict of a network policy has more than the reason; see policy/verdict.h. */
GLOBAL int drop(context *ctx, const struct packet *packet, __u32 verdict)
{
	struct ct_table *table = get_ct_table();
	__u32 key = verdict & DENIED_REASON_MASK;
	__u64 *count = bpf_map_lookup_elem(&drops, &key);

	if (count)
		(*count)++;
	/* A drop without its packet is counted only. */
	if (packet && table && table->watched & WATCHED_DROPS) {
		struct drop_event event = {
			.tuple = packet->tuple,
			.reason = verdict & DENIED_REASON_MASK,
			.ifindex = ifindex_of(ctx),
			.length = frame_length(ctx),
			.rule = denied_rule(verdict),
			.direction = verdict & DENIED_INGRESS ? POLICY_INGRESS : POLICY_EGRESS,
		};

		report_drop(&event);
	}
	return DROP;
}
