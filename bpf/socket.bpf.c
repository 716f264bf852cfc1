// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cgroup hooks: a service address is translated where the socket is made, so no packet ever
 * carries it. connect() of TCP and UDP chooses a backend once; sendmsg() of an unconnected UDP
 * socket keeps one backend for each service that the socket talks to. getpeername() and recvmsg()
 * turn the backend's address into the service's again, so the application never sees it.
 *
 * IPv4 addresses in IPv6 sockets reach connect6, recvmsg6 and getpeername6, but sendmsg4: the
 * kernel hands such a datagram to IPv4 before the hook (net/ipv6/udp.c, udpv6_sendmsg). With one
 * address type the same code serves all.
 */
#include "address.h"
#include "balance.h"
#include "client.h"
#include "kernel.h"
#include "maps.h"
#include "ranges.h"
#include "refusal.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define EPERM 1
#define TCP_ESTABLISHED 1 /* also the state of a connected UDP socket */
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7
#define ECONNREFUSED 111
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99

#define ALLOW 1
#define REFUSE 0

const volatile struct socket_config config = {};

LICENSE("Dual BSD/GPL");

/* What a destination is to Heddle. */
enum destination {
	DESTINATION_DIRECT,
	DESTINATION_SERVICE,
	DESTINATION_UNKNOWN_PORT,
	DESTINATION_UDP_BACKEND, /* addressed directly, but some UDP service has it too */
	DESTINATION_RANGED,	 /* a service whose source ranges do not have the client */
};

/* The socket, loaded from the context once: the compiler would compute the field's address, which the verifier refuses. */
INLINE struct bpf_sock *socket_of(const struct bpf_sock_addr *ctx)
{
	struct bpf_sock *socket = ctx->sk;

	barrier_var(socket);
	return socket;
}

/* Whether a service with ranges serves the socket; a client whose address is not known is in no range. */
GLOBAL int is_served(struct bpf_sock_addr *ctx, const struct service_key *key)
{
	struct endpoint client = {};

	if (!key)
		return 0;
	copy_address(&client.address, key->address);
	return find_client(ctx, is_mapped_ipv4(&client), &client.address) &&
	       is_in_ranges(key->address, key->port, key->protocol, &client.address);
}

/* Finds out what the destination is; `key` is the service's key if it is one. */
INLINE enum destination classify(struct bpf_sock_addr *ctx, const struct endpoint *to, struct service_key *key)
{
	struct service *service;
	__u32 *role;

	/* A pod's loopback is its own. */
	if (is_loopback(to) && bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return DESTINATION_DIRECT;
	copy_address(key->address, &to->address);
	key->port = to->port;
	key->protocol = (__u8)ctx->protocol;
	key->scope = SCOPE_INTERNAL;
	service = bpf_map_lookup_elem(&services, key);
	if (service)
		return service->flags & SERVICE_RANGED_INSIDE && !is_served(ctx, key) ? DESTINATION_RANGED
										     : DESTINATION_SERVICE;
	if (is_loopback(to)) {
		((__u32 *)key->address)[3] = 0;
		return bpf_map_lookup_elem(&services, key) ? DESTINATION_SERVICE : DESTINATION_DIRECT;
	}
	role = bpf_map_lookup_elem(&addresses, key->address);
	if (!role)
		return DESTINATION_DIRECT;
	if (*role & ADDRESS_SERVICE)
		return DESTINATION_UNKNOWN_PORT;
	return *role & ADDRESS_UDP_BACKEND ? DESTINATION_UDP_BACKEND : DESTINATION_DIRECT;
}

INLINE int choose(struct bpf_sock_addr *ctx, const struct service_key *key, struct origin *origin)
{
	client_id client = bpf_get_netns_cookie(ctx);

	return choose_backend(key, 0, origin, client, hash_client(client), 0);
}

GLOBAL int refuse(enum refusal_reason reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&refusals, &key);

	if (count)
		(*count)++;
	bpf_set_retval(reason == REFUSED_INVALID_SOURCE ? -EADDRNOTAVAIL
		       : reason == REFUSED_SOURCE_RANGE ? -EPERM
							: -ECONNREFUSED);
	return REFUSE;
}

/* Refuses what is for a service, and counts it there; `key` is on the caller's stack. */
INLINE int refuse_service(const struct service_key *key, enum refusal_reason reason)
{
	struct service *service = bpf_map_lookup_elem(&services, key);

	if (service)
		count_refusal(service->id, reason);
	return refuse(reason);
}

INLINE int is_translated(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

INLINE void count_connection(const struct origin *origin)
{
	__u32 id = origin->backend;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats)
		__sync_fetch_and_add(&stats->connections, 1);
}

INLINE int is_origin_of(const struct origin *origin, const struct endpoint *from)
{
	return origin->backend_port == from->port && same_address(origin->backend_address, &from->address);
}

/* The socket itself chose the address: what it asked for and what it gets are the same. */
INLINE void direct_origin(struct origin *origin, const struct endpoint *to)
{
	__builtin_memset(origin, 0, sizeof(*origin));
	copy_address(origin->frontend, &to->address);
	copy_address(origin->backend_address, &to->address);
	origin->frontend_port = to->port;
	origin->backend_port = to->port;
}

/* Whether a UDP socket is connected, as the socket itself says; connect() to AF_UNSPEC runs no hook. */
INLINE int is_connected(const struct bpf_sock *socket)
{
	return socket->state == TCP_ESTABLISHED;
}

/* What a connected socket is connected to, as the socket itself says. */
INLINE void read_peer(const struct bpf_sock *socket, struct endpoint *peer)
{
	__u32 address = socket->dst_ip4;

	/* Else both families would share a load from a computed address, which the verifier refuses. */
	barrier_var(address);
	if (socket->family == AF_INET) {
		map_ipv4(&peer->address, address);
	} else {
		peer->address.words[0] = socket->dst_ip6[0];
		peer->address.words[1] = socket->dst_ip6[1];
		peer->address.words[2] = socket->dst_ip6[2];
		peer->address.words[3] = socket->dst_ip6[3];
	}
	peer->port = socket->dst_port;
}

#define NO_FLOW FLOWS_PER_SOCKET

/*
 * The index for another flow. When all are taken, what was used longest ago gives way, a peer that was
 * addressed directly before a service; such a peer never takes a service's place.
 */
GLOBAL __u32 free_flow(struct flows *known, int is_direct)
{
	__u32 oldest = NO_FLOW;

	if (!known)
		return NO_FLOW;
	if (known->count < FLOWS_PER_SOCKET)
		return known->count++;
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i], *other;

		if (is_direct && flow->origin.backend)
			continue;
		if (oldest < FLOWS_PER_SOCKET) {
			other = &known->flow[oldest];
			if (!flow->origin.backend == !other->origin.backend ?
				    (__s32)(flow->sent - other->sent) > 0 :
				    flow->origin.backend != 0)
				continue;
		}
		oldest = i;
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
	__u32 best = NO_FLOW;
	int best_fits = 0;

	if (!known || !from)
		return NO_FLOW;
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i], *other;
		int fits = flow->awaiting_reply == (is_connected ? WAS_PEER : AWAITING_REPLY), is_older;

		if (i >= known->count)
			break;
		if (!is_origin_of(&flow->origin, from))
			continue;
		if (best < FLOWS_PER_SOCKET) {
			other = &known->flow[best];
			is_older = (__s32)(flow->sent - other->sent) < 0;
			if (fits != best_fits ? best_fits : is_older != (fits && !is_connected))
				continue;
		}
		best = i;
		best_fits = fits;
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
		count_active(origin, 1);
}

/* Whether the socket was bound to a loopback address. */
INLINE int has_loopback_source(const struct bpf_sock *socket)
{
	struct endpoint source = {};

	if (socket->family == AF_INET) {
		map_ipv4(&source.address, socket->src_ip4);
	} else {
		source.address.words[0] = socket->src_ip6[0];
		source.address.words[1] = socket->src_ip6[1];
		source.address.words[2] = socket->src_ip6[2];
		source.address.words[3] = socket->src_ip6[3];
	}
	return is_loopback(&source) && source.address.words[3] != 0;
}

/* Takes the socket's source address back, which works as long as the socket has no port (IP_BIND_ADDRESS_NO_PORT). */
INLINE int unbind_source(struct bpf_sock_addr *ctx, const struct bpf_sock *socket)
{
	struct sockaddr_in6_any any = { .family = (__u16)socket->family };

	return socket->src_port ? -1 : bpf_bind(ctx, &any, socket->family == AF_INET ? SOCKADDR_IN_SIZE : sizeof(any));
}

/*
 * Whether the socket's source address lets it reach the backend. A socket that is bound to a loopback address
 * can connect to loopback, where NodePorts are served, but Linux routes nothing from there to a pod: IPv4 fails
 * with EINVAL (__mkroute_output in net/ipv4/route.c), and IPv6 sends what every receiver drops (ip6_rcv_core).
 */
INLINE int reaches_backend(struct bpf_sock_addr *ctx, const struct endpoint *frontend, const struct origin *origin,
			   int connects)
{
	struct bpf_sock *socket;
	__u8 backend[16];
	__u32 *role;

	if (!is_loopback(frontend))
		return 1;
	/* The verifier wants the field to be read from the context's beginning. */
	barrier_var(ctx);
	socket = ctx->sk;
	if (!socket || !has_loopback_source(socket))
		return 1;
	copy_address(backend, origin->backend_address);
	role = bpf_map_lookup_elem(&addresses, backend);
	return (role && *role & ADDRESS_NODE) || (connects && !unbind_source(ctx, socket));
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
INLINE int joins(const struct mptcp_sock *mptcp)
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
		if (joins(mptcp))
			return ALLOW;
		socket = mptcp;
	}
	/* The hook runs in TCP_CLOSE only (__inet_stream_connect), so what was there before is over. */
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	if (connection)
		count_closed(connection);
	destination = classify(ctx, to, &key);
	chosen = destination == DESTINATION_SERVICE ? choose(ctx, &key, &origin) : 0;
	if (!chosen || !reaches_backend(ctx, to, &origin, 1)) {
		if (connection)
			bpf_sk_storage_delete(&connections, socket);
		if (chosen)
			return refuse(REFUSED_INVALID_SOURCE);
		if (destination == DESTINATION_SERVICE)
			return refuse_service(&key, REFUSED_NO_BACKEND);
		if (destination == DESTINATION_RANGED)
			return refuse_service(&key, REFUSED_SOURCE_RANGE);
		return destination == DESTINATION_UNKNOWN_PORT ? refuse(REFUSED_UNKNOWN_PORT) : ALLOW;
	}
	copy_address(origin.frontend, &to->address);
	origin.frontend_port = to->port;
	count_connection(&origin);
	note_connection(socket, connection, &origin, chosen == 2);
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
}

/*
 * connect() of UDP sends nothing: resolvers connect to any port to learn which source address they would
 * have (RFC 6724). So where a service address has no backend, a socket that is not connected gets what it asked
 * for; once there is a backend, such a socket counts as stale (stale.bpf.c). A socket that is connected is no
 * resolver's, and keeps what it has.
 */
INLINE int on_connect_udp(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct bpf_sock *socket = socket_of(ctx);
	struct connection *connection;
	struct service_key key;
	struct origin origin;
	enum destination destination;
	int chosen, is_service;

	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	destination = classify(ctx, to, &key);
	if (destination == DESTINATION_RANGED)
		return refuse_service(&key, REFUSED_SOURCE_RANGE);
	chosen = destination == DESTINATION_SERVICE ? choose(ctx, &key, &origin) : 0;
	if (!chosen) {
		is_service = destination == DESTINATION_SERVICE || destination == DESTINATION_UNKNOWN_PORT;
		if (is_service && is_connected(socket))
			return destination == DESTINATION_SERVICE ? refuse_service(&key, REFUSED_NO_BACKEND)
									  : refuse(REFUSED_UNKNOWN_PORT);
		/* What is addressed directly is noted only where something else could be believed of the socket. */
		if (!is_service && !connection && !bpf_sk_storage_get(&flows, socket, 0, 0))
			return ALLOW;
		direct_origin(&origin, to);
	} else {
		if (!reaches_backend(ctx, to, &origin, 1))
			return refuse(REFUSED_INVALID_SOURCE);
		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		count_connection(&origin);
	}
	if (connection) {
		keep_as_flow(socket, &connection->origin);
		count_closed(connection);
	} else if (is_connected(socket)) {
		struct endpoint peer;
		struct origin direct;

		read_peer(socket, &peer);
		direct_origin(&direct, &peer);
		keep_as_flow(socket, &direct);
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

INLINE struct flow *flow_to(struct flows *known, const struct endpoint *frontend)
{
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];

		if (i >= known->count)
			break;
		if (flow->origin.frontend_port == frontend->port &&
		    same_address(flow->origin.frontend, &frontend->address))
			return flow;
	}
	return 0;
}

/* Whether another flow of the socket goes to the same backend: then replies are hard to tell apart. */
GLOBAL int is_shared(struct flows *known, const struct origin *origin)
{
	if (!known || !origin)
		return 0;
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
	flow = flow_to(known, to);

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

/* Whether the port is a service's there, or only a hostPort's. */
INLINE int is_taken(const struct service_key *key, __u32 flags)
{
	struct service *service = bpf_map_lookup_elem(&services, key);

	return service && (service->flags & flags) == flags;
}

/* Whether an IPv6 socket takes no IPv4 (IPV6_V6ONLY), which bpf_getsockopt() does not read. */
INLINE int is_ipv6_only(struct bpf_sock_addr *ctx)
{
	/* Every kind of socket begins with its struct sock_common. */
	struct sock_common *socket = ctx->protocol == IPPROTO_TCP ? bpf_skc_to_tcp6_sock(ctx->sk)
								  : bpf_skc_to_udp6_sock(ctx->sk);
	__u64 byte;

	if (!socket)
		return 0;
	byte = *((__u8 *)socket + FIELD_BYTE(socket->skc_ipv6only));
	return byte << FIELD_LSHIFT(socket->skc_ipv6only) >> FIELD_RSHIFT(socket->skc_ipv6only);
}

/*
 * Refuses a bind where it would take a NodePort or a hostPort: at each address of the node that has the port, on
 * loopback, and at the unspecified address of a family in which the port is served. Elsewhere nothing is in the way.
 */
INLINE int on_bind(struct bpf_sock_addr *ctx, const struct endpoint *at, int ipv6)
{
	struct service_key key = { .port = at->port, .protocol = (__u8)ctx->protocol, .scope = SCOPE_INTERNAL };
	struct service_key any = key;
	int is_refused;

	if (!key.port || !is_translated(ctx) || bpf_get_netns_cookie(ctx) != config.node_netns_cookie)
		return ALLOW;
	copy_address(key.address, &at->address);
	if (is_mapped_ipv4(at))
		map_ipv4(any.address, 0);
	/* The unspecified address has every NodePort and wide hostPort of its family, and stands for loopback. */
	is_refused = is_taken(&key, SERVICE_HOST_PORT) || (is_taken(&any, 0) && (is_loopback(at) || is_taken(&key, 0)));
	if (!is_refused && ipv6 && !(at->address.halves[0] | at->address.halves[1]) && !is_ipv6_only(ctx)) {
		map_ipv4(any.address, 0);
		is_refused = is_taken(&any, 0);
	}
	if (!is_refused)
		return ALLOW;
	bpf_set_retval(-EADDRINUSE);
	return REFUSE;
}

/* The two families differ in where the context holds the address, and in nothing else. */
#define ADDRESS_HOOKS(n)                                                                                \
	SEC("cgroup/connect" #n) int connect##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint to;                                                                     \
                                                                                                        \
		if (!is_translated(ctx))                                                                \
			return ALLOW;                                                                   \
		read_address##n(&to, ctx);                                                              \
		if (on_connect(ctx, &to) == REFUSE)                                                     \
			return REFUSE;                                                                  \
		write_address##n(ctx, &to);                                                             \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/sendmsg" #n) int sendmsg##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint to;                                                                     \
                                                                                                        \
		if (!is_translated(ctx))                                                                \
			return ALLOW;                                                                   \
		read_address##n(&to, ctx);                                                              \
		if (on_sendmsg(ctx, &to) == REFUSE)                                                     \
			return REFUSE;                                                                  \
		write_address##n(ctx, &to);                                                             \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/recvmsg" #n) int recvmsg##n(struct bpf_sock_addr *ctx)                              \
	{                                                                                               \
		struct endpoint from;                                                                   \
                                                                                                        \
		read_address##n(&from, ctx);                                                            \
		if (on_recvmsg(ctx->sk, &from))                                                         \
			write_address##n(ctx, &from);                                                   \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/getpeername" #n) int getpeername##n(struct bpf_sock_addr *ctx)                      \
	{                                                                                               \
		struct endpoint peer;                                                                   \
                                                                                                        \
		read_address##n(&peer, ctx);                                                            \
		if (on_getpeername(ctx, &peer))                                                  \
			write_address##n(ctx, &peer);                                                   \
		return ALLOW;                                                                           \
	}                                                                                               \
	SEC("cgroup/bind" #n) int bind##n(struct bpf_sock_addr *ctx)                                    \
	{                                                                                               \
		struct endpoint at;                                                                     \
                                                                                                        \
		read_address##n(&at, ctx);                                                              \
		return on_bind(ctx, &at, n == 6);                                                       \
	}

ADDRESS_HOOKS(4)
ADDRESS_HOOKS(6)

SEC("cgroup/sock_release") int sock_release(struct bpf_sock *ctx)
{
	struct connection *connection = bpf_sk_storage_get(&connections, ctx, 0, 0);

	if (connection)
		count_closed(connection);
	return ALLOW;
}
