/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The parts that all programs of socket.bpf.c share: they find out what a destination is to Heddle, choose a
 * backend for it or refuse it, and read what a socket is connected to.
 */
#pragma once

#include "address.h"
#include "balance.h"
#include "client.h"
#include "maps.h"
#include "ranges.h"
#include "refusal.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define EPERM 1
#define TCP_ESTABLISHED 1 /* also the state of a connected UDP socket */
#define ECONNREFUSED 111
#define EADDRNOTAVAIL 99

#define ALLOW 1
#define REFUSE 0

/* What a destination is to Heddle. */
enum destination {
	DESTINATION_DIRECT,
	DESTINATION_SERVICE,
	DESTINATION_UNKNOWN_PORT,
	DESTINATION_UDP_BACKEND, /* addressed directly, but some UDP service has it too */
	DESTINATION_OUT_OF_RANGE,	 /* a service whose source ranges do not have the client */
};

/* The socket, loaded from the context once: the compiler would compute the field's address, which the verifier refuses. */
INLINE struct bpf_sock *socket_of(const struct bpf_sock_addr *ctx)
{
	struct bpf_sock *socket = ctx->sk;

	barrier_var(socket);
	return socket;
}

/* Whether a service with ranges serves the socket; a client whose address is not known is in no range. */
GLOBAL int is_served(struct bpf_sock_addr *ctx, const struct service_key *key)
{
	struct endpoint client = {};

	if (!key)
		return 0;
	copy_address(&client.address, key->address);
	return find_socket_source(ctx, is_mapped_ipv4(&client), &client.address) &&
	       is_in_ranges(key->address, key->port, key->protocol, &client.address);
}

/* Finds out what the destination is; `key` is the service's key if it is one. */
INLINE enum destination classify_destination(struct bpf_sock_addr *ctx, const struct endpoint *to, struct service_key *key)
{
	struct service *service;
	__u32 *role;

	/* A pod's loopback is its own. */
	if (is_loopback(to) && bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return DESTINATION_DIRECT;
	copy_address(key->address, &to->address);
	key->port = to->port;
	key->protocol = (__u8)ctx->protocol;
	key->scope = SCOPE_INTERNAL;
	service = bpf_map_lookup_elem(&services, key);
	if (service)
		return service->flags & SERVICE_INTERNAL_SOURCE_RANGES && !is_served(ctx, key) ? DESTINATION_OUT_OF_RANGE
										     : DESTINATION_SERVICE;
	if (is_loopback(to)) {
		((__u32 *)key->address)[3] = 0;
		return bpf_map_lookup_elem(&services, key) ? DESTINATION_SERVICE : DESTINATION_DIRECT;
	}
	role = bpf_map_lookup_elem(&addresses, key->address);
	if (!role)
		return DESTINATION_DIRECT;
	if (*role & ADDRESS_SERVICE)
		return DESTINATION_UNKNOWN_PORT;
	return *role & ADDRESS_UDP_BACKEND ? DESTINATION_UDP_BACKEND : DESTINATION_DIRECT;
}

INLINE int select_for_socket(struct bpf_sock_addr *ctx, const struct service_key *key, struct origin *origin)
{
	client_id client = bpf_get_netns_cookie(ctx);

	return lb_select(key, 0, origin, client, client_hash(client), 0);
}

GLOBAL int reject(enum refusal_reason reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&refusals, &key);

	if (count)
		(*count)++;
	bpf_set_retval(reason == REFUSED_INVALID_SOURCE ? -EADDRNOTAVAIL
		       : reason == REFUSED_SOURCE_RANGE ? -EPERM
							: -ECONNREFUSED);
	return REFUSE;
}

/* Refuses what is for a service, and counts it there; `key` is on the caller's stack. */
INLINE int reject_service(const struct service_key *key, enum refusal_reason reason)
{
	struct service *service = bpf_map_lookup_elem(&services, key);

	if (service)
		count_refusal(service->id, reason);
	return reject(reason);
}

INLINE int is_translated(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

INLINE void count_socket_conn(const struct origin *origin)
{
	__u32 id = origin->backend;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats)
		__sync_fetch_and_add(&stats->connections, 1);
}

INLINE int is_origin_of(const struct origin *origin, const struct endpoint *from)
{
	return origin->backend_port == from->port && same_address(origin->backend_address, &from->address);
}

/* The socket itself chose the address: what it asked for and what it gets are the same. */
INLINE void direct_origin(struct origin *origin, const struct endpoint *to)
{
	__builtin_memset(origin, 0, sizeof(*origin));
	copy_address(origin->frontend, &to->address);
	copy_address(origin->backend_address, &to->address);
	origin->frontend_port = to->port;
	origin->backend_port = to->port;
}

/* Whether a UDP socket is connected, as the socket itself says; connect() to AF_UNSPEC runs no hook. */
INLINE int is_connected(const struct bpf_sock *socket)
{
	return socket->state == TCP_ESTABLISHED;
}

/* What a connected socket is connected to, as the socket itself says. */
INLINE void read_peer(const struct bpf_sock *socket, struct endpoint *peer)
{
	__u32 address = socket->dst_ip4;

	/* Else both families would share a load from a computed address, which the verifier refuses. */
	barrier_var(address);
	if (socket->family == AF_INET) {
		map_ipv4(&peer->address, address);
	} else {
		peer->address.words[0] = socket->dst_ip6[0];
		peer->address.words[1] = socket->dst_ip6[1];
		peer->address.words[2] = socket->dst_ip6[2];
		peer->address.words[3] = socket->dst_ip6[3];
	}
	peer->port = socket->dst_port;
}
