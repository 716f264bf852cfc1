/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections of pods that network policies select, to the destination itself. Each has an entry of
 * the conntrack table, so that its replies pass.
 */
#pragma once

#include "ct/lookup.h"
#include "ct/snat.h"
#include "lb/select.h"
#include "lib/route.h"
#include "state.h"

/* Returns 1 if a destination outside sees an address of this node instead of the pod's. */
NOINLINE int is_masqueraded(const void *destination)
{
	struct range_key key = { .prefix_length = 128 };
	enum masquerade *choice;

	copy_address(key.address, destination);
	choice = bpf_map_lookup_elem(&no_masquerade, &key);
	return choice && *choice == MASQUERADE_ALWAYS;
}

/*
 * Looks up the route of the first packet of a connection to the outside, and chooses the SNAT
 * address. The route is looked up for the pod's address, as the kernel does where it masquerades.
 * Returns V_PASS if replies would not return through node_ingress. `route` is all zero before.
 */
GLOBAL enum verdict route_lookup_masquerade(context *ctx, const struct packet *packet,
					    struct route *route, struct lb_choice *choice)
{
	struct bpf_fib_lookup fib = {};
	enum verdict verdict;
	int has_source;

	if (!packet || !route || !choice)
		return V_DROP(DROP_NO_ROUTE);
	verdict = fib_query(ctx, packet, &packet->tuple, ROUTE_PAST_STACK | ROUTE_SOURCE, &fib,
			    &has_source, route);
	if (verdict != V_OK)
		return verdict;
	if (route->result == BPF_FIB_LKUP_RET_NOT_FWDED || !is_external_interface(route->ifindex))
		return V_PASS;
	choice->snat = snat_index_of_route(packet, &fib, has_source);
	return choice->snat ? V_OK : V_DROP(DROP_NO_ROUTE);
}

/* Returns 1 if a packet leaves the node with an address of it, because a pod has sent it. */
NOINLINE int needs_masquerade(context *ctx, const struct packet *packet)
{
	return find_pod_device(ifindex_of(ctx)) && !find_local_pod(packet->tuple.destination) &&
	       is_masqueraded(packet->tuple.destination);
}

/*
 * Finds the route of a new connection that is for no service. A pod's connection to the outside
 * gets an SNAT address in `choice`. An echo reply is about a request to the pod's own address, and
 * so keeps that address.
 */
GLOBAL enum verdict direct_route_lookup(context *ctx, const struct packet *packet,
					struct route *route, struct lb_choice *choice)
{
	enum verdict verdict;

	if (!packet || !route || !choice)
		return V_DROP(DROP_NO_ROUTE);
	choice->snat = 0;
	if (!needs_masquerade(ctx, packet) || (is_icmp(packet) && !may_start_flow(packet)))
		return route_lookup(ctx, packet, &packet->tuple, route);
	verdict = route_lookup_masquerade(ctx, packet, route, choice);
	if (verdict == V_PASS)
		return V_OK;
	return verdict == V_OK && !may_start_flow(packet) ? V_DROP(DROP_NO_FLOW) : verdict;
}

/*
 * Returns the verdict for a packet that keeps its addresses. The stack forwards it if it needs an
 * ICMP error or is to be fragmented.
 */
INLINE enum verdict direct_verdict(enum verdict verdict, struct route *route)
{
	if (verdict != V_DROP(DROP_TTL) && verdict != V_DROP(DROP_TOO_LARGE))
		return verdict;
	route->result = BPF_FIB_LKUP_RET_NOT_FWDED;
	return V_OK;
}

/*
 * Returns 1 if a packet that begins a connection has the tuple of replies of one that nothing
 * translates: the other side opens a connection of its own, which is judged for itself. It does not
 * if both sides open the same connection at once. A closed connection ends.
 */
INLINE int other_side_opens(const struct ct_result *ct)
{
	__u32 state_word = ct->entry->state_word;

	if (!ct_is_direct(ct->entry, state_word))
		return 0;
	if (ct_is_closed(state_word))
		ct_end(ct->index, state_word);
	return ct_state_of(state_word) != CT_TCP_SYN;
}

/*
 * Returns V_PASS for a new connection of a policed pod, which is left to the tc programs. Else
 * `opinion` becomes the verdict that nothing denies it.
 */
GLOBAL enum verdict policy_leave(const struct tuple *tuple, struct policy_opinion *opinion)
{
	struct policy_state *state = get_policy_state();
	struct pod *client, *server;

	if (!tuple || !opinion || !state)
		return V_PASS;
	opinion->epoch = *(volatile __u32 *)&state->epoch;
	opinion->egress_rule = opinion->ingress_rule = 0;
	client = find_local_pod(tuple->source);
	server = find_local_pod(tuple->destination);
	return (client && has_subject(client)) || (server && has_subject(server)) ? V_PASS : V_OK;
}
