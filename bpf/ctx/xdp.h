/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions access the packet of an XDP program by the same names as in tc.h. A packet with a
 * large MTU may consist of several buffers (Linux 5.18); its headers are in the first one.
 */
#pragma once

#include <linux/if_ether.h>

#include "lib/bpf.h"
#include "lib/checksum.h"

typedef struct xdp_md context;

#define NEXT XDP_PASS /* The packet continues with the node's tc programs, then with the stack. */
#define DROP XDP_DROP

/* Network policies are left to the tc programs. */
#define HOOK_JUDGES 0

INLINE long load_bytes_by_helper(context *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_xdp_load_bytes(ctx, offset, to, size);
}

#include "ctx.h"

INLINE long store_bytes(context *ctx, __u32 offset, const void *from, __u32 size)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (__builtin_constant_p(size) && offset <= MAX_HEADER_OFFSET &&
	    data + offset + size <= end) {
		__builtin_memcpy((__u32 *)(data + offset), from, size);
		return 0;
	}
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, size);
}

/* XDP precedes the sums of interfaces. */
INLINE void update_packet_sum(context *ctx, __u32 difference)
{
}

INLINE __u32 ifindex_of(const context *ctx)
{
	return ctx->ingress_ifindex;
}

/* Returns the length of the frame in bytes. */
INLINE __u32 frame_length(context *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* Returns ETH_P_*, in network byte order. */
INLINE __be16 frame_ethertype(context *ctx)
{
	__be16 type;

	return load_bytes(ctx, 2 * ETH_ALEN, &type, sizeof(type)) ? 0 : type;
}

/* Returns 0: a frame is one packet here, because interfaces aggregate packets after XDP only. */
INLINE __u32 segment_size(const context *ctx)
{
	return 0;
}

INLINE __u32 segment_count(const context *ctx)
{
	return 1;
}

/*
 * Inserts room for another IP header of the packet's family. The caller must write everything
 * before the present IP header.
 */
INLINE long insert_room(context *ctx, int ipv4)
{
	return bpf_xdp_adjust_head(ctx, ipv4 ? -20 : -40);
}

/*
 * Updates the checksum of TCP, UDP or ICMP at offset `at` by the differences of the pseudo header
 * and of the bytes that the checksum covers itself.
 */
INLINE long change_checksum(context *ctx, __u32 at, __u32 pseudo, __u32 own, int may_be_none)
{
	__u16 checksum;

	if (load_bytes(ctx, at, &checksum, sizeof(checksum)))
		return -1;
	/* A UDP checksum of zero means that there is none. */
	if (may_be_none && !checksum)
		return 0;
	checksum = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(pseudo) +
				  fold_checksum(own));
	if (may_be_none && !checksum)
		checksum = 0xffff;
	return store_bytes(ctx, at, &checksum, sizeof(checksum));
}

/*
 * Returns 0: packets whose checksum may be partial are passed on unchanged; see
 * checksum_may_be_partial().
 */
INLINE int is_checksum_partial(context *ctx, __u32 at)
{
	return 0;
}

/* Sends the frame out of the interface that it arrived on. */
INLINE int send_back(context *ctx)
{
	return XDP_TX;
}
