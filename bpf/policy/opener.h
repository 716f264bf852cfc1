/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A TCP connection may be older than the policies of its pod, or its conntrack entry was lost. The
 * pod's sockets show which side has opened it. ctx/tc.h is included first.
 */
#pragma once

#include "lib/packet.h"
#include "pod/local.h"

/* Values of enum tcp_state in the kernel's <net/tcp_states.h>. */
#define TCP_STATE_ESTABLISHED 1
#define TCP_STATE_SYN_SENT 2
#define TCP_STATE_SYN_RECV 3
#define TCP_STATE_CLOSE 7
#define TCP_STATE_LISTEN 10
#define TCP_STATE_NEW_SYN_RECV 12

/* The part of a pod in a TCP connection. */
enum pod_part {
	PART_UNKNOWN, /* The pod has no socket of the connection. */
	PART_CLIENT,
	PART_SERVER,
};

/*
 * Returns the state of the pod's socket for packets with that tuple to the pod; 0: there is none.
 * It may be a socket that listens.
 */
NOINLINE __u32 find_socket_state(context *ctx, const struct tuple *tuple, int ipv4, __u32 netns)
{
	const __u32 *from = (const __u32 *)tuple->source, *to = (const __u32 *)tuple->destination;
	struct bpf_sock_tuple wanted = {};
	struct bpf_sock *sock;
	__u32 state, size;

	if (ipv4) {
		wanted.ipv4.saddr = from[3];
		wanted.ipv4.daddr = to[3];
		wanted.ipv4.sport = tuple->source_port;
		wanted.ipv4.dport = tuple->destination_port;
		size = sizeof(wanted.ipv4);
	} else {
		copy_address(wanted.ipv6.saddr, from);
		copy_address(wanted.ipv6.daddr, to);
		wanted.ipv6.sport = tuple->source_port;
		wanted.ipv6.dport = tuple->destination_port;
		size = sizeof(wanted.ipv6);
	}
	sock = bpf_skc_lookup_tcp(ctx, &wanted, size, netns, 0);
	if (!sock)
		return 0;
	state = sock->state;
	bpf_sk_release(sock);
	return state;
}

/*
 * Returns the part of the pod of this node that packets with that tuple go to. It is the server if
 * it listens at the port. `tuple` is changed.
 */
INLINE enum pod_part part_of_pod(context *ctx, struct tuple *tuple, int ipv4)
{
	struct pod *pod = find_local_pod(tuple->destination);
	__u32 state, netns;

	if (!pod || !pod->netns)
		return PART_UNKNOWN;
	netns = pod->netns - 1;
	state = find_socket_state(ctx, tuple, ipv4, netns);
	if (!state || state == TCP_STATE_LISTEN || state == TCP_STATE_SYN_SENT ||
	    state == TCP_STATE_SYN_RECV || state == TCP_STATE_NEW_SYN_RECV ||
	    state == TCP_STATE_CLOSE)
		return PART_UNKNOWN;
	tuple->source_port = 0;
	return find_socket_state(ctx, tuple, ipv4, netns) == TCP_STATE_LISTEN ? PART_SERVER :
										PART_CLIENT;
}

/*
 * Returns 1 if the receiver of a TCP segment has opened the connection, as far as sockets of pods
 * of this node show it. `tuple` is lent by the caller.
 */
GLOBAL int policy_receiver_opened(context *ctx, const struct packet *packet, struct tuple *tuple)
{
	enum pod_part part;

	if (!packet || !tuple)
		return 0;
	*tuple = packet->tuple;
	part = part_of_pod(ctx, tuple, packet->ipv4);
	if (part != PART_UNKNOWN)
		return part == PART_CLIENT;
	reverse_tuple(tuple, &packet->tuple);
	return part_of_pod(ctx, tuple, packet->ipv4) == PART_SERVER;
}
