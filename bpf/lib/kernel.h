/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs read these fields of kernel structs. CO-RE relocates their offsets when a program is
 * loaded, so only names and types matter here.
 */
#pragma once

#include "bpf.h"

#define KERNEL_STRUCT __attribute__((preserve_access_index))

struct seq_file;
struct bpf_map;

struct ns_common {
	unsigned int inum;
} KERNEL_STRUCT;

struct net {
	struct ns_common ns;
} KERNEL_STRUCT;

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	unsigned char skc_ipv6only : 1;
	struct in6_addr skc_v6_daddr;
} KERNEL_STRUCT;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
} KERNEL_STRUCT;

struct udp_sock;

struct inet_connection_sock {
	__u8 icsk_ca_setsockopt : 1;
} KERNEL_STRUCT;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
} KERNEL_STRUCT;

/* A struct mptcp_sock begins with a struct sock. */
struct mptcp_sock {
	struct sock sk;
};

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL_STRUCT;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} KERNEL_STRUCT;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} KERNEL_STRUCT;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} KERNEL_STRUCT;
