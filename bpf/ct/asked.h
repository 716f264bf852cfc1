/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A socket of a pod that connects to a service sends to the backend itself. The socket's storage
 * has the service, which is noted for those who observe the connection. ctx/tc.h is included first.
 */
#pragma once

#include "facts.h"
#include "pod/local.h"

#define SOCKET_ESTABLISHED 1 /* of enum tcp_state in the kernel's <net/tcp_states.h> */

/* Returns 1 if a socket has chosen the backend of an entry for a service. */
INLINE int is_chosen_for(const struct origin *origin, const struct ct_entry *entry)
{
	return origin->backend && origin->backend_port == entry->backend_port &&
	       same_address(origin->backend_address, entry->backend);
}

INLINE void note_frontend(struct ct_facts *facts, const struct origin *origin)
{
	copy_address(facts->frontend, origin->frontend);
	facts->frontend_port = origin->frontend_port;
}

/*
 * Returns 1 if a socket of UDP has been connected once only. Others may have sent datagrams with
 * the same addresses and ports to the backend itself, or for another service, so nothing is noted.
 */
INLINE int has_one_peer(struct bpf_sock *socket)
{
	return socket->state == SOCKET_ESTABLISHED && !bpf_sk_storage_get(&flows, socket, 0, 0);
}

/*
 * Looks up the client's socket of an entry, if a pod of this node has it, and notes the service
 * that it asked for. What was noted before is forgotten.
 */
GLOBAL int note_asked_service(context *ctx, __u32 index)
{
	struct ct_entry *entry = ct_entry_at(index);
	struct ct_facts *facts = ct_facts_at(index);
	struct bpf_sock_tuple wanted = {};
	struct connection *connection;
	struct bpf_sock *socket;
	__u32 size, protocol;
	struct pod *pod;

	if (!entry || !facts)
		return 0;
	__builtin_memset(facts->frontend, 0, sizeof(facts->frontend));
	facts->frontend_port = 0;
	pod = find_local_pod(entry->client);
	protocol = ct_protocol(entry, entry->state_word);
	if (entry->backend_id || !pod || !pod->netns ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return 0;
	if (is_mapped(entry->client)) {
		wanted.ipv4.saddr = ((const __u32 *)entry->backend)[3];
		wanted.ipv4.daddr = ((const __u32 *)entry->client)[3];
		wanted.ipv4.sport = entry->backend_port;
		wanted.ipv4.dport = entry->client_port;
		size = sizeof(wanted.ipv4);
	} else {
		copy_address(wanted.ipv6.saddr, entry->backend);
		copy_address(wanted.ipv6.daddr, entry->client);
		wanted.ipv6.sport = entry->backend_port;
		wanted.ipv6.dport = entry->client_port;
		size = sizeof(wanted.ipv6);
	}
	socket = protocol == IPPROTO_TCP ?
			 bpf_skc_lookup_tcp(ctx, &wanted, size, pod->netns - 1, 0) :
			 bpf_sk_lookup_udp(ctx, &wanted, size, pod->netns - 1, 0);
	if (!socket)
		return 0;
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	if (connection && is_chosen_for(&connection->origin, entry) &&
	    (protocol == IPPROTO_TCP || has_one_peer(socket)))
		note_frontend(facts, &connection->origin);
	bpf_sk_release(socket);
	return 0;
}

/*
 * Counts a packet of the entry that a reference names, and notes the service that a client's socket
 * has asked for: for a new connection, and of UDP in each tick, as the socket may be used anew.
 */
GLOBAL int ct_observe_packet(context *ctx, const struct packet *packet, __u32 reference)
{
	if (!packet)
		return 0;
	/* A client may repeat from the same port what it has given up. */
	if (ct_count(ctx, packet, reference) || (!(reference & 1) && starts_connection(packet)))
		note_asked_service(ctx, reference / 2);
	return 0;
}

/* Does so if connections are observed. */
INLINE void ct_observe(context *ctx, const struct packet *packet, __u32 reference)
{
	if (config.visibility)
		ct_observe_packet(ctx, packet, reference);
}
