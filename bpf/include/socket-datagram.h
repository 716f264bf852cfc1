/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sendmsg() of UDP: each service that a socket sends to gets a backend, which the socket keeps for as long as
 * the service has it. A connected socket sends to the backend that it is connected to.
 */
#pragma once

#include "socket-flows.h"
#include "socket-source.h"
#include "socket.h"

#define UNSHARED_ATTEMPTS 4

/* Whether the backend still is one that the service lets a socket keep. */
INLINE int is_kept(const struct origin *origin)
{
	struct backend *backend = backend_by_id(origin->backend);

	return is_same_backend(backend, origin->generation, origin->service) && backend->state != BACKEND_GONE;
}

/* What a connected socket sends to the service that it is connected to goes where it is connected. */
INLINE int send_to_peer(struct bpf_sock *socket, struct endpoint *to)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	struct endpoint peer;
	struct origin *origin;
	struct flows *known;
	struct flow *flow;

	if (!connection)
		return 0;
	origin = &connection->origin;
	read_peer(socket, &peer);
	/* If the last connect() has failed, the peer is that of an earlier one. */
	if (!is_origin_of(origin, &peer)) {
		known = bpf_sk_storage_get(&flows, socket, 0, 0);
		flow = known ? flow_at(known, flow_from(known, &peer, 1)) : 0;
		if (!flow)
			return 0;
		origin = &flow->origin;
	}
	if (origin->frontend_port != to->port || !same_address(origin->frontend, &to->address) || !is_kept(origin))
		return 0;
	*to = peer;
	return 1;
}

/*
 * A socket that is no longer connected keeps the backend that its connection to the service had: an IPv6 one goes
 * on to get datagrams of that address only (udp_disconnect leaves sk_v6_daddr, which udp6_lib_lookup compares).
 */
INLINE int recall_connection(struct bpf_sock *socket, struct origin *origin)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	if (!connection || connection->origin.frontend_port != origin->frontend_port ||
	    !same_address(connection->origin.frontend, origin->frontend) || !is_kept(&connection->origin))
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
	struct flows *known;
	struct flow *flow;

	destination = classify(ctx, to, &key);
	if (destination == DESTINATION_DIRECT)
		return ALLOW;
	if (destination == DESTINATION_UNKNOWN_PORT)
		return refuse(REFUSED_UNKNOWN_PORT);
	if (destination == DESTINATION_RANGED)
		return refuse_service(&key, REFUSED_SOURCE_RANGE);

	/*
	 * A connected socket gets its peer's datagrams only, so nothing else needs to be told apart. What a
	 * connected IPv6 socket sends to an IPv4 peer comes here, too, with the backend's address (udpv6_sendmsg).
	 */
	connected = is_connected(socket);
	if (connected) {
		if (destination == DESTINATION_UDP_BACKEND || send_to_peer(socket, to))
			return ALLOW;
		read_peer(socket, &peer);
	}

	known = bpf_sk_storage_get(&flows, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known)
		return destination == DESTINATION_SERVICE ? refuse(REFUSED_NO_BACKEND) : ALLOW;
	flow = flow_at(known, flow_to(known, to));

	if (destination == DESTINATION_UDP_BACKEND) {
		if (!flow) {
			flow = flow_at(known, free_flow(known, 1));
			if (!flow)
				return ALLOW;
			direct_origin(&flow->origin, to);
		}
		note_sent(known, flow, AWAITING_REPLY);
		return ALLOW;
	}

	service = bpf_map_lookup_elem(&services, &key);
	if (!flow || !service || flow->origin.service != service->id || !is_kept(&flow->origin)) {
		struct origin origin = {};

		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		for (int attempt = 0; attempt < UNSHARED_ATTEMPTS; attempt++) {
			if (!flow && !connected && recall_connection(socket, &origin))
				break;
			if (!choose(ctx, &key, &origin))
				return refuse_service(&key, REFUSED_NO_BACKEND);
			if (!is_shared(known, &origin) && !(connected && is_origin_of(&origin, &peer)))
				break;
		}
		if (!reaches_backend(ctx, to, &origin, 0))
			return refuse(REFUSED_INVALID_SOURCE);
		if (!flow)
			flow = flow_at(known, free_flow(known, 0));
		if (!flow)
			return refuse(REFUSED_NO_BACKEND);
		if (flow->origin.backend != origin.backend || flow->origin.generation != origin.generation)
			count_connection(&origin);
		flow->origin = origin;
	}
	note_sent(known, flow, connected ? NO_REPLY : AWAITING_REPLY);
	copy_address(&to->address, flow->origin.backend_address);
	to->port = flow->origin.backend_port;
	return ALLOW;
}
