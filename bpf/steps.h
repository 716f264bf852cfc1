/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The steps of the datapath, which the tc and XDP programs share. After a packet is parsed, it is
 * classified, its conntrack entry is looked up, a backend is selected and an entry created for a
 * new connection, and its new tuple and its route are computed. Only the last step rewrites the
 * packet, so until then it can be rejected or left to the stack.
 */
#pragma once

#include "ct/cache.h"
#include "ct/create.h"
#include "ct/update.h"
#include "lb/frontend.h"
#include "lib/fragment.h"
#include "lib/verdict.h"
#include "policy/direct.h"
#include "policy/opener.h"
#include "policy/review.h"
#include "tunnel/encap.h"

/*
 * A packet on its way through the steps. It lies on the stack of the program, whose 512 bytes the
 * whole chain of calls shares. Global functions get its parts instead of the whole, because the
 * verifier forgets that `ct.entry` is a pointer where a global function may write.
 */
struct pkt_ctx {
	struct packet packet; /* parsed headers */
	struct tuple to;      /* the new tuple; the outer one if the packet will be tunnelled */
	struct route route;
	struct ct_result ct;
	struct lb_choice lb; /* of a new connection */
};

/*
 * Classifies the packet by the flow cache, or else by its destination's role. Returns V_PASS if it
 * is neither to a service nor to the node, nor of a recent connection.
 */
INLINE enum verdict classify_step(context *ctx, struct pkt_ctx *pkt)
{
	__u32 reference = flow_cache_lookup(ctx, &pkt->packet, &pkt->route);

	if (reference) {
		pkt->ct.index = reference / 2;
		pkt->ct.is_reply = reference & 1;
		pkt->ct.origin = CT_CACHED;
		return V_OK;
	}
	if (!pkt->lb.role)
		pkt->lb.role = destination_role(&pkt->packet);
	return pkt->lb.role ? V_OK : V_PASS;
}

/*
 * Returns 1 if nothing depends on the packet's entry: nothing is translated, and no network policy
 * is about it. Then the packet goes on as if there were no entry.
 */
INLINE int is_only_observed(const struct pkt_ctx *pkt)
{
	return HOOK_JUDGES && !pkt->packet.policed && pkt->ct.entry &&
	       ct_is_direct(pkt->ct.entry, pkt->ct.entry->state_word);
}

/*
 * Has network policies decide about a known connection again if they have changed. XDP delivers to
 * no pod, so its packets of policed pods pass node_ingress, too.
 */
INLINE enum verdict review_step(context *ctx, struct pkt_ctx *pkt)
{
	enum verdict verdict =
		HOOK_JUDGES && !is_only_observed(pkt) ?
			policy_review(ctx, pkt->ct.index, &pkt->to, &pkt->lb.policy) :
			V_OK;

	if (verdict == V_OK)
		pkt->packet.judged = 1;
	return verdict;
}

/*
 * Finds the packet's conntrack entry. Returns V_NEW if it has none, V_PASS or a drop reason for a
 * later fragment without an entry, or a drop reason if network policies deny the connection by now.
 */
INLINE enum verdict conntrack_step(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;
	struct ct_result *ct = &pkt->ct;
	int is_known;

	if (ct->origin == CT_CACHED) {
		ct->entry = ct_entry_at(ct->index);
		return review_step(ctx, pkt);
	}
	is_known = ct_lookup(ct, &packet->tuple);
	if (packet->fragment == FRAGMENT_FIRST)
		fragment_store_ports(packet);
	if (is_known && !ct->is_reply) {
		is_known = ct_is_usable(packet, ct);
		/*
		 * The selection of the node that tunnels takes precedence over an earlier one of
		 * this node.
		 */
		if (is_known && packet->backend && ct->entry->backend_id != packet->backend)
			is_known = !ct_end(ct->index, ct->entry->state_word);
	} else if (is_known && starts_connection(packet)) {
		is_known = !other_side_opens(ct);
	}
	if (is_known)
		return review_step(ctx, pkt);
	if (packet->fragment == FRAGMENT_LATER)
		return pkt->lb.role & ADDRESS_NODE && !packet->policed ? V_PASS :
									 V_DROP(DROP_FRAGMENT);
	return V_NEW;
}

/*
 * Selects a backend for a new connection, the route to it, and the SNAT address or tunnel. Creates
 * no state.
 */
INLINE enum verdict balance_step(context *ctx, struct pkt_ctx *pkt)
{
	struct lb_choice *lb = &pkt->lb;
	enum verdict verdict;
	__u32 tunnel;

	verdict = lb_select_for_packet(ctx, &pkt->packet, lb, &pkt->to);
	if (verdict == V_OK)
		verdict = route_lookup_snat(ctx, &pkt->packet, &pkt->to, &pkt->route, lb);
	if (verdict == V_OK && lb->snat && lb->is_dsr && backend_is_established(lb->backend)) {
		tunnel = tunnel_snat_index(ctx, &pkt->packet, &pkt->to, &pkt->route);
		if (tunnel)
			lb->snat = tunnel | SNAT_TUNNELLED;
	}
	return verdict;
}

/*
 * Has network policies decide about a new connection. XDP leaves those of policed pods to
 * node_ingress.
 */
INLINE enum verdict judge_step(context *ctx, struct pkt_ctx *pkt)
{
	enum verdict verdict = HOOK_JUDGES ? policy_judge(ctx, &pkt->to, &pkt->lb.policy, 1) :
					     policy_leave(&pkt->to, &pkt->lb.policy);

	if (verdict == V_OK)
		pkt->packet.judged = 1;
	return verdict;
}

/*
 * Creates the conntrack entry of a new connection; `ct.is_reply` is set if the packet is the
 * server's. If another CPU has just created it, its selection holds. Returns V_PASS for a packet
 * that keeps its addresses and needs no entry.
 */
INLINE enum verdict create_step(struct pkt_ctx *pkt)
{
	struct ct_result *ct = &pkt->ct;
	enum verdict verdict;

	if (!pkt->lb.backend && !pkt->lb.snat && !may_start_flow(&pkt->packet) &&
	    !may_continue_flow(&pkt->packet))
		return V_PASS;
	/* The packet is the server's; its entry begins with the client's tuple. */
	if (ct->is_reply)
		pkt->packet.tuple = pkt->to;
	verdict = ct_create(&pkt->packet, &pkt->to, &pkt->lb, &ct->index);
	if (ct->is_reply) {
		reverse_tuple(&pkt->to, &pkt->packet.tuple);
		pkt->packet.tuple = pkt->to;
	}
	if (verdict == V_EXISTS)
		return ct_lookup(ct, &pkt->packet.tuple) ? V_OK : V_DROP(DROP_NO_FLOW);
	if (verdict != V_OK)
		return verdict;
	count_backend_conn(pkt->lb.backend);
	ct->entry = ct_entry_at(ct->index);
	ct->origin = CT_CREATED;
	return V_OK;
}

/*
 * Decides about a connection of a policed pod that is for no service and has no entry. A TCP
 * segment that begins none is judged in the direction in which its connection was opened, as far as
 * that is known. `pkt->to` becomes the tuple of the client's packets.
 */
INLINE enum verdict judge_direct(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;

	pkt->ct.is_reply = packet->tuple.protocol == IPPROTO_TCP && may_continue_flow(packet) &&
			   policy_receiver_opened(ctx, packet, &pkt->to);
	if (pkt->ct.is_reply)
		reverse_tuple(&pkt->to, &packet->tuple);
	else
		pkt->to = packet->tuple;
	return judge_step(ctx, pkt);
}

/*
 * Decides about a new connection of a policed pod that is for no service, and chooses its route.
 * The destination itself takes the place of a backend. A pod's packet to the outside may get an
 * SNAT address.
 */
INLINE enum verdict direct_step(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;
	struct lb_choice *lb = &pkt->lb;
	enum verdict verdict;

	lb->service = lb->backend = lb->generation = 0;
	lb->is_counted = 0;
	verdict = is_external_interface(ifindex_of(ctx)) ? check_new_packet(ctx, packet) :
							   check_ip_checksum(ctx, packet);
	if (verdict == V_OK)
		verdict = judge_direct(ctx, pkt);
	if (verdict != V_OK)
		return verdict;
	__builtin_memset(&pkt->route, 0, sizeof(pkt->route));
	verdict = pkt->ct.is_reply ? route_lookup(ctx, packet, &packet->tuple, &pkt->route) :
				     direct_route_lookup(ctx, packet, &pkt->route, lb);
	return direct_verdict(verdict, &pkt->route);
}

/*
 * Returns 1 if a policed pod replies to a client of a service: the packet goes on with the pod's
 * address, and is translated where it leaves the node.
 */
INLINE int is_reply_from_pod(const struct pkt_ctx *pkt)
{
	return HOOK_JUDGES && pkt->packet.policed && !pkt->lb.role && pkt->ct.is_reply &&
	       pkt->ct.entry && pkt->ct.entry->backend_id;
}

/* Computes the tuple and the route of a packet that leaves in a tunnel. */
INLINE enum verdict translate_tunnelled(context *ctx, struct pkt_ctx *pkt)
{
	if (!tunnel_tuple(&pkt->to, pkt->ct.entry, pkt->packet.ipv4))
		return V_DROP(DROP_NO_ROUTE);
	if (pkt->ct.origin != CT_CREATED && !ct_still_matches(&pkt->ct, &pkt->packet.tuple))
		return V_DROP(DROP_TABLE_FULL);
	return pkt->ct.origin == CT_CACHED ?
		       fib_result_to_verdict(&pkt->packet, &pkt->route) :
		       tunnel_route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route);
}

/*
 * Computes the tuple of the packet after the translation, and its route. balance_step() has done so
 * for a new connection but for the SNAT, because the route is looked up for the client's address.
 */
INLINE enum verdict translate_step(context *ctx, struct pkt_ctx *pkt)
{
	struct ct_result *ct = &pkt->ct;
	struct ct_entry *entry = ct->entry;
	enum verdict verdict;

	if (!entry)
		return V_DROP(DROP_NO_FLOW);
	if (!ct->is_reply && entry->state_word & CT_TUNNELLED)
		return translate_tunnelled(ctx, pkt);
	pkt->packet.past_stack = ct_is_masqueraded(entry, entry->state_word);
	if (ct->origin != CT_CREATED) {
		if (ct->is_reply)
			ct_rev_nat_tuple(&pkt->to, entry, pkt->packet.tuple.protocol);
		else
			dnat_tuple(&pkt->to, &pkt->packet, entry->backend, entry->backend_port);
		verdict = ct->origin == CT_CACHED ?
				  fib_result_to_verdict(&pkt->packet, &pkt->route) :
				  route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route);
		if (HOOK_JUDGES && ct_is_direct(entry, entry->state_word))
			verdict = direct_verdict(verdict, &pkt->route);
		if (verdict != V_OK)
			return verdict;
	}
	if (!ct->is_reply)
		ct_snat_tuple(&pkt->to, entry);
	return ct->origin == CT_CREATED || ct_still_matches(ct, &pkt->packet.tuple) ?
		       V_OK :
		       V_DROP(DROP_TABLE_FULL);
}

/*
 * Decides about a classified packet: finds or creates its conntrack entry, and computes its new
 * tuple and its route. An established connection keeps its backend, so the lookup precedes the
 * selection. Does not change the packet.
 */
INLINE enum verdict decide(context *ctx, struct pkt_ctx *pkt)
{
	enum verdict verdict = conntrack_step(ctx, pkt);

	if (verdict == V_NEW) {
		pkt->ct.is_reply = 0;
		verdict = pkt->lb.role ? balance_step(ctx, pkt) : V_PASS;
		/* pkt->to is the translated tuple, and no state exists yet. */
		if (verdict == V_OK)
			verdict = judge_step(ctx, pkt);
		else if (HOOK_JUDGES && verdict == V_PASS && pkt->packet.policed)
			verdict = direct_step(ctx, pkt);
		if (verdict == V_OK)
			verdict = create_step(pkt);
	} else if (verdict == V_OK && (is_reply_from_pod(pkt) || is_only_observed(pkt))) {
		return V_PASS;
	}
	if (verdict == V_OK)
		verdict = translate_step(ctx, pkt);
	return verdict;
}

/* Stores the decision about a packet in the flow cache. */
INLINE void cache_step(context *ctx, struct pkt_ctx *pkt)
{
	if (pkt->ct.origin != CT_CACHED)
		flow_cache_insert(ctx, &pkt->packet, pkt->ct.index * 2 + pkt->ct.is_reply,
				  &pkt->route);
}

/* Rewrites the packet as decided, or puts it into its tunnel. Returns 0 on success. */
INLINE int rewrite_step(context *ctx, struct pkt_ctx *pkt)
{
	return pkt->route.overhead ? tunnel_encap(ctx, &pkt->packet, &pkt->to, &pkt->route) :
				     rewrite(ctx, &pkt->packet, &pkt->to, &pkt->route);
}
