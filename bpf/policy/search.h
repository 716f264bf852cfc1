/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions search the rule that decides: the lowest bit that three vectors have in common. */
#pragma once

#include "lib/verdict.h"
#include "state.h"
#include "verdict.h"

/*
 * Returns the number of the lowest bit of a word that is not 0: the number of bits below it,
 * counted in parallel (Warren, Hacker's Delight, 5-1). There are no branches, because the verifier
 * would follow each, and no builtin, because clang 16 fails to compile it.
 */
INLINE __u32 lowest_bit(__u64 word)
{
	__u64 below = (word & -word) - 1;

	barrier_var(below);
	below -= below >> 1 & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + (below >> 2 & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

/*
 * Returns the lowest rule that three vectors have in common, among those of the words `first` up to
 * but not including `end`, plus 1; 0: there is none.
 */
GLOBAL __u32 policy_find(const struct policy_vector *one, const struct policy_vector *two,
			 const struct policy_vector *three, __u32 first, __u32 end)
{
	__u64 common;

	if (!one || !two || !three || first >= POLICY_WORDS)
		return 0;
	common = one->summary & two->summary & three->summary & ~0ULL << first;
	if (end < POLICY_WORDS)
		common &= (1ULL << end) - 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < POLICY_WORDS && common; i++) {
		__u32 word = lowest_bit(common) & (POLICY_WORDS - 1);
		__u64 bits = one->words[word] & two->words[word] & three->words[word];

		if (bits)
			return 64 * word + lowest_bit(bits) + 1;
		common &= common - 1;
	}
	return 0;
}

/* Returns the action of a rule that policy_find() has found. A free number cannot decide. */
INLINE enum policy_action action_of(__u32 found)
{
	__u32 number = found - 1;
	struct policy_rule *rule = bpf_map_lookup_elem(&policy_rules, &number);

	return rule && rule->action ? rule->action : POLICY_DENY;
}

/* Returns the response of a rule that policy_find() has found, as its verdict has it. */
INLINE __u32 response_of(__u32 found)
{
	__u32 number = found - 1;
	struct policy_rule *rule = bpf_map_lookup_elem(&policy_rules, &number);

	return rule ? rule->response & DENIED_RESPONSE_MASK : 0;
}

/* Counts a connection for the rule that has decided, or for the subject that no rule allowed. */
INLINE void count_verdict(struct policy_subject *subject, __u64 verdict)
{
	__u32 number = denied_rule(verdict) - 1;
	struct policy_rule *rule = bpf_map_lookup_elem(&policy_rules, &number);

	if (rule)
		__sync_fetch_and_add(&rule->connections, 1);
	else if (is_denied(verdict))
		__sync_fetch_and_add(&subject->default_denied, 1);
}
