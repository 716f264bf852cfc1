/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions deliver packets to the pods of this node. ctx/tc.h is included first. */
#pragma once

#include "lib/drop.h"
#include "lib/rewrite.h"
#include "local.h"
#include "policy/state.h"
#include "rate.h"

/*
 * The start of a frame: the link header, and the IP header up to the checksum of IPv4 or the hop
 * limit of IPv6.
 */
struct frame_start {
	__u16 link[ETH_HLEN / 2];
	__u16 ip[6];
};

/*
 * Changes the frame of a packet, whose IP header follows the link header, as a router does: writes
 * the link addresses, and decrements the TTL. Returns 0 on success.
 */
INLINE long route_frame(context *ctx, const struct packet *packet, const void *destination,
			const void *source)
{
	struct frame_start frame;

	__builtin_memcpy(frame.link, destination, ETH_ALEN);
	__builtin_memcpy(frame.link + ETH_ALEN / 2, source, ETH_ALEN);
	frame.link[ETH_ALEN] = frame_ethertype(ctx);
	if (!packet->ipv4) {
		if (load_bytes(ctx, ETH_HLEN, frame.ip, 8))
			return -1;
		frame.ip[3] -= 1 << 8;
		update_packet_sum(ctx, HOP_LIMIT_DIFFERENCE);
		return store_bytes(ctx, 0, &frame, ETH_HLEN + 8);
	}
	if (load_bytes(ctx, ETH_HLEN, frame.ip, 12))
		return -1;
	frame.ip[4]--;
	frame.ip[5] = ~fold_checksum((__u64)(__u16)~frame.ip[5] + (__u16)~1);
	return store_bytes(ctx, 0, &frame, ETH_HLEN + 12);
}

/*
 * Hands a frame whose headers are complete to a pod of this node. The other end of a veth pair
 * receives it without a detour through the queue of the processor; the kernel drops what a netkit
 * program redirects in this way.
 */
INLINE int redirect_to_pod(context *ctx, __u32 ifindex, enum pod_kind kind, __u32 rates)
{
	int to_peer = kind == POD_VETH && pod_config.kind == POD_VETH;

	/* What goes to the device itself passes to_pod, which limits it. */
	if (to_peer && limit_ingress(ctx, rates) != V_OK)
		return drop(ctx, 0, DROP_RATE_LIMITED);
	/* to_pod has nothing to decide or to translate. The pod's own programs could see the index.
	 */
	ctx->tc_index = to_peer ? 0 : TC_INDEX_TRANSLATED;
	/* The pod's own rules could see the mark. A frame out of a tunnel has another type. */
	ctx->mark = 0;
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	return to_peer ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
}

/*
 * Routes a packet to a pod of this node: decrements its TTL and hands it over. The stack does so
 * instead if the packet needs an ICMP error or is to be fragmented, and if no network policy has
 * decided about it, as to_pod then has it. The pod's own link address is the destination, also
 * where a bridge in the pod passes the frame on.
 */
INLINE int route_to_local_pod(context *ctx, struct packet *packet, const struct pod *pod)
{
	if (has_subject(pod))
		packet->policed = 1;
	if (packet->policed && !packet->judged)
		return NEXT;
	if (packet->ttl <= 1 || segment_length(ctx, packet) > pod->mtu)
		return NEXT;
	if (route_frame(ctx, packet, pod->mac, (const void *)pod_config.gateway_mac))
		return drop(ctx, packet, DROP_WRITE);
	packet->is_last_seen = 1;
	return redirect_to_pod(ctx, pod->ifindex, pod->kind, pod->rates);
}

/* Routes a packet to the pod of this node that has its destination. */
NOINLINE int deliver_to_pod(context *ctx, struct packet *packet)
{
	struct pod *pod = find_local_pod(packet->tuple.destination);

	return pod ? route_to_local_pod(ctx, packet, pod) : NEXT;
}
