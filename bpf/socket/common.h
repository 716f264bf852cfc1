/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Several programs of socket.bpf.c share these functions: they classify a destination, select a
 * backend or reject the call, and read a socket's peer.
 */
#pragma once

#include "client.h"
#include "connection.h"
#include "endpoint.h"
#include "lb/refusal.h"
#include "lb/select.h"
#include "lb/source_ranges.h"
#include "maps.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define EPERM 1
#define TCP_ESTABLISHED 1 /* also the state of a connected UDP socket */
#define ECONNREFUSED 111
#define EADDRNOTAVAIL 99

#define ALLOW 1
#define REJECT 0

/* This is the kind of a destination. */
enum destination {
	DESTINATION_DIRECT,
	DESTINATION_SERVICE,
	DESTINATION_UNKNOWN_PORT,
	DESTINATION_UDP_BACKEND,  /* an address that is also a backend of a UDP service */
	DESTINATION_OUT_OF_RANGE, /* a service whose source ranges do not include the client */
};

/*
 * Loads the socket from the context. The barrier prevents the compiler from computing the field's
 * address, which the verifier refuses.
 */
INLINE struct bpf_sock *socket_of(const struct bpf_sock_addr *ctx)
{
	struct bpf_sock *socket = ctx->sk;

	barrier_var(socket);
	return socket;
}

/*
 * Returns 1 if a service with source ranges serves the socket. An unknown source address is in no
 * range.
 */
GLOBAL int is_served(struct bpf_sock_addr *ctx, const struct service_key *key)
{
	struct endpoint client = {};

	if (!key)
		return 0;
	copy_address(&client.address, key->address);
	return find_socket_source(ctx, is_mapped_ipv4(&client), &client.address) &&
	       is_in_ranges(key->address, key->port, key->protocol, &client.address);
}

/*
 * Classifies a destination. If it is a service's, `key` is the service's key, and `service` the
 * service.
 */
INLINE enum destination classify_destination(struct bpf_sock_addr *ctx, const struct endpoint *to,
					     struct service_key *key, struct service **service)
{
	__u32 *role;

	*service = 0;
	/* The loopback addresses of pods are not the node's. */
	if (is_loopback(to) && bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return DESTINATION_DIRECT;
	copy_address(key->address, &to->address);
	key->port = to->port;
	key->protocol = (__u8)ctx->protocol;
	key->scope = SCOPE_INTERNAL;
	*service = bpf_map_lookup_elem(&services, key);
	if (*service)
		return (*service)->flags & SERVICE_INTERNAL_SOURCE_RANGES && !is_served(ctx, key) ?
			       DESTINATION_OUT_OF_RANGE :
			       DESTINATION_SERVICE;
	if (is_loopback(to)) {
		((__u32 *)key->address)[3] = 0;
		*service = bpf_map_lookup_elem(&services, key);
		return *service ? DESTINATION_SERVICE : DESTINATION_DIRECT;
	}
	role = bpf_map_lookup_elem(&addresses, key->address);
	if (!role)
		return DESTINATION_DIRECT;
	if (*role & ADDRESS_SERVICE)
		return DESTINATION_UNKNOWN_PORT;
	return *role & ADDRESS_UDP_BACKEND ? DESTINATION_UDP_BACKEND : DESTINATION_DIRECT;
}

/*
 * Selects a backend of the service with that key for a socket, and sets it in `origin`. Returns
 * V_OK or a drop reason.
 */
INLINE enum verdict select_for_socket(struct bpf_sock_addr *ctx, const struct service_key *key,
				      struct service *service, struct lb_choice *choice,
				      struct origin *origin)
{
	client_id client = bpf_get_netns_cookie(ctx);
	enum verdict verdict = lb_select(key, service, choice, client, client_hash(client), 0);
	struct backend *backend;

	if (verdict != V_OK)
		return verdict;
	backend = backend_by_id(choice->backend);
	if (!backend)
		return V_DROP(DROP_NO_BACKEND);
	copy_address(origin->backend_address, backend->address);
	origin->backend_port = backend->port;
	origin->backend = choice->backend;
	origin->generation = choice->generation;
	origin->service = choice->service;
	return V_OK;
}

/* Rejects a call with the errno of the reason, and counts it. */
GLOBAL int reject(enum refusal_reason reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&refusals, &key);

	if (count)
		(*count)++;
	bpf_set_retval(reason == REFUSED_INVALID_SOURCE ? -EADDRNOTAVAIL :
		       reason == REFUSED_SOURCE_RANGE	? -EPERM :
							  -ECONNREFUSED);
	return REJECT;
}

/* Rejects a call to a service, and counts it for the service. */
INLINE int reject_service(const struct service *service, enum refusal_reason reason)
{
	if (service)
		count_refusal(service->id, reason);
	return reject(reason);
}

INLINE int is_translated(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

/* Returns 1 if the socket is of a pod whose packets are translated instead, at its interface. */
INLINE int is_left_alone(struct bpf_sock_addr *ctx)
{
	return config.node_only && bpf_get_netns_cookie(ctx) != config.node_netns_cookie;
}

INLINE int is_origin_of(const struct origin *origin, const struct endpoint *from)
{
	return origin->backend_port == from->port &&
	       same_address(origin->backend_address, &from->address);
}

/* Sets an origin whose frontend and backend are the address that the socket itself chose. */
INLINE void direct_origin(struct origin *origin, const struct endpoint *to)
{
	__builtin_memset(origin, 0, sizeof(*origin));
	copy_address(origin->frontend, &to->address);
	copy_address(origin->backend_address, &to->address);
	origin->frontend_port = to->port;
	origin->backend_port = to->port;
}

/*
 * Returns 1 if a UDP socket is connected. The socket itself knows; connect() to AF_UNSPEC runs no
 * hook.
 */
INLINE int is_connected(const struct bpf_sock *socket)
{
	return socket->state == TCP_ESTABLISHED;
}

/* Reads the peer of a connected socket. */
INLINE void read_peer(const struct bpf_sock *socket, struct endpoint *peer)
{
	__u32 address = socket->dst_ip4;

	/*
	 * Without the barrier both families share a load from a computed address, which the
	 * verifier refuses.
	 */
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
