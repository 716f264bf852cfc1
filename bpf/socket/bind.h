/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bind(): a process of the node cannot bind to a NodePort or hostPort, because connections to that
 * port are translated and would never reach the process.
 */
#pragma once

#include "common.h"
#include "lib/kernel.h"

#define EADDRINUSE 98

/* Returns 1 if a service has the address and port, with all of the flags. */
INLINE int is_taken(const struct service_key *key, __u32 flags)
{
	struct service *service = bpf_map_lookup_elem(&services, key);

	return service && (service->flags & flags) == flags;
}

/*
 * Returns 1 for an IPv6 socket that does not accept IPv4 (IPV6_V6ONLY), which bpf_getsockopt()
 * cannot read.
 */
INLINE int is_ipv6_only(struct bpf_sock_addr *ctx)
{
	/* All kinds of sockets begin with a struct sock_common. */
	struct sock_common *socket = ctx->protocol == IPPROTO_TCP ? bpf_skc_to_tcp6_sock(ctx->sk) :
								    bpf_skc_to_udp6_sock(ctx->sk);
	__u64 byte;

	if (!socket)
		return 0;
	byte = *((__u8 *)socket + FIELD_BYTE(socket->skc_ipv6only));
	return byte << FIELD_LSHIFT(socket->skc_ipv6only) >> FIELD_RSHIFT(socket->skc_ipv6only);
}

/*
 * Rejects a bind() to a NodePort or hostPort: at each address of the node that has the port, on
 * loopback, and at the unspecified address of a family that has the port.
 */
INLINE int on_bind(struct bpf_sock_addr *ctx, const struct endpoint *at, int ipv6)
{
	struct service_key key = { .port = at->port,
				   .protocol = (__u8)ctx->protocol,
				   .scope = SCOPE_INTERNAL };
	struct service_key any = key;
	int is_rejected;

	if (!key.port || !is_translated(ctx) ||
	    bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return ALLOW;
	copy_address(key.address, &at->address);
	if (is_mapped_ipv4(at))
		map_ipv4(any.address, 0);
	/*
	 * The unspecified address has all NodePorts and hostPorts without hostIP of its family, and
	 * serves loopback.
	 */
	is_rejected = is_taken(&key, SERVICE_HOST_PORT) ||
		      (is_taken(&any, 0) && (is_loopback(at) || is_taken(&key, 0)));
	if (!is_rejected && ipv6 && !(at->address.halves[0] | at->address.halves[1]) &&
	    !is_ipv6_only(ctx)) {
		map_ipv4(any.address, 0);
		is_rejected = is_taken(&any, 0);
	}
	if (!is_rejected)
		return ALLOW;
	bpf_set_retval(-EADDRINUSE);
	return REJECT;
}
