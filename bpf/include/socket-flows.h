/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The flows of a UDP socket: each peer that its datagrams were addressed to, with the backend they went to.
 * A socket has room for FLOWS_PER_SOCKET of them; when all are taken, an old one is replaced (free_flow).
 */
#pragma once

#include "socket.h"

#define NO_FLOW FLOWS_PER_SOCKET

/*
 * free_flow and flow_from keep the flow with the highest rank. The verifier follows what it knows of the best flow so
 * far through the rest of the loop, once for each case: that took 200,000 instructions. Of a rank it knows nothing.
 */

/* How many datagrams of the socket are newer than the last one of the flow. */
INLINE __u32 age_of(const struct flows *known, const struct flow *flow)
{
	return known->sent - flow->sent;
}

#define RANK_OF_DIRECT (1ULL << 32) /* A peer that was addressed directly has this rank at least. */

/*
 * The index for another flow. When all are taken, what was used longest ago gives way, a peer that was
 * addressed directly before a service; such a peer never takes a service's place.
 */
GLOBAL __u32 free_flow(struct flows *known, int is_direct)
{
	__u32 oldest = NO_FLOW;
	__u64 highest = is_direct ? RANK_OF_DIRECT : 0;

	if (!known)
		return NO_FLOW;
	if (known->count < FLOWS_PER_SOCKET)
		return known->count++;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];
		__u64 rank = age_of(known, flow) | (flow->origin.backend ? 0 : RANK_OF_DIRECT);

		if (rank < highest)
			continue;
		oldest = i;
		highest = rank;
	}
	return oldest;
}

/* The flow at an index; 0: there is none. */
INLINE struct flow *flow_at(struct flows *known, __u32 index)
{
	if (index >= FLOWS_PER_SOCKET)
		return 0;
	barrier_var(index);
	return &known->flow[index % FLOWS_PER_SOCKET];
}

/*
 * The index of the flow that a datagram from a backend is of. Several flows of a socket can go to one backend
 * (two services that share it, or a service and the backend's own address). Their replies look alike; servers
 * answer in order, so a reply is taken to be of the flow that has waited for longest. What a connected socket gets is of
 * what it was connected to last.
 */
GLOBAL __u32 flow_from(struct flows *known, const struct endpoint *from, int is_connected)
{
	enum reply fitting = is_connected ? WAS_PEER : AWAITING_REPLY;
	__u32 best = NO_FLOW, newest_first = is_connected ? ~0u : 0;
	__u64 highest = 0;

	if (!known || !from)
		return NO_FLOW;
	/* The loop must not branch on what the socket is: the verifier would follow both ways through it. */
	barrier_var(fitting);
	barrier_var(newest_first);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];
		__u64 rank;

		if (i >= known->count)
			break;
		if (!is_origin_of(&flow->origin, from))
			continue;
		rank = flow->awaiting_reply == fitting ? 1ULL << 32 | (age_of(known, flow) ^ newest_first) :
							 ~age_of(known, flow);
		if (rank < highest)
			continue;
		best = i;
		highest = rank;
	}
	return best;
}

INLINE void note_sent(struct flows *known, struct flow *flow, enum reply awaiting_reply)
{
	flow->sent = ++known->sent;
	flow->awaiting_reply = awaiting_reply;
}

/* The index of a flow with the origin, or of another one. */
GLOBAL __u32 flow_of(struct flows *known, const struct origin *origin)
{
	if (!known || !origin)
		return NO_FLOW;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct origin *other = &known->flow[i].origin;

		if (i >= known->count)
			break;
		if (other->frontend_port == origin->frontend_port && other->backend_port == origin->backend_port &&
		    same_address(other->frontend, origin->frontend) &&
		    same_address(other->backend_address, origin->backend_address))
			return i;
	}
	return free_flow(known, !origin->backend);
}

/* The index of the flow to what the socket addresses. */
GLOBAL __u32 flow_to(struct flows *known, const struct endpoint *frontend)
{
	if (!known || !frontend)
		return NO_FLOW;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];

		if (i >= known->count)
			break;
		if (flow->origin.frontend_port == frontend->port &&
		    same_address(flow->origin.frontend, &frontend->address))
			return i;
	}
	return NO_FLOW;
}

/* Whether another flow of the socket goes to the same backend: then replies are hard to tell apart. */
GLOBAL int is_shared(struct flows *known, const struct origin *origin)
{
	if (!known || !origin)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];

		if (i >= known->count)
			break;
		if (flow->origin.backend_port == origin->backend_port &&
		    same_address(flow->origin.backend_address, origin->backend_address) &&
		    !(flow->origin.frontend_port == origin->frontend_port &&
		      same_address(flow->origin.frontend, origin->frontend)))
			return 1;
	}
	return 0;
}

/*
 * What a UDP socket was connected to until now: it remains so if the next connect() fails, and its datagrams may
 * still be queued.
 */
INLINE void keep_as_flow(struct bpf_sock *socket, const struct origin *origin)
{
	struct flows *known = bpf_sk_storage_get(&flows, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	struct flow *flow;

	if (!known)
		return;
	flow = flow_at(known, flow_of(known, origin));
	if (!flow)
		return;
	flow->origin = *origin;
	note_sent(known, flow, WAS_PEER);
}
