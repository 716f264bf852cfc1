/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions compute sums of the internet checksum (RFC 1071). */
#pragma once

#include "bpf.h"

INLINE __u16 fold_checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/*
 * Returns what bpf_csum_diff() returns: a sum of 16-bit words to add to the complement of a
 * checksum.
 */
INLINE __u32 csum_diff_words(const void *from, const void *to, __u32 words)
{
	const __u32 *before = from, *after = to;
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += (__u64)(__u32)~before[i] + after[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum + (__u32)(sum >> 32);
}
