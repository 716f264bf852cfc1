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

INLINE void count_active(const struct origin *origin, __s32 change)
{
	__u32 id = origin->backend;
	struct backend *backend = backend_by_id(id);
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	/* After the id was given to another backend, its count is none of this socket's. */
	if (stats && is_same_backend(backend, origin->generation, origin->service))
		__sync_fetch_and_add(&stats->active, change);
}

/* The socket is about to be connected elsewhere, or closed. */
INLINE void forget_connection(struct bpf_sock *socket)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	if (!connection)
		return;
	if (connection->counted)
		count_active(&connection->origin, -1);
	bpf_sk_storage_delete(&connections, socket);
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

INLINE int on_connect(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct connection *connection;
	struct service_key key;
	struct origin origin = {};
	enum destination destination;
	int chosen;

	forget_connection(ctx->sk);
	destination = classify(ctx, to, &key);
	if (destination == DESTINATION_UNKNOWN_PORT)
		return refuse(REFUSED_UNKNOWN_PORT);
	if (destination == DESTINATION_RANGED)
		return refuse_service(&key, REFUSED_SOURCE_RANGE);
	if (destination != DESTINATION_SERVICE)
		return ALLOW;

	chosen = choose(ctx, &key, &origin);
	if (!chosen)
		return refuse_service(&key, REFUSED_NO_BACKEND);
	if (!reaches_backend(ctx, to, &origin, 1))
		return refuse(REFUSED_INVALID_SOURCE);
	copy_address(origin.frontend, &to->address);
	origin.frontend_port = to->port;
	count_connection(&origin);

	/* Without memory for it the connection works all the same, but getpeername() is unmasked. */
	connection = bpf_sk_storage_get(&connections, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (connection) {
		connection->origin = origin;
		connection->counted = chosen == 2;
		if (connection->counted)
			count_active(&origin, 1);
	}
	copy_address(&to->address, origin.backend_address);
	to->port = origin.backend_port;
	return ALLOW;
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

INLINE struct flow *new_flow(struct flows *known)
{
	__u32 at = known->count;

	if (at < FLOWS_PER_SOCKET) {
		known->count = at + 1;
	} else {
		at = known->next_evicted;
		known->next_evicted = at + 1;
	}
	return &known->flow[at % FLOWS_PER_SOCKET];
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

/* Whether the flow's backend still is one that the service lets it keep. */
INLINE int is_kept(const struct flow *flow)
{
	struct backend *backend = backend_by_id(flow->origin.backend);

	return is_same_backend(backend, flow->origin.generation, flow->origin.service) &&
	       backend->state != BACKEND_GONE;
}

INLINE void note_sent(struct flows *known, struct flow *flow)
{
	flow->sent = ++known->sent;
	flow->awaiting_reply = 1;
}

INLINE int on_sendmsg(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	enum destination destination;
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

	known = bpf_sk_storage_get(&flows, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known)
		return destination == DESTINATION_SERVICE ? refuse(REFUSED_NO_BACKEND) : ALLOW;
	flow = flow_to(known, to);

	if (destination == DESTINATION_UDP_BACKEND) {
		if (!flow) {
			flow = new_flow(known);
			__builtin_memset(&flow->origin, 0, sizeof(flow->origin));
			copy_address(flow->origin.frontend, &to->address);
			copy_address(flow->origin.backend_address, &to->address);
			flow->origin.frontend_port = to->port;
			flow->origin.backend_port = to->port;
		}
		note_sent(known, flow);
		return ALLOW;
	}

	service = bpf_map_lookup_elem(&services, &key);
	if (!flow || !service || flow->origin.service != service->id || !is_kept(flow)) {
		struct origin origin = {};

		copy_address(origin.frontend, &to->address);
		origin.frontend_port = to->port;
		for (int attempt = 0; attempt < UNSHARED_ATTEMPTS; attempt++) {
			if (!choose(ctx, &key, &origin))
				return refuse_service(&key, REFUSED_NO_BACKEND);
			if (!is_shared(known, &origin))
				break;
		}
		if (!reaches_backend(ctx, to, &origin, 0))
			return refuse(REFUSED_INVALID_SOURCE);
		if (!flow)
			flow = new_flow(known);
		if (flow->origin.backend != origin.backend || flow->origin.generation != origin.generation)
			count_connection(&origin);
		flow->origin = origin;
	}
	note_sent(known, flow);
	copy_address(&to->address, flow->origin.backend_address);
	to->port = flow->origin.backend_port;
	return ALLOW;
}

/* Turns a backend's address, as the source of a datagram or as a peer, into what was asked for. */
INLINE int unmask_connection(struct bpf_sock *socket, struct endpoint *from)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	if (!connection || connection->origin.backend_port != from->port ||
	    !same_address(connection->origin.backend_address, &from->address))
		return 0;
	copy_address(&from->address, connection->origin.frontend);
	from->port = connection->origin.frontend_port;
	return 1;
}

/*
 * Several flows of a socket can go to one backend (two services that share it, or a service and the
 * backend's own address). Their replies look alike; servers answer in order, so a reply is taken
 * to be of the flow that has waited for longest.
 */
INLINE int unmask_flow(struct bpf_sock *socket, struct endpoint *from)
{
	struct flows *known = bpf_sk_storage_get(&flows, socket, 0, 0);
	struct flow *best = 0;

	if (!known)
		return 0;
	for (__u32 i = 0; i < FLOWS_PER_SOCKET; i++) {
		struct flow *flow = &known->flow[i];

		if (i >= known->count)
			break;
		if (flow->origin.backend_port != from->port ||
		    !same_address(flow->origin.backend_address, &from->address))
			continue;
		if (!best || (flow->awaiting_reply && !best->awaiting_reply) ||
		    (flow->awaiting_reply == best->awaiting_reply &&
		     (flow->awaiting_reply ? (__s32)(flow->sent - best->sent) < 0 : (__s32)(flow->sent - best->sent) > 0)))
			best = flow;
	}
	if (!best)
		return 0;
	best->awaiting_reply = 0;
	copy_address(&from->address, best->origin.frontend);
	from->port = best->origin.frontend_port;
	return 1;
}

INLINE int on_recvmsg(struct bpf_sock *socket, struct endpoint *from)
{
	return unmask_connection(socket, from) || unmask_flow(socket, from);
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
		if (unmask_connection(ctx->sk, &peer))                                                  \
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

	if (connection && connection->counted)
		count_active(&connection->origin, -1);
	return ALLOW;
}
