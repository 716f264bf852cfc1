/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one address type, and how a socket hook's context holds it. */
#pragma once

#include "bpf.h"

#define AF_INET 2
#define AF_INET6 10

/* struct sockaddr_in6 of an unspecified address; its beginning is a struct sockaddr_in of such. */
struct sockaddr_in6_any {
	__u16 family;
	__u8 rest[26];
};

#define SOCKADDR_IN_SIZE 16

/* An address of abi.h with its port, copied to the stack so that it can be compared by words. */
struct endpoint {
	union {
		__u8 bytes[16];
		__u32 words[4];
		__u64 halves[2];
	} address;
	__be16 port;
};

INLINE int same_address(const void *left, const void *right)
{
	const __u32 *a = left, *b = right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

INLINE void copy_address(void *to, const void *from)
{
	__u32 *a = to;
	const __u32 *b = from;

	a[0] = b[0];
	a[1] = b[1];
	a[2] = b[2];
	a[3] = b[3];
}

/* Makes an address of abi.h from an IPv4 one in network byte order. */
INLINE void map_ipv4(void *to, __be32 address)
{
	__u32 *words = to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

INLINE int is_mapped_ipv4(const struct endpoint *endpoint)
{
	return endpoint->address.halves[0] == 0 && endpoint->address.words[2] == bpf_htonl(0xffff);
}

/* Whether the address is loopback, or unspecified, which connect() takes for loopback. */
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
