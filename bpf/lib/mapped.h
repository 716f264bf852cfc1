/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 addresses are mapped to ::ffff:a.b.c.d. */
#pragma once

#include "bpf.h"

/* Converts an IPv4 address in network byte order. */
INLINE void map_ipv4(void *to, __be32 address)
{
	__u32 *words = to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}
