/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bind(): a process of the node cannot take a port where a NodePort or a hostPort is served, because
 * connections to that port are translated and would never reach the process.
 */
#pragma once

#include "kernel.h"
#include "socket.h"

#define EADDRINUSE 98

/* Whether the port is a service's there, or only a hostPort's. */
INLINE int is_taken(const struct service_key *key, __u32 flags)
{
	struct service *service = bpf_map_lookup_elem(&services, key);

	return service && (service->flags & flags) == flags;
}

/* Whether an IPv6 socket takes no IPv4 (IPV6_V6ONLY), which bpf_getsockopt() does not read. */
INLINE int is_ipv6_only(struct bpf_sock_addr *ctx)
{
	/* Every kind of socket begins with its struct sock_common. */
	struct sock_common *socket = ctx->protocol == IPPROTO_TCP ? bpf_skc_to_tcp6_sock(ctx->sk)
								  : bpf_skc_to_udp6_sock(ctx->sk);
	__u64 byte;

	if (!socket)
		return 0;
	byte = *((__u8 *)socket + FIELD_BYTE(socket->skc_ipv6only));
	return byte << FIELD_LSHIFT(socket->skc_ipv6only) >> FIELD_RSHIFT(socket->skc_ipv6only);
}

/*
 * Refuses a bind where it would take a NodePort or a hostPort: at each address of the node that has the port, on
 * loopback, and at the unspecified address of a family in which the port is served. Elsewhere nothing is in the way.
 */
INLINE int on_bind(struct bpf_sock_addr *ctx, const struct endpoint *at, int ipv6)
{
	struct service_key key = { .port = at->port, .protocol = (__u8)ctx->protocol, .scope = SCOPE_INTERNAL };
	struct service_key any = key;
	int is_refused;

	if (!key.port || !is_translated(ctx) || bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return ALLOW;
	copy_address(key.address, &at->address);
	if (is_mapped_ipv4(at))
		map_ipv4(any.address, 0);
	/* The unspecified address has every NodePort and wide hostPort of its family, and stands for loopback. */
	is_refused = is_taken(&key, SERVICE_HOST_PORT) || (is_taken(&any, 0) && (is_loopback(at) || is_taken(&key, 0)));
	if (!is_refused && ipv6 && !(at->address.halves[0] | at->address.halves[1]) && !is_ipv6_only(ctx)) {
		map_ipv4(any.address, 0);
		is_refused = is_taken(&any, 0);
	}
	if (!is_refused)
		return ALLOW;
	bpf_set_retval(-EADDRINUSE);
	return REFUSE;
}
