/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions deliver packets to the pods of this node. ctx/tc.h is included first. */
#pragma once

#include "lib/drop.h"
#include "lib/rewrite.h"
#include "local.h"
#include "rate.h"

/* The destination and source address of a frame. */
struct link_addresses {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

/* Writes the link addresses of a frame. Returns 0 on success. */
INLINE long store_link_addresses(context *ctx, const void *destination, const void *source)
{
	struct link_addresses addresses;

	__builtin_memcpy(addresses.destination, destination, ETH_ALEN);
	__builtin_memcpy(addresses.source, source, ETH_ALEN);
	return store_bytes(ctx, 0, &addresses, sizeof(addresses));
}

/*
 * Hands a frame whose headers are complete to a pod of this node. The other end of a veth pair
 * receives it without a detour through the queue of the processor.
 */
INLINE int redirect_to_pod(context *ctx, __u32 ifindex, enum pod_kind kind, __u32 rates)
{
	/* What goes to a netkit device passes to_pod, which limits it. */
	if (kind == POD_VETH && limit_ingress(ctx, rates) != V_OK)
		return drop(ctx, 0, DROP_RATE_LIMITED);
	/* The pod's own rules could see the mark. A frame out of a tunnel has another type. */
	ctx->mark = 0;
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	return kind == POD_VETH ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
}

/*
 * Routes a packet to the pod of this node that has its destination: decrements its TTL and hands it
 * over. The stack does so instead if the packet needs an ICMP error or is to be fragmented. The
 * pod's own link address is the destination, also where a bridge in the pod passes the frame on.
 */
NOINLINE int deliver_to_pod(context *ctx, const struct packet *packet)
{
	struct pod *pod = find_local_pod(packet->tuple.destination);

	if (!pod || packet->ttl <= 1 || segment_length(ctx, packet) > pod->mtu)
		return NEXT;
	if (decrement_ttl(ctx, packet) ||
	    store_link_addresses(ctx, pod->mac, (const void *)pod_config.gateway_mac))
		return drop(ctx, packet, DROP_WRITE);
	return redirect_to_pod(ctx, pod->ifindex, pod->kind, pod->rates);
}
