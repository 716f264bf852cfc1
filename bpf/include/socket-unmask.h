/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * recvmsg() and getpeername(): the address of a backend is replaced by the address that the application
 * asked for, so the application never sees the backend.
 */
#pragma once

#include "socket-flows.h"
#include "socket.h"

/* Turns a backend's address, as the source of a datagram or as a peer, into what was asked for. */
INLINE int unmask(const struct origin *origin, struct endpoint *from)
{
	if (!is_origin_of(origin, from))
		return 0;
	copy_address(&from->address, origin->frontend);
	from->port = origin->frontend_port;
	return 1;
}

INLINE int unmask_flow(struct bpf_sock *socket, struct endpoint *from, int is_connected)
{
	struct flows *known = bpf_sk_storage_get(&flows, socket, 0, 0);
	struct flow *flow = known ? flow_at(known, flow_from(known, from, is_connected)) : 0;

	if (!flow)
		return 0;
	if (flow->awaiting_reply == AWAITING_REPLY)
		flow->awaiting_reply = NO_REPLY;
	return unmask(&flow->origin, from);
}

/*
 * A connected socket gets datagrams of its peer only, but for those that were queued before. If the peer is
 * not what the last connect() asked for, that one has failed.
 */
INLINE int on_recvmsg(struct bpf_sock *socket, struct endpoint *from)
{
	int connected = is_connected(socket);
	struct connection *connection;

	if (!connected && unmask_flow(socket, from, 0))
		return 1;
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	return connection && (unmask(&connection->origin, from) || (connected && unmask_flow(socket, from, 1)));
}

INLINE int on_getpeername(struct bpf_sock_addr *ctx, struct endpoint *peer)
{
	struct bpf_sock *socket = socket_of(ctx);
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	return connection && (unmask(&connection->origin, peer) ||
			      (ctx->protocol == IPPROTO_UDP && unmask_flow(socket, peer, 1)));
}
