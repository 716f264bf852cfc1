/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The source address that a socket is bound to. Pods cannot be reached from a loopback address, so
 * such a source is released if possible; otherwise the call is rejected.
 */
#pragma once

#include "common.h"

/* Returns 1 if the socket is bound to a loopback address. */
INLINE int has_loopback_source(const struct bpf_sock *socket)
{
	struct endpoint source = {};

	if (socket->family == AF_INET) {
		map_ipv4(&source.address, socket->src_ip4);
	} else {
		source.address.words[0] = socket->src_ip6[0];
		source.address.words[1] = socket->src_ip6[1];
		source.address.words[2] = socket->src_ip6[2];
		source.address.words[3] = socket->src_ip6[3];
	}
	return is_loopback(&source) && source.address.words[3] != 0;
}

/*
 * Releases the socket's source address, which works as long as the socket has no port
 * (IP_BIND_ADDRESS_NO_PORT).
 */
INLINE int unbind_source(struct bpf_sock_addr *ctx, const struct bpf_sock *socket)
{
	struct sockaddr_in6_any any = { .family = (__u16)socket->family };

	return socket->src_port ?
		       -1 :
		       bpf_bind(ctx, &any,
				socket->family == AF_INET ? SOCKADDR_IN_SIZE : sizeof(any));
}

/*
 * Returns 1 if the socket can reach the backend from its source address. A socket that is bound to
 * a loopback address can connect to NodePorts on loopback, but Linux does not route from there to a
 * pod: IPv4 fails with EINVAL (__mkroute_output in net/ipv4/route.c), and IPv6 sends packets that
 * all receivers drop (ip6_rcv_core).
 */
INLINE int reaches_backend(struct bpf_sock_addr *ctx, const struct endpoint *frontend,
			   const struct origin *origin, int connects)
{
	struct bpf_sock *socket;
	__u8 backend[16];
	__u32 *role;

	if (!is_loopback(frontend))
		return 1;
	/* The verifier requires that the field is read relative to the beginning of the context. */
	barrier_var(ctx);
	socket = ctx->sk;
	if (!socket || !has_loopback_source(socket))
		return 1;
	copy_address(backend, origin->backend_address);
	role = bpf_map_lookup_elem(&addresses, backend);
	return (role && *role & ADDRESS_NODE) || (connects && !unbind_source(ctx, socket));
}
