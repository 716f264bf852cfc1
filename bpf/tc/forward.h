/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions end the way of a packet: they forward it, or drop it and reply to its sender. */
#pragma once

#include "lb/refusal.h"
#include "lib/drop.h"
#include "lib/icmp.h"
#include "pod/deliver.h"
#include "policy/respond.h"
#include "steps.h"
#include "tunnel/vxlan.h"

/*
 * Ends a packet that was not forwarded: passes it on, or drops it, and replies to its sender where
 * the reason asks for that. `mtu` is the MTU of the link that the packet is too large for,
 * `service` the id of its service, or 0.
 */
GLOBAL int reply_to_drop(context *ctx, const struct packet *packet, enum verdict verdict, __u32 mtu,
			 __u32 service)
{
	if (!packet)
		return DROP;
	if (verdict == V_PASS)
		return NEXT;
	drop(ctx, packet, verdict);
	if (packet->backend)
		return DROP; /* The node that the packet was tunnelled from replies. */
	if (service)
		count_refusal(service, verdict);
	switch ((__u32)verdict & DENIED_REASON_MASK) {
	case DROP_TOO_LARGE:
		return packet->ipv4 ? reply_icmp_error(ctx, packet, ICMP_DEST_UNREACH,
						       ICMP_FRAG_NEEDED, mtu) :
				      reply_icmp_error(ctx, packet, ICMPV6_PKT_TOOBIG, 0, mtu);
	case DROP_NO_BACKEND:
		return reply_unreachable(ctx, packet);
	case DROP_UNKNOWN_PORT:
		/* A pod gets the reply that its socket would get; external port scans get none. */
		return is_external_interface(ifindex_of(ctx)) ? DROP :
								reply_unreachable(ctx, packet);
	case DROP_NO_FLOW:
		/*
		 * A SYN gets here if the entry that it has just created is gone already; the client
		 * repeats it.
		 */
		return starts_connection(packet) ? DROP : reply_unreachable(ctx, packet);
	case DROP_POLICY:
	case DROP_POLICY_DEFAULT:
		return policy_respond(ctx, packet, verdict);
	default:
		return DROP;
	}
}

/* Sends a packet out of the interface of its route. */
NOINLINE int redirect_out(context *ctx, const struct packet *packet, const struct route *route)
{
	struct pod_device *pod = find_pod_device(route->ifindex);

	if (pod) {
		if (pod->has_policy && !packet->judged)
			return drop(ctx, packet, DROP_POLICY_DEFAULT);
		return redirect_to_pod(ctx, pod->ifindex, pod->kind, pod->rates);
	}
	if (is_tunnel_device(route->ifindex))
		return send_through_tunnel(ctx, packet);
	return route->ifindex == ctx->ifindex ? send_back(ctx) : bpf_redirect(route->ifindex, 0);
}

/* Forwards a packet, whose headers are complete, by its route. */
GLOBAL int forward(context *ctx, const struct packet *packet, const struct route *route)
{
	if (!packet || !route)
		return DROP;
	if (route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT; /* The destination is this node, or the stack forwards the packet. */
	if (route->result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh next = { .nh_family = is_mapped(route->next_hop) ?
								     AF_INET :
								     AF_INET6 };

		if (next.nh_family == AF_INET)
			next.ipv4_nh = ((const __u32 *)route->next_hop)[3];
		else
			copy_address(next.ipv6_nh, route->next_hop);
		return bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
	}
	return redirect_out(ctx, packet, route);
}

/*
 * Changes a packet that keeps its addresses, as a router does where it leaves by its route. Returns
 * 0 on success.
 */
NOINLINE long route_direct(context *ctx, const struct packet *packet, const struct route *route)
{
	return route->result == BPF_FIB_LKUP_RET_NOT_FWDED ?
		       0 :
		       route_frame(ctx, packet, route->dmac, route->smac);
}

/* Rewrites a packet as decided, and forwards it. */
INLINE int send_translated(context *ctx, struct pkt_ctx *pkt)
{
	struct ct_entry *entry = pkt->ct.entry;

	/* node_egress, at the interface where it leaves the node, has nothing left to translate. */
	if (pkt->packet.past_stack && !pkt->ct.is_reply)
		ctx->tc_index = TC_INDEX_TRANSLATED;
	if (entry && ct_is_direct(entry, entry->state_word) ?
		    route_direct(ctx, &pkt->packet, &pkt->route) :
		    rewrite_step(ctx, pkt))
		return drop(ctx, &pkt->packet, DROP_WRITE);
	return pkt->ct.origin == CT_CACHED ? redirect_out(ctx, &pkt->packet, &pkt->route) :
					     forward(ctx, &pkt->packet, &pkt->route);
}
