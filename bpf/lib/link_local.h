/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function recognizes the addresses of a link. */
#pragma once

#include "bpf.h"

/* Returns 1 for fe80::/10. */
INLINE int is_link_local(const void *address)
{
	return bpf_htonl(*(const __u32 *)address) >> 22 == 0xfe80 >> 6;
}
