/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections to pods of this node use cubic where they would use BBR: BBR paces what it sends,
 * and between pods of a node that takes three times as long for a large transfer.
 */
#pragma once

#include "common.h"
#include "lib/kernel.h"
#include "pod/local.h"

#define SOL_TCP 6
#define TCP_CONGESTION 13
#define CONGESTION_NAME 16 /* TCP_CA_NAME_MAX */

/* Returns 1 if the application has chosen the congestion control of a TCP socket. */
INLINE int has_chosen_congestion(struct bpf_sock_addr *ctx)
{
	struct tcp_sock *socket = bpf_skc_to_tcp_sock(ctx->sk);
	__u64 byte;

	if (!socket)
		return 1;
	byte = *((__u8 *)socket + FIELD_BYTE(socket->inet_conn.icsk_ca_setsockopt));
	return byte << FIELD_LSHIFT(socket->inet_conn.icsk_ca_setsockopt) >>
		       FIELD_RSHIFT(socket->inet_conn.icsk_ca_setsockopt) !=
	       0;
}

/* Sets cubic for a socket that connects to a pod of this node, and would use BBR by default. */
INLINE void choose_congestion(struct bpf_sock_addr *ctx, const struct endpoint *to)
{
	char name[CONGESTION_NAME] = {}, cubic[] = "cubic";

	if (!config.local_cubic || ctx->protocol != IPPROTO_TCP || !find_local_pod(&to->address))
		return;
	if (bpf_getsockopt(ctx, SOL_TCP, TCP_CONGESTION, name, sizeof(name)) || name[0] != 'b' ||
	    name[1] != 'b' || name[2] != 'r' || has_chosen_congestion(ctx))
		return;
	/* A kernel without cubic leaves the socket as it is. */
	bpf_setsockopt(ctx, SOL_TCP, TCP_CONGESTION, cubic, sizeof(cubic));
}
