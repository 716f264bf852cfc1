// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Programs on devices, each counting in a variable of its own.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "helpers.h"

struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 4096);
} records SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 2);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} per_cpu SEC(".maps");

u64 xdp_seen;
u64 tc_seen;
u64 second_seen;
u32 mark = 7;
const volatile u32 verdict = XDP_PASS;

SEC("xdp")
int xdp_count(struct xdp_md *ctx)
{
	u32 zero = 0, *own;

	__sync_fetch_and_add(&xdp_seen, 1);
	own = bpf_map_lookup_elem(&per_cpu, &zero);
	if (own)
		*own += 1;
	return verdict;
}

/* Swaps the Ethernet addresses and cuts two bytes off the end. */
SEC("xdp")
int xdp_turn(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	int i;

	if ((void *)(data + 14) > end)
		return XDP_DROP;
	for (i = 0; i < 6; i++) {
		unsigned char byte = data[i];
		data[i] = data[i + 6];
		data[i + 6] = byte;
	}
	bpf_xdp_adjust_tail(ctx, -2);
	return XDP_TX;
}

SEC("tc")
int tc_count(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&tc_seen, 1);
	skb->mark = mark;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int tc_second(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&second_seen, 1);
	return TC_ACT_UNSPEC;
}

/* Fills the ring with numbered records, of which every third is thrown away. */
SEC("tc")
int tc_record(struct __sk_buff *skb)
{
	u64 number = __sync_fetch_and_add(&tc_seen, 1);
	u64 *record = bpf_ringbuf_reserve(&records, 24, 0);

	if (!record)
		return TC_ACT_SHOT;
	record[0] = number;
	record[1] = ~number;
	record[2] = skb->len;
	if (number % 3 == 2)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
