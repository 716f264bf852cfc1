/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A UDP socket has a peer for each address that its datagrams were sent to, with the backend. A
 * socket has room for UDP_PEERS_PER_SOCKET of them; then udp_peer_alloc() replaces an old one.
 */
#pragma once

#include "common.h"

#define NO_UDP_PEER UDP_PEERS_PER_SOCKET

/*
 * udp_peer_alloc() and udp_peer_by_backend() keep the peer with the highest rank. The verifier
 * knows nothing of a rank. Otherwise it follows each state of the best peer so far through the rest
 * of the loop, which takes 200,000 instructions.
 */

/* Returns the number of the socket's datagrams since the last one to the peer. */
INLINE __u32 udp_peer_age(const struct udp_peers *known, const struct udp_peer *peer)
{
	return known->sent - peer->sent;
}

#define RANK_DIRECT (1ULL << 32) /* the least rank of a peer that is no service */

/*
 * Returns the index for another peer. If all are used, the least recently used one is replaced;
 * first one that is no service. A peer that is no service never replaces a service.
 */
GLOBAL __u32 udp_peer_alloc(struct udp_peers *known, int is_direct)
{
	__u32 oldest = NO_UDP_PEER;
	__u64 highest = is_direct ? RANK_DIRECT : 0;

	if (!known)
		return NO_UDP_PEER;
	if (known->count < UDP_PEERS_PER_SOCKET)
		return known->count++;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct udp_peer *peer = &known->peers[i];
		__u64 rank = udp_peer_age(known, peer) | (peer->origin.backend ? 0 : RANK_DIRECT);

		if (rank < highest)
			continue;
		oldest = i;
		highest = rank;
	}
	return oldest;
}

/* Returns the peer at an index; 0: there is none. */
INLINE struct udp_peer *udp_peer_at(struct udp_peers *known, __u32 index)
{
	if (index >= UDP_PEERS_PER_SOCKET)
		return 0;
	barrier_var(index);
	return &known->peers[index % UDP_PEERS_PER_SOCKET];
}

/*
 * Returns the index of the peer that a datagram of a backend belongs to. Several peers of a socket
 * can have one backend (two services that share it, or a service and the backend's own address),
 * and their replies look the same. Servers reply in order, so the reply belongs to the peer that
 * has waited longest. A datagram for a connected socket belongs to the peer that it was connected
 * to last.
 */
GLOBAL __u32 udp_peer_by_backend(struct udp_peers *known, const struct endpoint *from,
				 int is_connected)
{
	enum reply fitting = is_connected ? REPLY_WAS_CONNECTED : REPLY_AWAITED;
	__u32 best = NO_UDP_PEER, newest_first = is_connected ? ~0u : 0;
	__u64 highest = 0;

	if (!known || !from)
		return NO_UDP_PEER;
	/*
	 * The barriers keep branches on the socket's state out of the loop, because the verifier
	 * would follow both.
	 */
	barrier_var(fitting);
	barrier_var(newest_first);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct udp_peer *peer = &known->peers[i];
		__u64 rank;

		if (i >= known->count)
			break;
		if (!is_origin_of(&peer->origin, from))
			continue;
		rank = peer->reply == fitting ?
			       1ULL << 32 | (udp_peer_age(known, peer) ^ newest_first) :
			       ~udp_peer_age(known, peer);
		if (rank < highest)
			continue;
		best = i;
		highest = rank;
	}
	return best;
}

INLINE void udp_peer_sent(struct udp_peers *known, struct udp_peer *peer, enum reply reply)
{
	peer->sent = ++known->sent;
	peer->reply = reply;
}

/* Returns the index of the peer with that origin, or of a new one. */
GLOBAL __u32 udp_peer_by_origin(struct udp_peers *known, const struct origin *origin)
{
	if (!known || !origin)
		return NO_UDP_PEER;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct origin *other = &known->peers[i].origin;

		if (i >= known->count)
			break;
		if (other->frontend_port == origin->frontend_port &&
		    other->backend_port == origin->backend_port &&
		    same_address(other->frontend, origin->frontend) &&
		    same_address(other->backend_address, origin->backend_address))
			return i;
	}
	return udp_peer_alloc(known, !origin->backend);
}

/* Returns the index of the peer with that frontend. */
GLOBAL __u32 udp_peer_by_frontend(struct udp_peers *known, const struct endpoint *frontend)
{
	if (!known || !frontend)
		return NO_UDP_PEER;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct udp_peer *peer = &known->peers[i];

		if (i >= known->count)
			break;
		if (peer->origin.frontend_port == frontend->port &&
		    same_address(peer->origin.frontend, &frontend->address))
			return i;
	}
	return NO_UDP_PEER;
}

/*
 * Returns 1 if another peer of the socket has the same backend: then their replies look the same.
 */
GLOBAL int backend_is_shared(struct udp_peers *known, const struct origin *origin)
{
	if (!known || !origin)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct udp_peer *peer = &known->peers[i];

		if (i >= known->count)
			break;
		if (peer->origin.backend_port == origin->backend_port &&
		    same_address(peer->origin.backend_address, origin->backend_address) &&
		    !(peer->origin.frontend_port == origin->frontend_port &&
		      same_address(peer->origin.frontend, origin->frontend)))
			return 1;
	}
	return 0;
}

/*
 * Stores the previous peer of a UDP socket that connects again. It remains the peer if the new
 * connect() fails, and its datagrams may still be queued.
 */
INLINE void keep_as_udp_peer(struct bpf_sock *socket, const struct origin *origin)
{
	struct udp_peers *known =
		bpf_sk_storage_get(&flows, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	struct udp_peer *peer;

	if (!known)
		return;
	peer = udp_peer_at(known, udp_peer_by_origin(known, origin));
	if (!peer)
		return;
	peer->origin = *origin;
	udp_peer_sent(known, peer, REPLY_WAS_CONNECTED);
}
