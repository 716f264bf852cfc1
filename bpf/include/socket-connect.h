/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect(): a backend is chosen once and stored for the socket. TCP and UDP differ in what a service without
 * backends means and in what remains of an earlier connection.
 */
#pragma once

#include "kernel.h"
#include "socket-flows.h"
#include "socket-source.h"
#include "socket.h"

#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

/* Without memory for it the connection works all the same, but getpeername() is unmasked. */
INLINE void note_connection(void *socket, struct connection *connection, const struct origin *origin, int counted)
{
	if (!connection)
		connection = bpf_sk_storage_get(&connections, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return;
	connection->origin = *origin;
	connection->counted = counted;
	if (counted)
		count_active_conn(origin, 1);
}

#define BPF_TYPE_EXISTS 0 /* of __builtin_preserve_type_info */

/* The MPTCP socket that a TCP socket is a subflow of; 0: it is none. A kernel can be built without MPTCP. */
INLINE struct mptcp_sock *mptcp_of(void *socket)
{
	if (!__builtin_preserve_type_info(*(struct mptcp_sock *)0, BPF_TYPE_EXISTS))
		return 0;
	return bpf_skc_to_mptcp_sock(socket);
}

/* Whether a subflow's MPTCP connection is there already, and only gets another path. */
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
	struct origin origin = {};
	enum destination destination;
	struct mptcp_sock *mptcp;
	int chosen;

	/*
	 * The hook sees a subflow of MPTCP, getpeername() and sock_release the socket that the application
	 * has (mptcp_connect in net/mptcp/protocol.c, before Linux 6.3 mptcp_stream_connect).
	 */
	mptcp = mptcp_of(socket);
	if (mptcp) {
		if (mptcp_joins(mptcp))
			return ALLOW;
		socket = mptcp;
	}
	/* The hook runs in TCP_CLOSE only (__inet_stream_connect), so what was there before is over. */
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	if (connection)
		count_conn_closed(connection);
	destination = classify_destination(ctx, to, &key);
	chosen = destination == DESTINATION_SERVICE ? select_for_socket(ctx, &key, &origin) : 0;
	if (!chosen || !reaches_backend(ctx, to, &origin, 1)) {
		if (connection)
			bpf_sk_storage_delete(&connections, socket);
		if (chosen)
			return reject(REFUSED_INVALID_SOURCE);
		if (destination == DESTINATION_SERVICE)
			return reject_service(&key, REFUSED_NO_BACKEND);
		if (destination == DESTINATION_OUT_OF_RANGE)
			return reject_service(&key, REFUSED_SOURCE_RANGE);
		return destination == DESTINATION_UNKNOWN_PORT ? reject(REFUSED_UNKNOWN_PORT) : ALLOW;
	}
	copy_address(origin.frontend, &to->address);
	origin.frontend_port = to->port;
	count_socket_conn(&origin);
	note_connection(socket, connection, &origin, chosen == 2);
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
}

/*
 * connect() of UDP sends nothing: resolvers connect to any port to learn which source address they would
 * have (RFC 6724). So a socket that is not connected gets what it asks for at a port that a service address
 * lacks; once a service has the port, such a socket counts as stale (stale.bpf.c). A socket that is connected is
 * no resolver's, and keeps what it has. A port of a service without backends is refused: no hook sees what a
 * connected socket sends, so its owner would wait for an answer in vain.
 */
INLINE int on_connect_udp(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct bpf_sock *socket = socket_of(ctx);
	struct connection *connection;
	struct service_key key;
	struct origin origin;
	enum destination destination;
	int chosen, is_unknown_port;

	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	destination = classify_destination(ctx, to, &key);
	if (destination == DESTINATION_OUT_OF_RANGE)
		return reject_service(&key, REFUSED_SOURCE_RANGE);
	chosen = destination == DESTINATION_SERVICE ? select_for_socket(ctx, &key, &origin) : 0;
	if (!chosen) {
		if (destination == DESTINATION_SERVICE)
			return reject_service(&key, REFUSED_NO_BACKEND);
		is_unknown_port = destination == DESTINATION_UNKNOWN_PORT;
		if (is_unknown_port && is_connected(socket))
			return reject(REFUSED_UNKNOWN_PORT);
		/* What is addressed directly is noted only where something else could be believed of the socket. */
		if (!is_unknown_port && !connection && !bpf_sk_storage_get(&flows, socket, 0, 0))
			return ALLOW;
		direct_origin(&origin, to);
	} else {
		if (!reaches_backend(ctx, to, &origin, 1))
			return reject(REFUSED_INVALID_SOURCE);
		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		count_socket_conn(&origin);
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
	note_connection(socket, connection, &origin, chosen == 2);
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
}

INLINE int on_connect(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	return ctx->protocol == IPPROTO_TCP ? on_connect_tcp(ctx, to) : on_connect_udp(ctx, to);
}
