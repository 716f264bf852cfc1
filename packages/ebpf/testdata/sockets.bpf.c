// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Iterators over sockets and maps, socket storage, a typed tracepoint.
#include <linux/bpf.h>

#include "helpers.h"

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
} CORE;

struct sock_common {
	u32 skc_daddr;
	u16 skc_num;
	u16 skc_dport;
	unsigned short skc_family;
} CORE;

struct sock {
	struct sock_common __sk_common;
} CORE;

struct inet_sock {
	struct sock sk;
} CORE;

struct udp_sock {
	struct inet_sock inet;
} CORE;

struct bpf_map {
	u32 id;
} CORE;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	unsigned int uid;
} CORE;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
	unsigned int uid;
	int bucket;
} CORE;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} CORE;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} CORE;

extern int bpf_sock_destroy(struct sock_common *sock) KSYM WEAK;
extern int bpf_no_such_kfunc(struct sock_common *sock) KSYM WEAK;

struct {
	MAP_UINT(type, BPF_MAP_TYPE_SK_STORAGE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, u64);
} storage SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 16);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} numbers SEC(".maps");

/* Sockets with this local port are destroyed, in host order. */
volatile u16 victim_port;
u64 switches;

SEC("iter/tcp")
int list_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	u16 line[2];

	if (!sk)
		return 0;
	line[0] = sk->skc_num;
	line[1] = sk->skc_family;
	bpf_seq_write(ctx->meta->seq, line, sizeof(line));
	if (victim_port && sk->skc_num == victim_port && bpf_sock_destroy)
		bpf_sock_destroy(sk);
	return 0;
}

SEC("iter/udp")
int list_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;
	u16 line[2];

	if (!udp)
		return 0;
	line[0] = udp->inet.sk.__sk_common.skc_num;
	line[1] = udp->inet.sk.__sk_common.skc_family;
	bpf_seq_write(ctx->meta->seq, line, sizeof(line));
	if (victim_port && line[0] == victim_port) {
		if (bpf_no_such_kfunc)
			bpf_no_such_kfunc((struct sock_common *)udp);
		if (bpf_sock_destroy)
			bpf_sock_destroy((struct sock_common *)udp);
	}
	return 0;
}

SEC("iter/bpf_map_elem")
int list_numbers(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key, *value = ctx->value, pair[2];

	if (!key || !value)
		return 0;
	pair[0] = *key;
	pair[1] = *value;
	bpf_seq_write(ctx->meta->seq, pair, sizeof(pair));
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int list_storage(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	u64 *value = ctx->value;

	if (!ctx->sk || !value)
		return 0;
	bpf_seq_write(ctx->meta->seq, value, sizeof(*value));
	return 0;
}

SEC("tp_btf/sched_switch")
int on_switch(void *ctx)
{
	__sync_fetch_and_add(&switches, 1);
	return 0;
}

SEC("raw_tp/sched_switch")
int on_raw_switch(void *ctx)
{
	__sync_fetch_and_add(&switches, 1);
	return 0;
}

SEC("cgroup/sock_create")
int keep_storage(struct bpf_sock *ctx)
{
	u64 *value = bpf_sk_storage_get(&storage, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (value)
		*value = 42;
	return 1;
}

char _license[] SEC("license") = "GPL";
