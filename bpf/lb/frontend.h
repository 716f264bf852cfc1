/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions determine the role of a packet's destination, and select a backend for a new
 * connection.
 */
#pragma once

#include "ct/entry.h"
#include "ct/host_reply.h"
#include "lib/bits.h"
#include "lib/source.h"
#include "select.h"
#include "source_ranges.h"

/*
 * Returns 1 if the packet's destination may be an address of a service or of the node; see
 * address_filter.
 */
INLINE int address_filter_hit(const struct packet *packet)
{
	const __u32 *words = (const __u32 *)packet->tuple.destination;
	__u32 mixed = ((words[0] * 31 + words[1]) * 31 + words[2]) * 31 + words[3];

	mixed = (mixed ^ mixed >> 15) * 0x85ebca6b;
	return has_bit(&address_filter, (mixed ^ mixed >> 13) % (ADDRESS_FILTER_WORDS * 64));
}

/* Returns the role of the packet's destination; 0: services cannot have the address. */
INLINE __u32 destination_role(const struct packet *packet)
{
	__u32 *role = address_filter_hit(packet) ?
			      bpf_map_lookup_elem(&addresses, packet->tuple.destination) :
			      0;

	return role && *role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE) ? *role : 0;
}

/*
 * Identifies an external client by its address. The highest bit distinguishes it from cookies,
 * which count from 1.
 */
INLINE client_id client_of_address(const void *address)
{
	const __u32 *words = address;
	__u64 high = (__u64)words[0] << 32 | words[1], low = (__u64)words[2] << 32 | words[3];

	return ((high * 0x9e3779b97f4a7c15ULL) ^ low) | 1ULL << 63;
}

INLINE __u32 lb_hash(const struct tuple *tuple)
{
	return client_hash(client_of_address(tuple->source) + ((__u64)tuple->source_port << 16) +
			   tuple->destination_port);
}

/* Computes the tuple of a packet that a backend gets with the client's own address. */
INLINE void dnat_tuple(struct tuple *to, const struct packet *packet, const void *backend,
		       __be16 port)
{
	copy_address(to->source, packet->tuple.source);
	copy_address(to->destination, backend);
	to->source_port = packet->tuple.source_port;
	to->destination_port = port;
	to->protocol = packet->tuple.protocol;
}

/* Accepts the backend that another node has selected for a packet of no known connection. */
INLINE enum verdict lb_accept_tunnelled(const struct packet *packet, struct lb_choice *choice,
					struct tuple *to)
{
	struct backend *backend = backend_by_id(packet->backend);

	if (!may_start_flow(packet))
		return V_DROP(DROP_NO_FLOW);
	if (!backend || backend->state == BACKEND_GONE)
		return V_DROP(DROP_NO_BACKEND);
	choice->backend = packet->backend;
	choice->generation = backend->generation;
	dnat_tuple(to, packet, backend->address, backend->port);
	return V_OK;
}

/*
 * Selects a backend for a packet of no known connection, whose destination has the role
 * `choice->role`, and computes the tuple `to` that the packet has if the backend gets it with the
 * client's address. Returns V_OK, V_PASS or the reason for a drop.
 */
GLOBAL enum verdict lb_select_for_packet(context *ctx, const struct packet *packet,
					 struct lb_choice *choice, struct tuple *to)
{
	struct ct_table *table = get_ct_table();
	struct service_key key = {};
	struct service *service;
	struct backend *backend;
	enum verdict verdict;
	__u32 role;
	int is_external = is_external_interface(ifindex_of(ctx)), is_dsr, is_flood;

	if (!table || !packet || !choice || !to)
		return V_PASS;
	if (packet->backend)
		return check_new_packet(ctx, packet) ?: lb_accept_tunnelled(packet, choice, to);
	role = choice->role;
	copy_address(key.address, packet->tuple.destination);
	key.port = packet->tuple.destination_port;
	key.protocol = (__u8)packet->tuple.protocol;
	key.scope = SCOPE_EXTERNAL;
	service = is_external ? bpf_map_lookup_elem(&services, &key) : 0;
	if (!service) {
		key.scope = SCOPE_INTERNAL;
		service = bpf_map_lookup_elem(&services, &key);
	}
	if (!service) {
		/* As with socket programs, pods reach other ports of an external address. */
		return role & ADDRESS_NODE || !(is_external || role & ADDRESS_SERVICE) ?
			       V_PASS :
			       V_DROP(DROP_UNKNOWN_PORT);
	}
	/*
	 * The stack may use the same port for its sockets and for masquerading, so only new
	 * connections are the service's.
	 */
	if (role & ADDRESS_NODE && (!may_start_flow(packet) || is_host_reply(packet)))
		return V_PASS;
	choice->service = service->id;
	verdict = check_new_packet(ctx, packet);
	if (verdict != V_OK)
		return verdict;
	if (service->flags &
		    (is_external ? SERVICE_SOURCE_RANGES : SERVICE_INTERNAL_SOURCE_RANGES) &&
	    !is_in_ranges(key.address, key.port, key.protocol, packet->tuple.source))
		return V_DROP(DROP_SOURCE_RANGE);
	if (!may_start_flow(packet))
		return V_DROP(DROP_NO_FLOW);
	if (!service->slot_count && service->flags & SERVICE_DROP_IF_EMPTY)
		return V_DROP(DROP_NOT_LOCAL);
	is_dsr = !!(service->flags & SERVICE_DSR);
	is_flood = (__s32)table->unconfirmed >= (__s32)config.unconfirmed_limit;
	verdict = lb_select(&key, service, choice, client_of_address(packet->tuple.source),
			    lb_hash(&packet->tuple), is_flood);
	if (verdict != V_OK)
		return verdict;
	backend = backend_by_id(choice->backend);
	if (!backend)
		return V_DROP(DROP_NO_BACKEND);
	choice->is_dsr = is_dsr;
	dnat_tuple(to, packet, backend->address, backend->port);
	return V_OK;
}
