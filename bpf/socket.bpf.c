// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cgroup hooks: a service's address is translated at the socket, so that packets never have it.
 * connect() of TCP and UDP selects a backend once; sendmsg() of an unconnected UDP socket keeps a
 * backend for each service that it sends to. getpeername() and recvmsg() translate the backend's
 * address back, so that the application never sees it.
 *
 * IPv4 addresses in IPv6 sockets reach connect6, recvmsg6 and getpeername6, but sendmsg4: the
 * kernel passes such a datagram to IPv4 before the hook (net/ipv6/udp.c, udpv6_sendmsg). With one
 * address type the same code serves all.
 */
#include "socket/bind.h"
#include "socket/congestion.h"
#include "socket/connect.h"
#include "socket/rev_nat.h"
#include "socket/sendmsg.h"

const volatile struct socket_config config = {};
const volatile struct pod_config pod_config = {};

LICENSE("Dual BSD/GPL");

/* The two families differ only in the fields of the context that have the address. */
#define ADDRESS_HOOKS(n)                                                           \
	SEC("cgroup/connect" #n) int connect##n(struct bpf_sock_addr *ctx)         \
	{                                                                          \
		struct endpoint to;                                                \
                                                                                   \
		if (!is_translated(ctx))                                           \
			return ALLOW;                                              \
		read_address##n(&to, ctx);                                         \
		if (!is_left_alone(ctx) && on_connect(ctx, &to) == REJECT)         \
			return REJECT;                                             \
		choose_congestion(ctx, &to);                                       \
		write_address##n(ctx, &to);                                        \
		return ALLOW;                                                      \
	}                                                                          \
	SEC("cgroup/sendmsg" #n) int sendmsg##n(struct bpf_sock_addr *ctx)         \
	{                                                                          \
		struct endpoint to;                                                \
                                                                                   \
		if (!is_translated(ctx))                                           \
			return ALLOW;                                              \
		read_address##n(&to, ctx);                                         \
		if (!is_left_alone(ctx) && on_sendmsg(ctx, &to) == REJECT)         \
			return REJECT;                                             \
		write_address##n(ctx, &to);                                        \
		return ALLOW;                                                      \
	}                                                                          \
	SEC("cgroup/recvmsg" #n) int recvmsg##n(struct bpf_sock_addr *ctx)         \
	{                                                                          \
		struct endpoint from;                                              \
                                                                                   \
		read_address##n(&from, ctx);                                       \
		if (on_recvmsg(ctx->sk, &from))                                    \
			write_address##n(ctx, &from);                              \
		return ALLOW;                                                      \
	}                                                                          \
	SEC("cgroup/getpeername" #n) int getpeername##n(struct bpf_sock_addr *ctx) \
	{                                                                          \
		struct endpoint peer;                                              \
                                                                                   \
		read_address##n(&peer, ctx);                                       \
		if (on_getpeername(ctx, &peer))                                    \
			write_address##n(ctx, &peer);                              \
		return ALLOW;                                                      \
	}                                                                          \
	SEC("cgroup/bind" #n) int bind##n(struct bpf_sock_addr *ctx)               \
	{                                                                          \
		struct endpoint at;                                                \
                                                                                   \
		read_address##n(&at, ctx);                                         \
		return on_bind(ctx, &at, n == 6);                                  \
	}

ADDRESS_HOOKS(4)
ADDRESS_HOOKS(6)

SEC("cgroup/sock_release") int sock_release(struct bpf_sock *ctx)
{
	struct connection *connection = bpf_sk_storage_get(&connections, ctx, 0, 0);

	if (connection)
		count_conn_closed(connection);
	return ALLOW;
}
