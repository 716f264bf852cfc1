// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Programs that the verifier refuses.
#include <linux/bpf.h>

#include "helpers.h"

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} values SEC(".maps");

SEC("xdp")
int unchecked(struct xdp_md *ctx)
{
	u32 zero = 0;
	u64 *value = bpf_map_lookup_elem(&values, &zero);

	*value = 1;
	return XDP_PASS;
}

/* Fails late, so that the log before it is long. */
SEC("xdp")
int late(struct xdp_md *ctx)
{
	u32 zero = 0;
	u64 *value = bpf_map_lookup_elem(&values, &zero);
	volatile u32 turns = 0;

	while (turns < 5000)
		turns++;
	*value = turns;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
