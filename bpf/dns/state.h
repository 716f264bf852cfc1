/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions read the state of names. */
#pragma once

#include "maps.h"

#define NS_PER_SECOND 1000000000ULL

INLINE struct dns_state *get_dns_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dns_state, &zero);
}

/* Returns CLOCK_MONOTONIC in seconds. */
INLINE __u32 now_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / NS_PER_SECOND;
}
