/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * recvmsg() and getpeername(): the address of a backend is translated back to the frontend's, so
 * that the application never sees the backend.
 */
#pragma once

#include "common.h"
#include "udp_peers.h"

/*
 * Translates the address of a backend, as a datagram's source or as a peer. Returns 0 if it is not
 * the origin's.
 */
INLINE int rev_nat(const struct origin *origin, struct endpoint *from)
{
	if (!is_origin_of(origin, from))
		return 0;
	copy_address(&from->address, origin->frontend);
	from->port = origin->frontend_port;
	return 1;
}

INLINE int rev_nat_udp_peer(struct bpf_sock *socket, struct endpoint *from, int is_connected)
{
	struct udp_peers *known = bpf_sk_storage_get(&flows, socket, 0, 0);
	struct udp_peer *udp_peer =
		known ? udp_peer_at(known, udp_peer_by_backend(known, from, is_connected)) : 0;

	if (!udp_peer)
		return 0;
	if (udp_peer->reply == REPLY_AWAITED)
		udp_peer->reply = REPLY_NONE;
	return rev_nat(&udp_peer->origin, from);
}

/*
 * A connected socket receives datagrams of its peer only, and those that were queued before. If the
 * peer is not the target of the last connect(), that connect() has failed.
 */
INLINE int on_recvmsg(struct bpf_sock *socket, struct endpoint *from)
{
	int connected = is_connected(socket);
	struct connection *connection;

	if (!connected && rev_nat_udp_peer(socket, from, 0))
		return 1;
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	return connection && (rev_nat(&connection->origin, from) ||
			      (connected && rev_nat_udp_peer(socket, from, 1)));
}

INLINE int on_getpeername(struct bpf_sock_addr *ctx, struct endpoint *peer)
{
	struct bpf_sock *socket = socket_of(ctx);
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	return connection && (rev_nat(&connection->origin, peer) ||
			      (ctx->protocol == IPPROTO_UDP && rev_nat_udp_peer(socket, peer, 1)));
}
