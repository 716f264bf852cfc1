// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Compiled by build.sh.
//
// Programs that the verifier refuses.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

SEC("xdp")
int unchecked(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &zero);

	*value = 1;
	return XDP_PASS;
}

/* Fails late, so that the log before it is long. */
SEC("xdp")
int late(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &zero);
	volatile __u32 turns = 0;

	while (turns < 5000)
		turns++;
	*value = turns;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
