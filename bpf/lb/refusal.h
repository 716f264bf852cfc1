/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rejected calls and dropped packets are counted by service. */
#pragma once

#include "maps.h"

/*
 * Counts a refusal of the service. The first one is lost if the map is full. The counters are
 * shared by all CPUs: a flood at one service shares a cache line, which costs less than a value for
 * each CPU of a large machine.
 */
GLOBAL int count_refusal(__u32 service, __u32 reason)
{
	struct service_refusal key = { .service = service, .reason = reason };
	__u64 *count = bpf_map_lookup_elem(&service_refused, &key), none = 0;

	if (!count) {
		bpf_map_update_elem(&service_refused, &key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&service_refused, &key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
