/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection keeps its verdict until a policy changes. Then its next packet has it judged again,
 * in the direction in which it was opened. ctx/tc.h is included first.
 */
#pragma once

#include "ct/table.h"
#include "judge.h"

/*
 * Judges a known connection again. `tuple` and `opinion` are lent by the caller, because the stack
 * is short. Returns V_OK or the verdict that denies.
 */
GLOBAL enum verdict policy_judge_again(context *ctx, __u32 index, struct tuple *tuple,
				       struct policy_opinion *opinion)
{
	struct ct_window *window = bpf_map_lookup_elem(&nat_windows, &index);
	struct policy_state *state = get_policy_state();
	struct ct_entry *entry = ct_entry_at(index);
	enum verdict verdict;
	__u32 before;

	if (!window || !state || !entry || !tuple || !opinion)
		return V_DROP(DROP_POLICY_DEFAULT);
	before = window->policy_epoch;
	if (before == state->epoch)
		return window->denied;
	copy_address(tuple->source, entry->client);
	copy_address(tuple->destination, entry->backend);
	tuple->source_port = entry->client_port;
	tuple->destination_port = entry->backend_port;
	tuple->protocol = ct_protocol(entry, entry->state_word);
	if (state->keeps_open && !window->denied && before) {
		opinion->epoch = state->epoch;
		opinion->egress_rule = window->egress_rule;
		opinion->ingress_rule = window->ingress_rule;
		verdict = V_OK;
	} else {
		verdict = policy_judge(ctx, tuple, opinion, 0);
	}
	/* If the entry has become another connection's meanwhile, that has its own verdict. */
	window->denied = verdict;
	window->egress_rule = opinion->egress_rule;
	window->ingress_rule = opinion->ingress_rule;
	__sync_val_compare_and_swap(&window->policy_epoch, before, opinion->epoch);
	if (verdict != V_OK)
		ct_unconfirm(index);
	return verdict;
}

/* Returns V_OK if the verdict about a known connection allows it, also after policies changed. */
INLINE enum verdict policy_review(context *ctx, __u32 index, struct tuple *tuple,
				  struct policy_opinion *opinion)
{
	struct policy_state *state = get_policy_state();
	struct ct_window *window;

	/* Where there has never been a policy, the window of UDP and SCTP is not read at all. */
	if (state && !state->epoch)
		return V_OK;
	window = bpf_map_lookup_elem(&nat_windows, &index);
	if (window && state && window->policy_epoch == state->epoch && !window->denied)
		return V_OK;
	return policy_judge_again(ctx, index, tuple, opinion);
}
