/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions select a service's backend. */
#pragma once

#include "backend.h"
#include "lib/verdict.h"
#include "policy/opinion.h"

/*
 * A client: at a socket the cookie of the network namespace, so that each pod is one client; see
 * affinity_key.
 */
typedef __u64 client_id;

/*
 * The control plane replaces a slot range while programs read it, so a slot can name a backend that
 * belongs to another service by then. A new lookup of the service finds the new range.
 */
#define LB_ATTEMPTS 3

/*
 * The number of backends that least-connections compares; of a longer range it compares a random
 * part.
 */
#define LEAST_CONNECTIONS_COMPARED 64

/* This describes the selection of a backend for a new connection. */
struct lb_choice {
	__u32 service; /* id; 0: no service was found */
	__u32 backend; /* id */
	__u32 generation;
	__u8 is_counted; /* The connection counts in backend_stats.active. */
	__u8 is_dsr;	 /* Packets are tunnelled if the backend is on another node. */
	/* index in nat_sources, perhaps with SNAT_TUNNELLED; 0: the client's address is kept */
	__u8 snat;
	__u8 role; /* input: the role of the packet's destination, enum address_role */
	struct policy_opinion policy; /* the verdict of network policies about the connection */
};

/* The tunnel's local address is in `snat`, and packets keep the client's address. */
#define SNAT_TUNNELLED (CT_TUNNELLED >> CT_SNAT_SHIFT)

/* Counts a new connection of a backend. */
INLINE void count_backend_conn(__u32 id)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats && id)
		__sync_fetch_and_add(&stats->connections, 1);
}

INLINE __u32 client_hash(client_id client)
{
	/* The finalizer of MurmurHash3: each input bit affects each output bit. */
	client ^= client >> 33;
	client *= 0xff51afd7ed558ccdULL;
	client ^= client >> 33;
	client *= 0xc4ceb9fe1a85ec53ULL;
	client ^= client >> 33;
	return (__u32)client;
}

INLINE __u32 slot_backend(__u32 slot)
{
	__u32 *id = bpf_map_lookup_elem(&slots, &slot);

	return id ? *id : 0;
}

/*
 * Returns the backend with the fewest open connections, from the slot `start` on, which is random
 * to break ties.
 */
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

	/*
	 * The caller has checked the count, but the verifier does not know that the map's content
	 * has not changed.
	 */
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

/*
 * Returns the id of the backend that the client had within the affinity's time; 0: there is none.
 */
INLINE __u32 affinity_backend(const struct service *service, const struct affinity_key *key,
			      __u64 now)
{
	struct affinity *last = bpf_map_lookup_elem(&affinity, key);
	struct backend *backend;

	if (!last || now - last->last_used >= (__u64)service->affinity_seconds * 1000000000ULL)
		return 0;
	backend = backend_by_id(last->backend);
	if (!is_same_backend(backend, last->generation, service->id) ||
	    backend->state != BACKEND_ACTIVE)
		return 0;
	last->last_used = now;
	return last->backend;
}

/*
 * Selects a backend of a service. ALGORITHM_HASH selects by `hash`. With `is_flood` a client
 * without affinity gets a backend by its hash, and no entry in `affinity`: spoofed clients must not
 * evict those of others. Returns V_OK, V_STALE if the slot names a backend of another service, or
 * the reason for a drop.
 */
GLOBAL enum verdict lb_select_once(struct service *service, struct lb_choice *choice,
				   client_id client, __u32 hash, int is_flood)
{
	struct affinity_key affinity_key = { .client = client };
	struct backend *backend;
	__u32 id = 0, remembered;
	__u64 now = 0;

	if (!service || !choice || !service->slot_count)
		return V_DROP(DROP_NO_BACKEND);
	if (service->affinity_seconds) {
		affinity_key.service = service->id;
		now = bpf_ktime_get_ns();
		id = affinity_backend(service, &affinity_key, now);
	}
	remembered = id;
	if (!remembered && service->affinity_seconds && is_flood)
		id = slot_backend(service->first_slot + client_hash(client) % service->slot_count);
	else if (!remembered)
		id = select_backend_id(service,
				       service->affinity_seconds ? client_hash(client) : hash);
	backend = backend_by_id(id);
	if (!id || !backend || backend->service != service->id || backend->state == BACKEND_GONE)
		return V_STALE;

	choice->service = service->id;
	choice->backend = id;
	choice->generation = backend->generation;
	choice->is_counted = service->algorithm == ALGORITHM_LEAST_CONNECTIONS;
	if (service->affinity_seconds && !remembered && !is_flood) {
		struct affinity value = {
			.backend = id,
			.generation = choice->generation,
			.last_used = now,
		};
		bpf_map_update_elem(&affinity, &affinity_key, &value, BPF_ANY);
	}
	return V_OK;
}

/*
 * Selects a backend of `service`, which has the key; again of the service that has the key by then,
 * if the selection is stale. Returns V_OK or the reason for a drop.
 */
INLINE enum verdict lb_select(const struct service_key *key, struct service *service,
			      struct lb_choice *choice, client_id client, __u32 hash, int is_flood)
{
	for (int attempt = 0; attempt < LB_ATTEMPTS; attempt++) {
		enum verdict verdict;

		if (attempt)
			service = bpf_map_lookup_elem(&services, key);
		if (!service)
			break;
		verdict = lb_select_once(service, choice, client, hash, is_flood);
		if (verdict != V_STALE)
			return verdict;
	}
	return V_DROP(DROP_NO_BACKEND);
}
