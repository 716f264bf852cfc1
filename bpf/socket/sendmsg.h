/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sendmsg() of UDP: a socket gets a backend for each service that it sends to, and keeps it as long
 * as the service has the backend. A connected socket sends to the backend that it is connected to.
 */
#pragma once

#include "common.h"
#include "source.h"
#include "udp_peers.h"

#define UNSHARED_ATTEMPTS 4

/* Returns 1 if a socket may keep its backend: the service still has it, perhaps draining. */
INLINE int backend_is_kept(const struct origin *origin)
{
	struct backend *backend = backend_by_id(origin->backend);

	return is_same_backend(backend, origin->generation, origin->service) &&
	       backend->state != BACKEND_GONE;
}

/*
 * Sends a datagram to the service that the socket is connected to, to its peer. Returns 0 if it is
 * for another address.
 */
INLINE int send_to_peer(struct bpf_sock *socket, struct endpoint *to)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	struct endpoint peer;
	struct origin *origin;
	struct udp_peers *known;
	struct udp_peer *udp_peer;

	if (!connection)
		return 0;
	origin = &connection->origin;
	read_peer(socket, &peer);
	/* If the last connect() has failed, the peer is that of an earlier one. */
	if (!is_origin_of(origin, &peer)) {
		known = bpf_sk_storage_get(&flows, socket, 0, 0);
		udp_peer = known ? udp_peer_at(known, udp_peer_by_backend(known, &peer, 1)) : 0;
		if (!udp_peer)
			return 0;
		origin = &udp_peer->origin;
	}
	if (origin->frontend_port != to->port || !same_address(origin->frontend, &to->address) ||
	    !backend_is_kept(origin))
		return 0;
	*to = peer;
	return 1;
}

/*
 * A socket that was connected to the service keeps that backend: an IPv6 socket still receives
 * datagrams of that address only (udp_disconnect leaves sk_v6_daddr, which udp6_lib_lookup
 * compares). Returns 0 if it was not connected to it.
 */
INLINE int reuse_connection_backend(struct bpf_sock *socket, struct origin *origin)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	if (!connection || connection->origin.frontend_port != origin->frontend_port ||
	    !same_address(connection->origin.frontend, origin->frontend) ||
	    !backend_is_kept(&connection->origin))
		return 0;
	*origin = connection->origin;
	return 1;
}

INLINE int on_sendmsg(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	enum destination destination;
	struct endpoint peer = {};
	int connected;
	struct bpf_sock *socket = socket_of(ctx);
	struct service *service;
	struct service_key key;
	struct udp_peers *known;
	struct udp_peer *udp_peer;

	destination = classify_destination(ctx, to, &key, &service);
	if (destination == DESTINATION_DIRECT)
		return ALLOW;
	if (destination == DESTINATION_UNKNOWN_PORT)
		return reject(REFUSED_UNKNOWN_PORT);
	if (destination == DESTINATION_OUT_OF_RANGE)
		return reject_service(service, REFUSED_SOURCE_RANGE);

	/*
	 * A connected socket receives its peer's datagrams only, so other peers need no entry.
	 * Datagrams of a connected IPv6 socket to an IPv4 peer get here, too, with the backend's
	 * address (udpv6_sendmsg).
	 */
	connected = is_connected(socket);
	if (connected) {
		if (destination == DESTINATION_UDP_BACKEND || send_to_peer(socket, to))
			return ALLOW;
		read_peer(socket, &peer);
	}

	known = bpf_sk_storage_get(&flows, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known)
		return destination == DESTINATION_SERVICE ? reject(REFUSED_NO_BACKEND) : ALLOW;
	udp_peer = udp_peer_at(known, udp_peer_by_frontend(known, to));

	if (destination == DESTINATION_UDP_BACKEND) {
		if (!udp_peer) {
			udp_peer = udp_peer_at(known, udp_peer_alloc(known, 1));
			if (!udp_peer)
				return ALLOW;
			direct_origin(&udp_peer->origin, to);
		}
		udp_peer_sent(known, udp_peer, REPLY_AWAITED);
		return ALLOW;
	}

	if (!udp_peer || !service || udp_peer->origin.service != service->id ||
	    !backend_is_kept(&udp_peer->origin)) {
		struct origin origin = {};
		struct lb_choice choice = {};

		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		for (int attempt = 0; attempt < UNSHARED_ATTEMPTS; attempt++) {
			if (!udp_peer && !connected && reuse_connection_backend(socket, &origin))
				break;
			if (select_for_socket(ctx, &key, service, &choice, &origin) != V_OK)
				return reject_service(service, REFUSED_NO_BACKEND);
			if (!backend_is_shared(known, &origin) &&
			    !(connected && is_origin_of(&origin, &peer)))
				break;
		}
		if (!reaches_backend(ctx, to, &origin, 0))
			return reject(REFUSED_INVALID_SOURCE);
		if (!udp_peer)
			udp_peer = udp_peer_at(known, udp_peer_alloc(known, 0));
		if (!udp_peer)
			return reject(REFUSED_NO_BACKEND);
		if (udp_peer->origin.backend != origin.backend ||
		    udp_peer->origin.generation != origin.generation)
			count_backend_conn(origin.backend);
		udp_peer->origin = origin;
	}
	udp_peer_sent(known, udp_peer, connected ? REPLY_NONE : REPLY_AWAITED);
	copy_address(&to->address, udp_peer->origin.backend_address);
	to->port = udp_peer->origin.backend_port;
	return ALLOW;
}
