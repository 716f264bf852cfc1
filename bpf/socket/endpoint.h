/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions read and write the address and port in the context of a socket hook. */
#pragma once

#include "lib/address.h"

/*
 * A struct sockaddr_in6 of the unspecified address; it begins with a struct sockaddr_in of that
 * address.
 */
struct sockaddr_in6_any {
	__u16 family;
	__u8 rest[26];
};

#define SOCKADDR_IN_SIZE 16

/* An address and a port on the stack, which can be compared by words. */
struct endpoint {
	union {
		__u8 bytes[16];
		__u32 words[4];
		__u64 halves[2];
	} address;
	__be16 port;
};

INLINE int is_mapped_ipv4(const struct endpoint *endpoint)
{
	return endpoint->address.halves[0] == 0 && endpoint->address.words[2] == bpf_htonl(0xffff);
}

/* Returns 1 if the address is loopback, or unspecified, which connect() treats as loopback. */
INLINE int is_loopback(const struct endpoint *endpoint)
{
	__u32 last = endpoint->address.words[3];

	if (is_mapped_ipv4(endpoint))
		return (last & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || last == 0;
	return endpoint->address.halves[0] == 0 && endpoint->address.words[2] == 0 &&
	       (last == bpf_htonl(1) || last == 0);
}

INLINE void read_address4(struct endpoint *endpoint, const struct bpf_sock_addr *ctx)
{
	endpoint->address.halves[0] = 0;
	endpoint->address.words[2] = bpf_htonl(0xffff);
	endpoint->address.words[3] = ctx->user_ip4;
	endpoint->port = (__be16)ctx->user_port;
}

INLINE void read_address6(struct endpoint *endpoint, const struct bpf_sock_addr *ctx)
{
	endpoint->address.words[0] = ctx->user_ip6[0];
	endpoint->address.words[1] = ctx->user_ip6[1];
	endpoint->address.words[2] = ctx->user_ip6[2];
	endpoint->address.words[3] = ctx->user_ip6[3];
	endpoint->port = (__be16)ctx->user_port;
}

INLINE void write_address4(struct bpf_sock_addr *ctx, const struct endpoint *endpoint)
{
	ctx->user_ip4 = endpoint->address.words[3];
	ctx->user_port = endpoint->port;
}

INLINE void write_address6(struct bpf_sock_addr *ctx, const struct endpoint *endpoint)
{
	ctx->user_ip6[0] = endpoint->address.words[0];
	ctx->user_ip6[1] = endpoint->address.words[1];
	ctx->user_ip6[2] = endpoint->address.words[2];
	ctx->user_ip6[3] = endpoint->address.words[3];
	ctx->user_port = endpoint->port;
}
