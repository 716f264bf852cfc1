/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The choice of a service's backend. */
#pragma once

#include "address.h"
#include "maps.h"

/* Who asks: at a socket the cookie of the network namespace, so each pod is one client; see affinity_key. */
typedef __u64 client_id;

/*
 * The control plane replaces a run while programs read it: a slot can name a backend that has
 * been given to another service meanwhile. Looking the service up again then finds the new run.
 */
#define LB_ATTEMPTS 3

/* How many backends least-connections compares; of a longer run it compares a random stretch. */
#define LEAST_CONNECTIONS_COMPARED 64

INLINE struct backend *backend_by_id(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

/* Whether a remembered backend still is that one and still serves the service. */
INLINE int is_same_backend(const struct backend *backend, __u32 generation, __u32 service)
{
	return backend && backend->generation == generation && backend->service == service;
}

/* Counts one more or one less open connection, for services that choose by it. */
INLINE void count_active_conn(const struct origin *origin, __s32 change)
{
	__u32 id = origin->backend;
	struct backend *backend = backend_by_id(id);
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	/* After the id was given to another backend, its count is none of this socket's. */
	if (stats && is_same_backend(backend, origin->generation, origin->service))
		__sync_fetch_and_add(&stats->active, change);
}

/* A connection that was counted as open is counted as closed, once: a socket's end and stale.bpf.c's walk can meet. */
INLINE void count_conn_closed(struct connection *connection)
{
	if (connection->counted && __sync_lock_test_and_set(&connection->counted, 0))
		count_active_conn(&connection->origin, -1);
}

INLINE __u32 client_hash(client_id client)
{
	/* The finalizer of MurmurHash3: every input bit moves every output bit. */
	client ^= client >> 33;
	client *= 0xff51afd7ed558ccdULL;
	client ^= client >> 33;
	client *= 0xc4ceb9fe1a85ec53ULL;
	client ^= client >> 33;
	return (__u32)client;
}

/* A client outside by its address. The highest bit sets it apart from cookies, which count up from 1. */
INLINE client_id client_of_address(const void *address)
{
	const __u32 *words = address;
	__u64 high = (__u64)words[0] << 32 | words[1], low = (__u64)words[2] << 32 | words[3];

	return ((high * 0x9e3779b97f4a7c15ULL) ^ low) | 1ULL << 63;
}

INLINE __u32 slot_backend(__u32 slot)
{
	__u32 *id = bpf_map_lookup_elem(&slots, &slot);

	return id ? *id : 0;
}

GLOBAL __u32 least_connected(__u32 first_slot, __u32 slot_count, __u32 start)
{
	__u32 best = 0, fewest = ~0u;

	if (!slot_count)
		return 0;
	for (__u32 i = 0; i < LEAST_CONNECTIONS_COMPARED; i++) {
		struct backend_stats *stats;
		__u32 id;

		if (i >= slot_count)
			break;
		id = slot_backend(first_slot + (start + i) % slot_count);
		stats = bpf_map_lookup_elem(&backend_stats, &id);
		/* Starting anywhere spreads those that have equally few. */
		if (id && stats && stats->active < fewest) {
			fewest = stats->active;
			best = id;
		}
	}
	return best;
}

INLINE __u32 select_backend_id(struct service *service, __u32 hash)
{
	__u32 count = service->slot_count, first = service->first_slot;

	/* The verifier knows nothing of the map's content: a count of 0 was seen to earlier. */
	if (!count)
		return 0;
	switch (service->algorithm) {
	case ALGORITHM_ROUND_ROBIN:
		return slot_backend(first + __sync_fetch_and_add(&service->cursor, 1) % count);
	case ALGORITHM_LEAST_CONNECTIONS:
		return least_connected(first, count, bpf_get_prandom_u32() % count);
	case ALGORITHM_HASH:
		return slot_backend(first + hash % count);
	default:
		return slot_backend(first + bpf_get_prandom_u32() % count);
	}
}

/* Returns the id of the backend that the client had within the affinity's time, or 0. */
INLINE __u32 affinity_backend(const struct service *service, const struct affinity_key *key, __u64 now)
{
	struct affinity *last = bpf_map_lookup_elem(&affinity, key);
	struct backend *backend;

	if (!last || now - last->last_used >= (__u64)service->affinity_seconds * 1000000000ULL)
		return 0;
	backend = backend_by_id(last->backend);
	if (!is_same_backend(backend, last->generation, service->id) || backend->state != BACKEND_ACTIVE)
		return 0;
	last->last_used = now;
	return last->backend;
}

#define LB_STALE 3

/*
 * Chooses a backend of a service and fills in what `origin` says of it. `hash` is of what shall keep to one
 * backend by ALGORITHM_HASH. With `is_flood` a client that has no affinity yet gets its backend by a hash, and
 * no entry. Returns 0 if there is none, 2 if it counts its open connections, else 1;
 * LB_STALE if it is one no more: the service has others by now.
 */
GLOBAL int lb_select_once(struct service *service, struct origin *origin, client_id client, __u32 hash, int is_flood)
{
	struct affinity_key affinity_key = { .client = client };
	struct backend *backend;
	__u32 id = 0, remembered;
	__u64 now = 0;

	if (!service || !origin || !service->slot_count)
		return 0;
	if (service->affinity_seconds) {
		affinity_key.service = service->id;
		now = bpf_ktime_get_ns();
		id = affinity_backend(service, &affinity_key, now);
	}
	remembered = id;
	if (!remembered && service->affinity_seconds && is_flood)
		id = slot_backend(service->first_slot + client_hash(client) % service->slot_count);
	else if (!remembered)
		id = select_backend_id(service, service->affinity_seconds ? client_hash(client) : hash);
	backend = backend_by_id(id);
	if (!id || !backend || backend->service != service->id || backend->state == BACKEND_GONE)
		return LB_STALE;

	copy_address(origin->backend_address, backend->address);
	origin->backend_port = backend->port;
	origin->backend = id;
	origin->generation = backend->generation;
	origin->service = service->id;
	if (service->affinity_seconds && !remembered && !is_flood) {
		struct affinity value = {
			.backend = id,
			.generation = origin->generation,
			.last_used = now,
		};
		bpf_map_update_elem(&affinity, &affinity_key, &value, BPF_ANY);
	}
	return service->algorithm == ALGORITHM_LEAST_CONNECTIONS ? 2 : 1;
}

/* As lb_select_once, of the service that is there; `service` is 0 where it has not been looked up yet. */
INLINE int lb_select(const struct service_key *key, struct service *service, struct origin *origin,
			  client_id client, __u32 hash, int is_flood)
{
	for (int attempt = 0; attempt < LB_ATTEMPTS; attempt++) {
		int chosen;

		if (!service || attempt)
			service = bpf_map_lookup_elem(&services, key);
		if (!service)
			return 0;
		chosen = lb_select_once(service, origin, client, hash, is_flood);
		if (chosen != LB_STALE)
			return chosen;
	}
	return 0;
}
