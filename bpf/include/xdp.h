/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How an XDP program gets at its packet; the same names as in tc.h. A packet may lie in several pieces
 * (Linux 5.18, for large MTUs); headers lie in the first.
 */
#pragma once

#include <linux/if_ether.h>

#include "bpf.h"
#include "checksum.h"

typedef struct xdp_md context;

#define NEXT XDP_PASS /* the packet is left to the node's tc programs, and to the stack */
#define DROP XDP_DROP

/* Offsets that a header can lie at; the verifier wants a bound. */
#define MAX_HEADER_OFFSET 0x3fff

INLINE long load_bytes(context *ctx, __u32 offset, void *to, __u32 size)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (__builtin_constant_p(size) && offset <= MAX_HEADER_OFFSET && data + offset + size <= end) {
		/* By words: both architectures read them wherever they lie. */
		__builtin_memcpy(to, (const __u32 *)(data + offset), size);
		return 0;
	}
	return bpf_xdp_load_bytes(ctx, offset, to, size);
}

INLINE long store_bytes(context *ctx, __u32 offset, const void *from, __u32 size)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (__builtin_constant_p(size) && offset <= MAX_HEADER_OFFSET && data + offset + size <= end) {
		__builtin_memcpy((__u32 *)(data + offset), from, size);
		return 0;
	}
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, size);
}

INLINE __u32 ifindex_of(const context *ctx)
{
	return ctx->ingress_ifindex;
}

/* Of the frame, in bytes. */
INLINE __u32 frame_length(context *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* ETH_P_*, in network byte order. */
INLINE __be16 frame_ethertype(context *ctx)
{
	__be16 type;

	return load_bytes(ctx, 2 * ETH_ALEN, &type, sizeof(type)) ? 0 : type;
}

/* A frame is one packet here: devices don't put several together before XDP. */
INLINE __u32 segment_size(const context *ctx)
{
	return 0;
}

/* Makes room for another IP header of the packet's family; what is before the IP header is to be written anew. */
INLINE long insert_room(context *ctx, int ipv4)
{
	return bpf_xdp_adjust_head(ctx, ipv4 ? -20 : -40);
}

/* Changes the checksum of TCP, UDP or ICMP at `at` by that of the pseudo header, and of what it covers itself. */
INLINE long change_checksum(context *ctx, __u32 at, __u32 pseudo, __u32 own, int may_be_none)
{
	__u16 checksum;

	if (load_bytes(ctx, at, &checksum, sizeof(checksum)))
		return -1;
	/* UDP's checksum of zero stands for none. */
	if (may_be_none && !checksum)
		return 0;
	checksum = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(pseudo) + fold_checksum(own));
	if (may_be_none && !checksum)
		checksum = 0xffff;
	return store_bytes(ctx, at, &checksum, sizeof(checksum));
}

/* Such packets are passed on before anything is changed; see checksum_may_be_partial. */
INLINE int is_checksum_partial(context *ctx, __u32 at)
{
	return 0;
}

/* Sends the frame as it is out of the device that it came in by. */
INLINE int send_back(context *ctx)
{
	return XDP_TX;
}
