/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Limits of what a pod sends and receives. A limit knows the time at which everything that has
 * passed is sent at its rate. What a pod sends to the world gets that time as its departure time,
 * and fq at the external interface keeps it until then. Without fq, and between pods of the node,
 * a packet passes if that time is near, and is dropped otherwise. ctx/tc.h is included first.
 */
#pragma once

#include "lib/verdict.h"
#include "maps.h"

#define SECOND_NS 1000000000ULL
/* A packet that would wait longer for its departure is dropped, as fq drops it (its horizon is 10
 * s). */
#define RATE_HORIZON_NS (2 * SECOND_NS)
/* So much of its time may a limit that drops be ahead: the burst. */
#define RATE_BURST_NS (SECOND_NS / 20)
/* Attempts of a packet to add itself to a limit that packets of other CPUs use, too. */
#define RATE_ATTEMPTS 4

/*
 * Adds a packet to a limit unless the limit is more than `most` ahead. Returns the time at which
 * the packet is due, or 0 if it is too much. When packets of other CPUs always come first, the
 * packet is due but not added.
 */
INLINE __u64 add_to_rate(struct rate *rate, __u64 now, __u64 length, __u64 most)
{
	__u64 bytes_per_second = rate->bytes_per_second, due = now, duration;

	if (!bytes_per_second)
		return now;
	duration = length * SECOND_NS / bytes_per_second;
	for (int i = 0; i < RATE_ATTEMPTS; i++) {
		__u64 next = *(volatile __u64 *)&rate->next;

		due = next > now ? next : now;
		if (due - now > most)
			return 0;
		if (__sync_val_compare_and_swap(&rate->next, next, due + duration) == next)
			return due;
	}
	return due;
}

/* Drops what exceeds a limit. A packet that is soon too much is marked instead, if its flow has
 * ECN. */
INLINE enum verdict police(context *ctx, struct rate *rate)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 due = add_to_rate(rate, now, ctx->len, RATE_BURST_NS);

	if (!due)
		return V_DROP(DROP_RATE_LIMITED);
	if (due - now > RATE_BURST_NS / 2)
		bpf_skb_ecn_set_ce(ctx);
	return V_OK;
}

INLINE struct pod_rates *find_rates(__u32 number)
{
	return number ? bpf_map_lookup_elem(&pod_rates, &number) : 0;
}

/* Limits what a pod receives, by the number of its limits. */
INLINE enum verdict limit_ingress(context *ctx, __u32 number)
{
	struct pod_rates *rates = find_rates(number);

	return rates ? police(ctx, &rates->ingress) : V_OK;
}
