/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc.h and xdp.h share this header. Each of them defines `context`, the return codes NEXT and DROP,
 * and the same functions for its kind of program. A source includes one of them first; the headers
 * about packets access a packet through these functions only.
 */
#pragma once

/* The largest offset of a header. The verifier requires a bound. */
#define MAX_HEADER_OFFSET 0x3fff

/* Copies from the packet; without a call where the bytes lie in the linear part, as headers do. */
INLINE long load_bytes(context *ctx, __u32 offset, void *to, __u32 size)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (__builtin_constant_p(size) && offset <= MAX_HEADER_OFFSET &&
	    data + offset + size <= end) {
		/* Both architectures can load words from any address. */
		__builtin_memcpy(to, (const __u32 *)(data + offset), size);
		return 0;
	}
	return load_bytes_by_helper(ctx, offset, to, size);
}
