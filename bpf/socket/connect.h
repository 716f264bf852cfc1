/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect(): a backend is selected once and stored for the socket. TCP and UDP differ for services
 * without backends, and in the parts of an earlier connection that remain.
 */
#pragma once

#include "common.h"
#include "lib/kernel.h"
#include "source.h"
#include "udp_peers.h"

#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

/*
 * Stores a connection. Without memory for it the connection works, but getpeername() returns the
 * backend.
 */
INLINE void store_connection(void *socket, struct connection *connection,
			     const struct origin *origin, int counted)
{
	if (!connection)
		connection =
			bpf_sk_storage_get(&connections, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return;
	connection->origin = *origin;
	connection->counted = counted;
	if (counted)
		count_active_conn(origin, 1);
}

#define BPF_TYPE_EXISTS 0 /* of __builtin_preserve_type_info */

/*
 * Returns the MPTCP socket of a TCP socket that is a subflow; otherwise 0. Kernels may lack MPTCP.
 */
INLINE struct mptcp_sock *mptcp_of(void *socket)
{
	if (!__builtin_preserve_type_info(*(struct mptcp_sock *)0, BPF_TYPE_EXISTS))
		return 0;
	return bpf_skc_to_mptcp_sock(socket);
}

/* Returns 1 if a subflow joins an existing MPTCP connection. */
INLINE int mptcp_joins(const struct mptcp_sock *mptcp)
{
	__u8 state = ((const struct sock *)mptcp)->__sk_common.skc_state;

	return state != TCP_CLOSE && state != TCP_SYN_SENT;
}

INLINE int on_connect_tcp(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct connection *connection;
	void *socket = socket_of(ctx);
	struct service_key key;
	struct service *service;
	struct lb_choice choice = {};
	struct origin origin = {};
	enum destination destination;
	struct mptcp_sock *mptcp;
	int is_selected;

	/*
	 * The hook gets the subflow of an MPTCP socket, but getpeername() and sock_release get the
	 * socket of the application (mptcp_connect in net/mptcp/protocol.c, before Linux 6.3
	 * mptcp_stream_connect).
	 */
	mptcp = mptcp_of(socket);
	if (mptcp) {
		if (mptcp_joins(mptcp))
			return ALLOW;
		socket = mptcp;
	}
	/*
	 * The hook runs in TCP_CLOSE only (__inet_stream_connect), so an earlier connection is
	 * closed.
	 */
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	if (connection)
		count_conn_closed(connection);
	destination = classify_destination(ctx, to, &key, &service);
	is_selected = destination == DESTINATION_SERVICE &&
		      select_for_socket(ctx, &key, service, &choice, &origin) == V_OK;
	if (!is_selected || !reaches_backend(ctx, to, &origin, 1)) {
		if (connection)
			bpf_sk_storage_delete(&connections, socket);
		if (is_selected)
			return reject(REFUSED_INVALID_SOURCE);
		if (destination == DESTINATION_SERVICE)
			return reject_service(service, REFUSED_NO_BACKEND);
		if (destination == DESTINATION_OUT_OF_RANGE)
			return reject_service(service, REFUSED_SOURCE_RANGE);
		return destination == DESTINATION_UNKNOWN_PORT ? reject(REFUSED_UNKNOWN_PORT) :
								 ALLOW;
	}
	copy_address(origin.frontend, &to->address);
	origin.frontend_port = to->port;
	count_backend_conn(origin.backend);
	store_connection(socket, connection, &origin, choice.is_counted);
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
}

/*
 * connect() of UDP sends nothing: resolvers connect to any port to learn the source address that
 * they would have (RFC 6724). So a socket that is not connected may connect to a port that a
 * service's address does not have; once a service has the port, such a socket is stale
 * (stale.bpf.c). A connected socket does not belong to a resolver, so it is rejected and keeps its
 * peer. A port of a service without backends is rejected: no hook sees the datagrams of a connected
 * socket, so its owner would wait for a reply without end.
 */
INLINE int on_connect_udp(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct bpf_sock *socket = socket_of(ctx);
	struct connection *connection;
	struct service_key key;
	struct service *service;
	struct lb_choice choice = {};
	struct origin origin;
	enum destination destination;
	int is_selected, is_unknown_port;

	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	destination = classify_destination(ctx, to, &key, &service);
	if (destination == DESTINATION_OUT_OF_RANGE)
		return reject_service(service, REFUSED_SOURCE_RANGE);
	is_selected = destination == DESTINATION_SERVICE &&
		      select_for_socket(ctx, &key, service, &choice, &origin) == V_OK;
	if (!is_selected) {
		if (destination == DESTINATION_SERVICE)
			return reject_service(service, REFUSED_NO_BACKEND);
		is_unknown_port = destination == DESTINATION_UNKNOWN_PORT;
		if (is_unknown_port && is_connected(socket))
			return reject(REFUSED_UNKNOWN_PORT);
		/* A direct peer is stored only if something else is stored for the socket. */
		if (!is_unknown_port && !connection && !bpf_sk_storage_get(&flows, socket, 0, 0))
			return ALLOW;
		direct_origin(&origin, to);
	} else {
		if (!reaches_backend(ctx, to, &origin, 1))
			return reject(REFUSED_INVALID_SOURCE);
		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		count_backend_conn(origin.backend);
	}
	if (connection) {
		keep_as_udp_peer(socket, &connection->origin);
		count_conn_closed(connection);
	} else if (is_connected(socket)) {
		struct endpoint peer;
		struct origin direct;

		read_peer(socket, &peer);
		direct_origin(&direct, &peer);
		keep_as_udp_peer(socket, &direct);
	}
	store_connection(socket, connection, &origin, choice.is_counted);
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
}

INLINE int on_connect(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	return ctx->protocol == IPPROTO_TCP ? on_connect_tcp(ctx, to) : on_connect_udp(ctx, to);
}
