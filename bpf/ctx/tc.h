/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions access the packet of a tc program. */
#pragma once

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "lib/bpf.h"

typedef struct __sk_buff context;

#define NEXT TC_ACT_UNSPEC /* The packet continues with the next program, then with the stack. */
#define DROP TC_ACT_SHOT

/* Programs of this kind decide by network policies. */
#define HOOK_JUDGES 1

#define PACKET_HOST 0 /* of <linux/if_packet.h> */

INLINE long load_bytes_by_helper(context *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes(ctx, offset, to, size);
}

#include "ctx.h"

INLINE long store_bytes(context *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_skb_store_bytes(ctx, offset, from, size, 0);
}

/*
 * Adds the difference that writes to an IPv6 header have made to the sum of the packet's bytes,
 * where the interface has summed them (CHECKSUM_COMPLETE). Other writes do not need it: IPv4
 * headers and ICMP messages have checksums that cancel them out, as the transport checksum does for
 * ports, and change_checksum() corrects the sum for what it changes in that checksum by addresses.
 */
INLINE void update_packet_sum(context *ctx, __u32 difference)
{
	bpf_csum_update(ctx, difference);
}

INLINE __u32 ifindex_of(const context *ctx)
{
	return ctx->ifindex;
}

/* Returns the length of the frame in bytes. */
INLINE __u32 frame_length(const context *ctx)
{
	return ctx->len;
}

/* Returns ETH_P_*, in network byte order. */
INLINE __be16 frame_ethertype(context *ctx)
{
	return ctx->protocol;
}

/*
 * Returns the payload of each packet that this one will be segmented into; 0: it will not be
 * segmented.
 */
INLINE __u32 segment_size(const context *ctx)
{
	return ctx->gso_size;
}

/* Returns the number of packets that this one will be segmented into. */
INLINE __u32 segment_count(const context *ctx)
{
	return ctx->gso_segs ? ctx->gso_segs : 1;
}

/* Truncates or extends the frame to `length` bytes. */
INLINE long set_length(context *ctx, __u32 length)
{
	return bpf_skb_change_tail(ctx, length, 0);
}

/*
 * Inserts room for another IP header of the packet's family after the link header. The size of
 * segments does not change, so they must fit with it.
 */
INLINE long insert_room(context *ctx, int ipv4)
{
	return ipv4 ? bpf_skb_adjust_room(ctx, 20, BPF_ADJ_ROOM_MAC,
					  BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) :
		      bpf_skb_adjust_room(ctx, 40, BPF_ADJ_ROOM_MAC,
					  BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
}

/*
 * Updates the checksum of TCP, UDP or ICMP at offset `at` by the differences of the pseudo header
 * and of the bytes that the checksum covers itself. A checksum that is left to the interface
 * (CHECKSUM_PARTIAL) has the former only.
 */
INLINE long change_checksum(context *ctx, __u32 at, __u32 pseudo, __u32 own, int may_be_none)
{
	/* A UDP checksum of zero means that there is none. */
	__u64 flags = may_be_none ? BPF_F_MARK_MANGLED_0 : 0;

	return (pseudo && bpf_l4_csum_replace(ctx, at, 0, pseudo, flags | BPF_F_PSEUDO_HDR)) ||
	       (own && bpf_l4_csum_replace(ctx, at, 0, own, flags));
}

/*
 * Returns 1 if the checksum is left to the interface (CHECKSUM_PARTIAL). Then the field has only
 * the sum of the pseudo header, or nothing yet, and the helper does not change it. Side effect: a
 * complete checksum is corrupted by the probe, so the caller must rewrite the field.
 */
INLINE int is_checksum_partial(context *ctx, __u32 at)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(ctx, at, &before, sizeof(before));
	bpf_l4_csum_replace(ctx, at, 0, 1, 4);
	bpf_skb_load_bytes(ctx, at, &after, sizeof(after));
	return before == after;
}

/* Returns 1 if the frame begins with its link header. */
INLINE int has_link_header(context *ctx)
{
	__be16 type;

	return load_bytes(ctx, 2 * ETH_ALEN, &type, sizeof(type)) || type == frame_ethertype(ctx);
}

/*
 * Restores the link header of a frame that does not begin with it. Generic XDP leaves such frames
 * when it has copied a packet and let it pass, because it forgets the length of that header
 * (skb->mac_len) since Linux 6.9. Returns 0 on success.
 */
NOINLINE long restore_link_header(context *ctx)
{
	struct ethhdr link;

	if (bpf_skb_load_bytes_relative(ctx, 0, &link, sizeof(link), BPF_HDR_START_MAC) ||
	    link.h_proto != frame_ethertype(ctx))
		return 0;
	return bpf_skb_change_head(ctx, sizeof(link), 0) ||
	       store_bytes(ctx, 0, &link, sizeof(link));
}

/*
 * node_ingress sets this tc_index in a packet that it redirects to the egress of the same
 * interface.
 */
#define TC_INDEX_TRANSLATED 0x4865

/* Sends the frame out of the interface that it arrived on. */
INLINE int send_back(context *ctx)
{
	/* node_egress skips the packet. */
	ctx->tc_index = TC_INDEX_TRANSLATED;
	return bpf_redirect(ctx->ifindex, 0);
}
