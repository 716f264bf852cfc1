/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions limit what a pod sends. ctx/tc.h is included first. */
#pragma once

#include "lib/packet.h"
#include "local.h"
#include "rate.h"

/* A packet that would wait longer for its departure is dropped, as fq does beyond its horizon. */
#define RATE_HORIZON_NS (2 * SECOND_NS)

/* Gives a packet its departure time. */
INLINE enum verdict pace(context *ctx, struct rate *rate)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 due = add_to_rate(rate, now, ctx->len, RATE_HORIZON_NS);

	if (!due)
		return V_DROP(DROP_HORIZON);
	if (due > now && bpf_skb_set_tstamp(ctx, due, BPF_SKB_TSTAMP_DELIVERY_MONO))
		return V_DROP(DROP_WRITE);
	return V_OK;
}

/* Limits what a pod sends, by the number of its limits. No queue delays packets within the node. */
INLINE enum verdict limit_egress(context *ctx, __u32 number, const struct packet *packet)
{
	struct pod_rates *rates = find_rates(number);

	if (!rates)
		return V_OK;
	if (!rates->is_paced)
		return police(ctx, &rates->egress);
	return find_local_pod(packet->tuple.destination) ? police(ctx, &rates->local) :
							   pace(ctx, &rates->egress);
}
