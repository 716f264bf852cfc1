// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sockets that are connected to a backend that is gone. A TCP socket notices by a reset of its
 * peer. A UDP socket would send without a receiver forever, so it is destroyed: its next call
 * returns ECONNABORTED, and the application connects again. A UDP socket that connected to a
 * service's address without backends is destroyed, too, once the service has some. The socket
 * itself has its peer: connect() to AF_UNSPEC and a connect() that fails do not change the storage.
 *
 * `stale_sockets` walks the connections of all network namespaces and writes a struct stale_socket
 * for each stale one. `destroy_udp` and `destroy_tcp` (Linux 6.5, bpf_sock_destroy) walk the
 * namespace of the process that opened the iterator and write a byte for each socket that they
 * destroyed; on older kernels the control plane destroys the reported sockets through sock_diag.
 *
 * `connection_over` is attached while there is a least-connections service.
 */
#include "lb/backend.h"
#include "lib/address.h"
#include "lib/kernel.h"
#include "socket/connection.h"

LICENSE("Dual BSD/GPL");

extern int bpf_sock_destroy(struct sock_common *sk) __attribute__((section(".ksyms")))
__attribute__((weak));

#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define TCP_CLOSE 7

/* Returns 1 if the socket is still connected to the backend in its storage. */
INLINE int is_connected_to(const struct sock *socket, const struct origin *origin)
{
	const __u32 *backend = (const __u32 *)origin->backend_address;

	if (socket->__sk_common.skc_state == TCP_CLOSE ||
	    socket->__sk_common.skc_dport != origin->backend_port)
		return 0;
	if (socket->__sk_common.skc_family == AF_INET)
		return socket->__sk_common.skc_daddr == backend[3];
	return same_address(&socket->__sk_common.skc_v6_daddr, backend);
}

/* Returns 1 if the frontend has backends. */
INLINE int is_served(const struct origin *origin)
{
	struct service_key key = { .port = origin->frontend_port,
				   .protocol = IPPROTO_UDP,
				   .scope = SCOPE_INTERNAL };
	struct service *service;

	copy_address(key.address, origin->frontend);
	service = bpf_map_lookup_elem(&services, &key);
	return service && service->slot_count;
}

INLINE int is_stale(const struct connection *connection)
{
	struct backend *backend = backend_by_id(connection->origin.backend);

	if (!connection->origin.backend)
		return is_served(&connection->origin);
	return !is_same_backend(backend, connection->origin.generation,
				connection->origin.service) ||
	       backend->state == BACKEND_GONE;
}

INLINE int is_stale_connection(const struct sock *socket, const struct connection *connection)
{
	return is_connected_to(socket, &connection->origin) && is_stale(connection);
}

/*
 * This is a function so that the object's BTF has the struct, from which the bindings are
 * generated.
 */
NOINLINE long report(struct seq_file *seq, const struct stale_socket *stale)
{
	return bpf_seq_write(seq, stale, sizeof(*stale));
}

SEC("iter/bpf_sk_storage_map") int stale_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct connection *connection = ctx->value;
	struct sock *socket = ctx->sk;
	struct stale_socket stale;

	if (!connection || !socket || !is_stale_connection(socket, connection))
		return 0;
	/*
	 * The storage belongs to the MPTCP socket, but iterators see subflows, and no helper
	 * returns their MPTCP socket.
	 */
	if (socket->sk_protocol == IPPROTO_MPTCP)
		return 0;
	stale.cookie = bpf_get_socket_cookie(socket);
	stale.netns = socket->__sk_common.skc_net.net->ns.inum;
	stale.port = connection->origin.backend_port;
	stale.protocol = socket->sk_protocol;
	report(ctx->meta->seq, &stale);
	return 0;
}

INLINE int is_stale_socket(struct sock *socket)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	return connection && is_stale_connection(socket, connection);
}

SEC("iter/udp") int destroy_udp(struct bpf_iter__udp *ctx)
{
	struct sock *socket = (struct sock *)ctx->udp_sk;
	__u8 one = 1;

	if (socket && is_stale_socket(socket) && bpf_sock_destroy &&
	    !bpf_sock_destroy((struct sock_common *)socket))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

SEC("iter/tcp") int destroy_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock *socket = (struct sock *)ctx->sk_common;
	__u8 one = 1;

	if (socket && is_stale_socket(socket) && bpf_sock_destroy &&
	    !bpf_sock_destroy((struct sock_common *)socket))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

/*
 * Counts a TCP connection as closed: after a reset, a connect() that fails, connect() to AF_UNSPEC,
 * or the FINs of both sides. The application may keep the socket, so sock_release alone would come
 * too late.
 */
SEC("tp_btf/inet_sock_set_state") int connection_over(__u64 *ctx)
{
	struct sock *socket = (struct sock *)ctx[0];
	struct connection *connection;

	if ((int)ctx[2] != TCP_CLOSE)
		return 0;
	connection = bpf_sk_storage_get(&connections, socket, 0, 0);
	if (connection)
		count_conn_closed(connection);
	return 0;
}
