/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Some array maps are bit sets. */
#pragma once

#include "bpf.h"

/* Returns a bit of a map whose values are words of 64 bits. */
INLINE int has_bit(void *map, __u32 bit)
{
	__u32 word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(map, &word);

	return bits && *bits >> bit % 64 & 1;
}
