/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Least-connections services count the open connections of sockets. */
#pragma once

#include "lb/backend.h"

/* Counts one open connection more or less, for least-connections services. */
INLINE void count_active_conn(const struct origin *origin, __s32 change)
{
	__u32 id = origin->backend;
	struct backend *backend = backend_by_id(id);
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	/* If the id belongs to another backend by now, this connection is not in its count. */
	if (stats && is_same_backend(backend, origin->generation, origin->service))
		__sync_fetch_and_add(&stats->active, change);
}

/*
 * Counts a connection as closed, once: the socket's end and the iterator of stale.bpf.c may do so
 * at the same time.
 */
INLINE void count_conn_closed(struct connection *connection)
{
	if (connection->counted && __sync_lock_test_and_set(&connection->counted, 0))
		count_active_conn(&connection->origin, -1);
}
