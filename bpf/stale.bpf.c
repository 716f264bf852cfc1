// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sockets that are connected to a backend that is gone. A TCP socket learns of it from its peer's
 * reset; a UDP socket would send into the void for ever, so it is destroyed: its next call returns
 * ECONNABORTED, and the application connects anew.
 *
 * `stale_sockets` walks the connections of all network namespaces and writes a struct stale_socket
 * for each stale one. `destroy_udp` and `destroy_tcp` (Linux 6.5, bpf_sock_destroy) walk the
 * namespace of the process that opened the iterator and write a byte for each socket they destroyed;
 * on older kernels the control plane destroys what was reported through sock_diag.
 */
#include "balance.h"
#include "kernel.h"

LICENSE("Dual BSD/GPL");

extern int bpf_sock_destroy(struct sock_common *sk) __attribute__((section(".ksyms"))) __attribute__((weak));

INLINE int is_stale(const struct connection *connection)
{
	struct backend *backend = backend_by_id(connection->origin.backend);

	return !is_same_backend(backend, connection->origin.generation, connection->origin.service) ||
	       backend->state == BACKEND_GONE;
}

/* A function, so that the record's layout is in the object's BTF, of which the bindings are made. */
static __attribute__((noinline)) long report(struct seq_file *seq, const struct stale_socket *stale)
{
	return bpf_seq_write(seq, stale, sizeof(*stale));
}

SEC("iter/bpf_sk_storage_map") int stale_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct connection *connection = ctx->value;
	struct sock *socket = ctx->sk;
	struct stale_socket stale;

	if (!connection || !socket || !is_stale(connection))
		return 0;
	stale.cookie = bpf_get_socket_cookie(socket);
	stale.netns = socket->__sk_common.skc_net.net->ns.inum;
	stale.port = connection->origin.backend_port;
	stale.protocol = socket->sk_protocol;
	report(ctx->meta->seq, &stale);
	return 0;
}

INLINE int is_stale_socket(void *socket)
{
	struct connection *connection = bpf_sk_storage_get(&connections, socket, 0, 0);

	return connection && is_stale(connection);
}

SEC("iter/udp") int destroy_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *socket = ctx->udp_sk;
	__u8 one = 1;

	if (socket && is_stale_socket(socket) && bpf_sock_destroy && !bpf_sock_destroy((struct sock_common *)socket))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

SEC("iter/tcp") int destroy_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *socket = ctx->sk_common;
	__u8 one = 1;

	if (socket && is_stale_socket(socket) && bpf_sock_destroy && !bpf_sock_destroy(socket))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}
