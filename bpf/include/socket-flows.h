/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The flows of a UDP socket: each peer that its datagrams were addressed to, with the backend they went to.
 * A socket has room for UDP_PEERS_PER_SOCKET of them; when all are taken, an old one is replaced (udp_peer_alloc).
 */
#pragma once

#include "socket.h"

#define NO_UDP_PEER UDP_PEERS_PER_SOCKET

/*
 * udp_peer_alloc and udp_peer_by_backend keep the flow with the highest rank. The verifier follows what it knows of the best flow so
 * far through the rest of the loop, once for each case: that took 200,000 instructions. Of a rank it knows nothing.
 */

/* How many datagrams of the socket are newer than the last one of the flow. */
INLINE __u32 udp_peer_age(const struct udp_peers *known, const struct udp_peer *peer)
{
	return known->sent - peer->sent;
}

#define RANK_DIRECT (1ULL << 32) /* A peer that was addressed directly has this rank at least. */

/*
 * The index for another flow. When all are taken, what was used longest ago gives way, a peer that was
 * addressed directly before a service; such a peer never takes a service's place.
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

/* The flow at an index; 0: there is none. */
INLINE struct udp_peer *udp_peer_at(struct udp_peers *known, __u32 index)
{
	if (index >= UDP_PEERS_PER_SOCKET)
		return 0;
	barrier_var(index);
	return &known->peers[index % UDP_PEERS_PER_SOCKET];
}

/*
 * The index of the flow that a datagram from a backend is of. Several flows of a socket can go to one backend
 * (two services that share it, or a service and the backend's own address). Their replies look alike; servers
 * answer in order, so a reply is taken to be of the flow that has waited for longest. What a connected socket gets is of
 * what it was connected to last.
 */
GLOBAL __u32 udp_peer_by_backend(struct udp_peers *known, const struct endpoint *from, int is_connected)
{
	enum reply fitting = is_connected ? REPLY_WAS_CONNECTED : REPLY_AWAITED;
	__u32 best = NO_UDP_PEER, newest_first = is_connected ? ~0u : 0;
	__u64 highest = 0;

	if (!known || !from)
		return NO_UDP_PEER;
	/* The loop must not branch on what the socket is: the verifier would follow both ways through it. */
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
		rank = peer->reply == fitting ? 1ULL << 32 | (udp_peer_age(known, peer) ^ newest_first) :
							 ~udp_peer_age(known, peer);
		if (rank < highest)
			continue;
		best = i;
		highest = rank;
	}
	return best;
}

INLINE void note_sent(struct udp_peers *known, struct udp_peer *peer, enum reply reply)
{
	peer->sent = ++known->sent;
	peer->reply = reply;
}

/* The index of a flow with the origin, or of another one. */
GLOBAL __u32 udp_peer_by_origin(struct udp_peers *known, const struct origin *origin)
{
	if (!known || !origin)
		return NO_UDP_PEER;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < UDP_PEERS_PER_SOCKET; i++) {
		struct origin *other = &known->peers[i].origin;

		if (i >= known->count)
			break;
		if (other->frontend_port == origin->frontend_port && other->backend_port == origin->backend_port &&
		    same_address(other->frontend, origin->frontend) &&
		    same_address(other->backend_address, origin->backend_address))
			return i;
	}
	return udp_peer_alloc(known, !origin->backend);
}

/* The index of the flow to what the socket addresses. */
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

/* Whether another flow of the socket goes to the same backend: then replies are hard to tell apart. */
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
 * What a UDP socket was connected to until now: it remains so if the next connect() fails, and its datagrams may
 * still be queued.
 */
INLINE void keep_as_udp_peer(struct bpf_sock *socket, const struct origin *origin)
{
	struct udp_peers *known = bpf_sk_storage_get(&flows, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	struct udp_peer *peer;

	if (!known)
		return;
	peer = udp_peer_at(known, udp_peer_by_origin(known, origin));
	if (!peer)
		return;
	peer->origin = *origin;
	note_sent(known, peer, REPLY_WAS_CONNECTED);
}
