/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict of network policies about a connection. It depends on the addresses of the client and
 * the server, on the protocol and on the server's port, after the translation of services, and not
 * on the hook. ctx/tc.h is included first.
 */
#pragma once

#include "class.h"
#include "decide.h"
#include "lib/link_local.h"
#include "opinion.h"
#include "pod/local.h"
#include "verdict.h"

#define POLICY_DIRECTION_SHIFT 16

/* This is a function so that the object's BTF has the struct. */
NOINLINE long write_verdict(const struct policy_verdict *verdict)
{
	return bpf_ringbuf_output(&policy_verdicts, verdict, sizeof(*verdict), 0);
}

/*
 * Reports a verdict to a reader. `outcome` is an enum policy_outcome with the direction above 16
 * bits, `rules` the rule of egress with that of ingress above 16 bits.
 */
GLOBAL int policy_report(context *ctx, const struct tuple *tuple, __u32 outcome, __u32 rules,
			 __u32 subject)
{
	struct policy_verdict verdict = {
		.ifindex = ifindex_of(ctx),
		.outcome = outcome,
		.direction = outcome >> POLICY_DIRECTION_SHIFT,
		.egress_rule = rules,
		.ingress_rule = rules >> 16,
		.subject = subject,
	};

	if (!tuple)
		return 0;
	verdict.tuple = *tuple;
	write_verdict(&verdict);
	return 0;
}

/* Returns 1 if the address is one of this node. */
GLOBAL int is_address_of_node(const struct address_key *address)
{
	struct address_key key;
	__u32 *role;

	if (!address)
		return 0;
	key = *address;
	role = bpf_map_lookup_elem(&addresses, &key);
	return role && *role & ADDRESS_NODE;
}

/*
 * Returns 1 if a source is the node. Other doors drop what only seems to come from it, so its
 * addresses can be trusted. A link-local source is the node's, because a pod may not send from one
 * except to find its neighbours.
 */
INLINE int is_from_node(const void *source)
{
	return is_link_local(source) || is_address_of_node((const struct address_key *)source);
}

/* Returns 1 if a connection needs no rule: it is the node's own, or one of a pod to itself. */
INLINE int is_exempt(const struct tuple *tuple, const struct pod *client)
{
	return same_address(tuple->source, tuple->destination) ||
	       (!client && is_from_node(tuple->source));
}

/*
 * Decides about one direction. Returns the verdict with its rule; above 32 bits is that of the
 * policies in audit mode, if only they deny the connection.
 */
INLINE __u64 judge_side(const void *peer, __u32 index, __u32 port_class, __u32 flags)
{
	__u32 class = find_peer_class((const struct address_key *)peer), audit;
	__u64 verdict = policy_decide(index, class, port_class, flags), audited;

	audit = verdict >> 32;
	verdict = (__u32)verdict;
	if (is_denied(verdict) || !audit)
		return verdict;
	audited = (__u32)policy_decide(audit, class, port_class, flags);
	return is_denied(audited) ? verdict | audited << 32 : verdict;
}

/* Returns the subject with the policies in audit mode. */
INLINE __u32 audit_of(__u32 index)
{
	struct policy_subject *subject = bpf_map_lookup_elem(&policy_subjects, &index);

	return subject ? subject->audit : 0;
}

/* Reports the verdicts of both directions. */
INLINE void report_verdicts(context *ctx, const struct tuple *tuple, __u64 egress, __u64 ingress,
			    __u32 egress_subject, __u32 ingress_subject)
{
	int is_ingress = !is_denied(egress) && (is_denied(ingress) || !(egress >> 32));
	__u64 side = is_ingress ? ingress : egress;
	__u32 subject = is_ingress ? ingress_subject : egress_subject;
	__u32 outcome = POLICY_ALLOWED;

	if (is_denied(side)) {
		outcome = POLICY_DENIED;
	} else if (side >> 32) {
		outcome = POLICY_WOULD_DENY;
		subject = audit_of(subject);
		if (is_ingress)
			ingress >>= 32;
		else
			egress >>= 32;
	} else {
		subject = 0;
		is_ingress = 0;
	}
	policy_report(ctx, tuple,
		      outcome | (is_ingress ? POLICY_INGRESS : POLICY_EGRESS)
					<< POLICY_DIRECTION_SHIFT,
		      denied_rule(egress) | denied_rule(ingress) << 16, subject);
}

/*
 * Decides about a connection. `tuple` has the addresses of packets from the client as the server
 * gets them, but with the client's own address. Returns V_OK, or a drop reason with the rule and
 * the direction. `opinion` becomes the verdict in the form that an entry of the conntrack table
 * keeps. The epoch is read first: a change meanwhile has the connection judged again.
 */
GLOBAL enum verdict policy_judge(context *ctx, const struct tuple *tuple,
				 struct policy_opinion *opinion, __u32 is_new)
{
	struct policy_state *state = get_policy_state();
	__u32 egress_subject, ingress_subject, port_class;
	struct pod *client, *server;
	__u64 egress = 0, ingress = 0;

	if (!tuple || !opinion || !state)
		return V_DROP(DROP_POLICY_DEFAULT);
	opinion->epoch = *(volatile __u32 *)&state->epoch;
	opinion->egress_rule = opinion->ingress_rule = 0;
	client = find_local_pod(tuple->source);
	server = find_local_pod(tuple->destination);
	egress_subject = client ? client->egress_subject : POLICY_NO_SUBJECT;
	ingress_subject = server ? server->ingress_subject : POLICY_NO_SUBJECT;
	if ((!egress_subject && !ingress_subject) || is_exempt(tuple, client))
		return V_OK;
	port_class = find_port_class(tuple->protocol, bpf_htons(tuple->destination_port));
	if (egress_subject)
		egress = judge_side(
			tuple->destination, egress_subject, port_class,
			is_new | find_peer_names((const struct address_key *)tuple->destination,
						 is_new) *
					 JUDGE_NAMES);
	if (ingress_subject && !is_denied(egress))
		ingress = judge_side(tuple->source, ingress_subject, port_class, is_new);
	opinion->egress_rule = denied_rule(egress);
	opinion->ingress_rule = denied_rule(ingress);
	if (state->watched)
		report_verdicts(ctx, tuple, egress, ingress, egress_subject, ingress_subject);
	if (is_denied(egress))
		return (__u32)egress;
	return is_denied(ingress) ? (__u32)ingress | DENIED_INGRESS : V_OK;
}
