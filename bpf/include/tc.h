/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a tc program gets at its packet. The headers about packets know no more of one than what is
 * here; a source includes this first.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "bpf.h"

typedef struct __sk_buff context;

#define NEXT TC_ACT_UNSPEC /* the packet is none of ours: the next program, then the stack */
#define DROP TC_ACT_SHOT

/* Offsets that a header can lie at; the verifier wants a bound. */
#define MAX_HEADER_OFFSET 0x3fff

/* Copies from the packet, without a call where the bytes are in the linear part, as headers are. */
INLINE long load_bytes(context *ctx, __u32 offset, void *to, __u32 size)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (__builtin_constant_p(size) && offset <= MAX_HEADER_OFFSET && data + offset + size <= end) {
		/* By words: both architectures read them wherever they lie. */
		__builtin_memcpy(to, (const __u32 *)(data + offset), size);
		return 0;
	}
	return bpf_skb_load_bytes(ctx, offset, to, size);
}

INLINE long store_bytes(context *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_skb_store_bytes(ctx, offset, from, size, 0);
}

INLINE __u32 ifindex_of(const context *ctx)
{
	return ctx->ifindex;
}

/* Of the frame, in bytes. */
INLINE __u32 frame_length(const context *ctx)
{
	return ctx->len;
}

/* ETH_P_*, in network byte order. */
INLINE __be16 frame_ethertype(context *ctx)
{
	return ctx->protocol;
}

/* Payload of the packets that this one will be cut into; 0: it is one. */
INLINE __u32 segment_size(const context *ctx)
{
	return ctx->gso_size;
}

/* Makes the frame end after `length` bytes. */
INLINE long set_length(context *ctx, __u32 length)
{
	return bpf_skb_change_tail(ctx, length, 0);
}

/*
 * Makes room for another IP header of the packet's family behind the link header. Segments stay as
 * large as they are, so they must fit with it.
 */
INLINE long insert_room(context *ctx, int ipv4)
{
	return ipv4 ? bpf_skb_adjust_room(ctx, 20, BPF_ADJ_ROOM_MAC,
					  BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) :
		      bpf_skb_adjust_room(ctx, 40, BPF_ADJ_ROOM_MAC,
					  BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
}

/* Takes so many bytes behind the link header away. */
INLINE long remove_room(context *ctx, __u32 bytes)
{
	return bpf_skb_adjust_room(ctx, -(__s32)bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/*
 * Tells the checksum of TCP, UDP or ICMP at `at` of changes: of the pseudo header, and of what it
 * covers itself. A checksum that is left to the device (CHECKSUM_PARTIAL) has the first only.
 */
INLINE long change_checksum(context *ctx, __u32 at, __u32 pseudo, __u32 own, int may_be_none)
{
	/* UDP's checksum of zero stands for none. */
	__u64 flags = may_be_none ? BPF_F_MARK_MANGLED_0 : 0;

	return (pseudo && bpf_l4_csum_replace(ctx, at, 0, pseudo, flags | BPF_F_PSEUDO_HDR)) ||
	       (own && bpf_l4_csum_replace(ctx, at, 0, own, flags));
}

/*
 * Whether the checksum is left to the device (CHECKSUM_PARTIAL): then the field holds the pseudo
 * header's sum only, or nothing yet, and the helper leaves it alone when told of a change. Otherwise
 * the field is spoilt by the question.
 */
INLINE int is_checksum_partial(context *ctx, __u32 at)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(ctx, at, &before, sizeof(before));
	bpf_l4_csum_replace(ctx, at, 0, 1, 4);
	bpf_skb_load_bytes(ctx, at, &after, sizeof(after));
	return before == after;
}

/*
 * Has the frame begin with its link header. It doesn't where generic XDP has copied a packet that it let
 * pass: since Linux 6.9 it forgets how long that header is (skb->mac_len). Returns 0 when all is well.
 */
INLINE long restore_link_header(context *ctx)
{
	struct ethhdr link;
	__be16 type;

	if (load_bytes(ctx, 2 * ETH_ALEN, &type, sizeof(type)) || type == frame_ethertype(ctx))
		return 0;
	if (bpf_skb_load_bytes_relative(ctx, 0, &link, sizeof(link), BPF_HDR_START_MAC) ||
	    link.h_proto != frame_ethertype(ctx))
		return 0;
	return bpf_skb_change_head(ctx, sizeof(link), 0) || store_bytes(ctx, 0, &link, sizeof(link));
}

/* tc_index of a packet on its way from node_ingress to node_egress of the same device. */
#define TC_INDEX_TRANSLATED 0x4865

/* Sends the frame as it is out of the device that it came in by. */
INLINE int send_back(context *ctx)
{
	/* Nothing is left to do for node_egress. */
	ctx->tc_index = TC_INDEX_TRANSLATED;
	return bpf_redirect(ctx->ifindex, 0);
}
