// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Counts connect() calls by port, and tells each one through a ring buffer.
#include <linux/bpf.h>

#include "helpers.h"

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, u16);
	MAP_TYPE(value, u64);
} connects SEC(".maps");

struct event {
	u16 port;
	u16 pad;
	u32 family;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 4096);
} events SEC(".maps");

/* 0: count only; 1: also write events. */
const volatile u32 with_events = 0;
/* Connections to this port are refused; 0: none. */
const volatile u16 refused_port = 0;

static int count(struct bpf_sock_addr *ctx)
{
	u16 port = __builtin_bswap16((u16)ctx->user_port);
	u64 one = 1, *seen;

	seen = bpf_map_lookup_elem(&connects, &port);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&connects, &port, &one, BPF_ANY);
	if (with_events) {
		struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
		if (event) {
			event->port = port;
			event->pad = 0;
			event->family = ctx->family;
			bpf_ringbuf_submit(event, 0);
		}
	}
	return refused_port == 0 || port != refused_port;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return count(ctx);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return count(ctx);
}

/* Takes the place of connect4 in a test of replacement. */
SEC("cgroup/connect4")
int refuse4(struct bpf_sock_addr *ctx)
{
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
