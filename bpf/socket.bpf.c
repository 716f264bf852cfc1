// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cgroup hooks: a service address is translated where the socket is made, so no packet ever
 * carries it. connect() of TCP and UDP chooses a backend once; sendmsg() of an unconnected UDP
 * socket keeps one backend for each service that the socket talks to. getpeername() and recvmsg()
 * turn the backend's address into the service's again, so the application never sees it.
 *
 * IPv4 addresses in IPv6 sockets reach connect6, recvmsg6 and getpeername6, but sendmsg4: the
 * kernel hands such a datagram to IPv4 before the hook (net/ipv6/udp.c, udpv6_sendmsg). With one
 * address type the same code serves all.
 */
#include "socket-bind.h"
#include "socket-connect.h"
#include "socket-datagram.h"
#include "socket-unmask.h"

const volatile struct socket_config config = {};

LICENSE("Dual BSD/GPL");

/* The two families differ in where the context holds the address, and in nothing else. */
#define ADDRESS_HOOKS(n)                                                                                \
	SEC("cgroup/connect" #n) int connect##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint to;                                                                     \
                                                                                                        \
		if (!is_translated(ctx))                                                                \
			return ALLOW;                                                                   \
		read_address##n(&to, ctx);                                                              \
		if (on_connect(ctx, &to) == REFUSE)                                                     \
			return REFUSE;                                                                  \
		write_address##n(ctx, &to);                                                             \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/sendmsg" #n) int sendmsg##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint to;                                                                     \
                                                                                                        \
		if (!is_translated(ctx))                                                                \
			return ALLOW;                                                                   \
		read_address##n(&to, ctx);                                                              \
		if (on_sendmsg(ctx, &to) == REFUSE)                                                     \
			return REFUSE;                                                                  \
		write_address##n(ctx, &to);                                                             \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/recvmsg" #n) int recvmsg##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint from;                                                                   \
                                                                                                        \
		read_address##n(&from, ctx);                                                            \
		if (on_recvmsg(ctx->sk, &from))                                                         \
			write_address##n(ctx, &from);                                                   \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/getpeername" #n) int getpeername##n(struct bpf_sock_addr *ctx)                      \
	{                                                                                               \
		struct endpoint peer;                                                                   \
                                                                                                        \
		read_address##n(&peer, ctx);                                                            \
		if (on_getpeername(ctx, &peer))                                                  \
			write_address##n(ctx, &peer);                                                   \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/bind" #n) int bind##n(struct bpf_sock_addr *ctx)                                    \
	{                                                                                               \
		struct endpoint at;                                                                     \
                                                                                                        \
		read_address##n(&at, ctx);                                                              \
		return on_bind(ctx, &at, n == 6);                                                       \
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
