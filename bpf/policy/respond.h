/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The response to the sender of a packet that network policies deny. ctx/tc.h is included first. */
#pragma once

#include "lib/icmp.h"
#include "state.h"
#include "verdict.h"

/* Returns how the sender of a packet with a verdict that denies it is informed. */
INLINE __u32 denied_response(__u32 verdict)
{
	__u32 response = verdict >> DENIED_RESPONSE_SHIFT & DENIED_RESPONSE_MASK;
	struct policy_state *state;

	if (response)
		return response - 1;
	state = get_policy_state();
	return state ? state->deny_response : DENY_SILENT;
}

/* Informs the sender as the control plane has it. The answer does not pass policies itself. */
INLINE int policy_respond(context *ctx, const struct packet *packet, __u32 verdict)
{
	__u32 response = denied_response(verdict);

	if (packet->fragment == FRAGMENT_LATER)
		return DROP;
	if (response == DENY_RESET && packet->tuple.protocol == IPPROTO_TCP)
		return reply_tcp_reset(ctx, packet);
	if (response != DENY_ICMP && response != DENY_RESET)
		return DROP;
	return packet->ipv4 ?
		       reply_icmp_error(ctx, packet, ICMP_DEST_UNREACH, ICMP_PROHIBITED, 0) :
		       reply_icmp_error(ctx, packet, ICMPV6_DEST_UNREACH, ICMPV6_PROHIBITED, 0);
}
