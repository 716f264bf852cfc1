/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The form of the verdicts of network policies. */
#pragma once

#include "lib/verdict.h"

/* A verdict that denies has the rule that decided, and its direction, above the drop reason. */
#define DENIED_REASON_MASK 0xff
#define DENIED_RULE_SHIFT 8
#define DENIED_RULE_MASK 0x1fff /* plus 1; 0: no rule has allowed it */
#define DENIED_INGRESS (1u << 21)
/* An enum policy_deny_response, plus 1; 0: that of policy_state. */
#define DENIED_RESPONSE_SHIFT 22
#define DENIED_RESPONSE_MASK 3

INLINE int is_denied(enum verdict verdict)
{
	__u32 reason = verdict & DENIED_REASON_MASK;

	return reason == DROP_POLICY || reason == DROP_POLICY_DEFAULT;
}

INLINE __u32 denied_rule(__u32 verdict)
{
	return verdict >> DENIED_RULE_SHIFT & DENIED_RULE_MASK;
}
