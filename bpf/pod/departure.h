/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets of a pod that are for no service: their way out. The stack forwards those that need an
 * ICMP error or are to be fragmented, and all where netfilter tracks connections.
 */
#pragma once

#include "tc/forward.h"
#include "tc/reply.h"

/* Returns the interface of the pod of this node that has an address, or 0. */
NOINLINE __u32 local_pod_interface(const void *address)
{
	struct pod *pod = find_local_pod(address);

	return pod ? pod->ifindex : 0;
}

/* Forwards a packet as it is, by the kernel's routes. */
INLINE int route_departure(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;

	if (route_lookup(ctx, packet, &packet->tuple, &pkt->route) != V_OK ||
	    pkt->route.result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT;
	/* Masquerading decides here: the packet leaves by pkt->route. */
	if (decrement_ttl(ctx, packet))
		return drop(ctx, packet, DROP_WRITE);
	if (pkt->route.result == BPF_FIB_LKUP_RET_SUCCESS &&
	    store_link_addresses(ctx, pkt->route.dmac, pkt->route.smac))
		return drop(ctx, packet, DROP_WRITE);
	return forward(ctx, &pkt->route);
}

/*
 * Sends a packet of that kind to the pod of this node at an interface. The pod may be a client that
 * gets a backend's reply, and knows the service's address only. Replies to others are translated
 * where they leave the node.
 */
INLINE int send_to_local_pod(context *ctx, struct pkt_ctx *pkt, __u32 ifindex,
			     enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	int outcome;

	if (needs_host_stack(ifindex_of(ctx), ifindex))
		return NEXT;
	outcome = translate_for_client(ctx, packet, kind, &pkt->ct, &pkt->to);
	return outcome == NEXT ? deliver_to_pod(ctx, packet) : outcome;
}
