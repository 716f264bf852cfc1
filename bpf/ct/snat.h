/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SNAT chooses an address of this node, and a port towards the backend. */
#pragma once

#include "lib/route.h"
#include "reply_filter.h"
#include "table.h"

/* Returns the index of an address in nat_sources; 0: it is not there. */
NOINLINE __u32 find_snat_address(const __u32 *address)
{
	for (__u32 i = 1; i < SNAT_ADDRESSES; i++) {
		__u32 index = i;
		struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

		if (source && same_address(source->address, address))
			return i;
	}
	return 0;
}

/*
 * Returns the index of the SNAT address of packets that leave by the route `fib`; 0: the node has
 * no address of the family. In a tunnel it is of the range of this node's pods, so that replies
 * come through the tunnel, too.
 */
INLINE __u32 snat_index_of_route(const struct packet *packet, struct bpf_fib_lookup *fib,
				 int has_source)
{
	struct ct_table *table = get_ct_table();
	struct tunnel_end *end = get_tunnel();
	__u32 index = 0;

	if (end && end->ifindex == fib->ifindex)
		return packet->ipv4 ? end->snat_ipv4 : end->snat_ipv6;
	if (has_source) {
		/* The field has room for the 16 bytes of an address. */
		if (packet->ipv4)
			map_ipv4(fib->ipv6_src, fib->ipv4_src);
		index = find_snat_address(fib->ipv6_src);
	}
	if (!index && table)
		index = packet->ipv4 ? table->source_ipv4 : table->source_ipv6;
	return index;
}

/*
 * Looks up the route of a packet of a new connection with the tuple `to`, and chooses the SNAT
 * address that the backend will see. The connection keeps the client's address if the replies pass
 * this node anyway: if the backend or the client is on this node, unless they use the same
 * interface, or are the same host. The route is looked up for the client's address also if the
 * packet gets another one. The kernel does the same for packets that it masquerades, and so one
 * lookup serves both. `route` is all zero before.
 */
GLOBAL enum verdict route_lookup_snat(context *ctx, const struct packet *packet,
				      const struct tuple *to, struct route *route,
				      struct lb_choice *choice)
{
	struct bpf_fib_lookup fib = {};
	__u32 ifindex = ifindex_of(ctx);
	enum verdict verdict;
	int has_source;

	if (!packet || !to || !route || !choice)
		return V_DROP(DROP_NO_ROUTE);
	choice->snat = 0;
	verdict = fib_query(ctx, packet, to, ROUTE_SOURCE, &fib, &has_source, route);
	if (verdict != V_OK || packet->backend || route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return verdict;
	if (fib.ifindex != ifindex &&
	    (!is_external_interface(ifindex) || !is_external_interface(fib.ifindex)))
		return V_OK;
	choice->snat = snat_index_of_route(packet, &fib, has_source);
	return V_OK;
}

/* This is the state of a search for a free SNAT port. */
struct port_probe {
	__u32 entry; /* index */
	__u32 generation;
	__u32 next;
	__u32 found;
};

/*
 * The number of probes after which the port of an unconfirmed connection is taken. Ports are taken
 * in turn, so it is the oldest one towards the backend.
 */
#define PORT_PROBES_UNCONFIRMED 4
/*
 * The number of probes after which the port of a closed connection is taken, although the backend
 * may still be in TIME-WAIT.
 */
#define PORT_PROBES_CLOSED 64

/*
 * Evicts the entry that a reference names, if its port may be taken after so many probes. Returns
 * whether it did.
 */
INLINE int evict_for_port(__u32 reference, __u32 probes)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	__u32 state_word;

	if (!entry || probes < PORT_PROBES_UNCONFIRMED)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_live(state_word) ||
	    !(state_word & CT_UNCONFIRMED ||
	      (probes >= PORT_PROBES_CLOSED && ct_is_closed(state_word))))
		return 0;
	return ct_evict(reference / 2, state_word, CT_EVICTED_PORT);
}

static long probe_port(__u32 number, struct port_probe *probe)
{
	__u32 offset = probe->next++ % config.port_count * config.port_stride % config.port_count;
	struct ct_entry *entry = ct_entry_at(probe->entry);
	__u32 other;

	if (!entry)
		return 1;
	entry->source_port = bpf_htons(config.first_port + offset);
	other = ct_insert_tuple(probe->entry * 2 + 1, probe->generation);
	if (other && evict_for_port(other, number))
		other = ct_insert_tuple(probe->entry * 2 + 1, probe->generation);
	probe->found = !other;
	return probe->found;
}

/*
 * Returns 1 if a search in this tick has found no free port towards the backend. A search takes a
 * while, so it is done once in a tick; otherwise a flood would cause one for each SYN.
 */
GLOBAL int snat_ports_exhausted(const struct tuple *to)
{
	__u32 backend = to ? endpoint_hash(to->destination, to->destination_port) : 0,
	      slot = backend % PORT_SEARCHES;
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);

	return search && search->backend == backend && search->exhausted_at == now_ticks();
}

/*
 * Reserves an SNAT port for an entry by inserting the reply tuple. `backend` is a hash of the
 * backend's address and port, which services may share. Returns 0 if all ports are taken.
 *
 * The search continues where the last one ended, in an order that clients cannot predict (RFC
 * 6056). So it meets first the ports that were taken longest ago, whose connections are closed if
 * any are. A search from a random position would need four probes if three quarters of the ports
 * are taken, mostly by closed connections. Those do not prevent a new connection when all ports are
 * taken: if the backend is still in TIME-WAIT and does not accept the SYN (RFC 6191), the client
 * repeats it.
 */
GLOBAL int snat_reserve_port(__u32 entry, __u32 backend, __u32 generation)
{
	struct port_probe probe = { .entry = entry, .generation = generation };
	__u32 slot = backend % PORT_SEARCHES, tick = now_ticks();
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);
	struct ct_table *table = get_ct_table();

	if (!search || !table)
		return 0;
	if (search->backend == backend && search->exhausted_at == tick)
		return 0;
	probe.next = search->next ? search->next : table->secret[0];
	bpf_loop(config.port_count + PORT_PROBES_CLOSED, probe_port, &probe, 0);
	search->next = probe.next;
	if (!probe.found) {
		search->backend = backend;
		search->exhausted_at = tick;
	}
	return probe.found;
}
