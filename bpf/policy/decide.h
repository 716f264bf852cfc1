/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions decide about a class of peers and a class of ports, tier by tier. */
#pragma once

#include "names.h"
#include "search.h"

/* The circumstances of a decision. */
#define JUDGE_NEW 1   /* about a new connection, which is counted */
#define JUDGE_NAMES 2 /* The peer has names. */

/* Returns the response to what no rule allows; see policy_rule.response. */
INLINE __u32 default_response(const struct policy_subject *subject)
{
	return subject->flags >> SUBJECT_RESPONSE_SHIFT & SUBJECT_RESPONSE_MASK;
}

/* Searches the rule that decides, tier by tier. Returns the verdict with it. */
INLINE __u64 search_tiers(const struct policy_subject *subject, const struct policy_vector *peer,
			  const struct policy_vector *port, __u32 has_names)
{
	struct policy_state *state = get_policy_state();
	enum policy_action action;
	__u32 found, network, baseline;

	if (!state)
		return DROP_POLICY_DEFAULT;
	network = state->network_word;
	baseline = state->baseline_word;
	found = policy_find(&subject->rules, peer, port, 0, network);
	if (has_names)
		found = find_named_rule(&subject->rules, port, network, found);
	action = found ? action_of(found) : POLICY_PASS;
	if (action == POLICY_PASS) {
		found = policy_find(&subject->rules, peer, port, network, baseline);
		if (!found && subject->flags & SUBJECT_ISOLATED)
			return DROP_POLICY_DEFAULT | default_response(subject)
							     << DENIED_RESPONSE_SHIFT;
		if (!found)
			found = policy_find(&subject->rules, peer, port, baseline, POLICY_WORDS);
		if (!found)
			return V_OK;
		action = action_of(found);
	}
	return (action == POLICY_ALLOW ?
			V_OK :
			DROP_POLICY | response_of(found) << DENIED_RESPONSE_SHIFT) |
	       found << DENIED_RULE_SHIFT;
}

/*
 * Decides by the subject with that index about a class of peers, or the names of the peer, and a
 * class of ports, and counts the verdict. Returns the verdict with its rule;
 * above 32 bits is the subject with the policies in audit mode, if there is one.
 */
GLOBAL __u64 policy_decide(__u32 index, __u32 peer_class, __u32 port_class, __u32 flags)
{
	struct policy_subject *subject = bpf_map_lookup_elem(&policy_subjects, &index);
	struct policy_vector *peer = bpf_map_lookup_elem(&peer_vectors, &peer_class);
	struct policy_vector *port = bpf_map_lookup_elem(&port_vectors, &port_class);
	__u64 verdict;

	if (!subject)
		return DROP_POLICY_DEFAULT;
	verdict = peer && port && index != POLICY_CLOSED_SUBJECT &&
				  !(subject->flags & SUBJECT_CLOSED) ?
			  search_tiers(subject, peer, port, flags & JUDGE_NAMES) :
			  DROP_POLICY_DEFAULT;
	/* A connection that was counted when it began is counted again only if it ends. */
	if (flags & JUDGE_NEW || is_denied(verdict))
		count_verdict(subject, verdict);
	return verdict | (__u64)subject->audit << 32;
}
