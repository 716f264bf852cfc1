/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An address has 16 bytes; IPv4 is ::ffff:a.b.c.d. */
#pragma once

#include "bpf.h"

#define AF_INET 2
#define AF_INET6 10

INLINE int same_address(const void *left, const void *right)
{
	const __u32 *a = left, *b = right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

INLINE void copy_address(void *to, const void *from)
{
	__u32 *a = to;
	const __u32 *b = from;

	a[0] = b[0];
	a[1] = b[1];
	a[2] = b[2];
	a[3] = b[3];
}
