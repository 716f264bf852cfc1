/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The front door: which flow a packet belongs to that enters the node, what that makes of it, and
 * which way it goes then. All of this leaves the packet as it is, so that it can still be refused, or
 * be left to somebody else.
 */
#pragma once

#include "fragment.h"
#include "nat.h"
#include "ranges.h"
#include "route.h"
#include "source.h"
#include "tunnel.h"

/* The packet is none of ours; other outcomes are 0 or an enum drop_reason. */
#define NOT_FOR_HEDDLE 3

/* Finds the packet's flow. What is found must be asked whether it still is the one. */
INLINE int ct_lookup(struct ct_result *found, const struct tuple *key)
{
	__u64 slot = ct_find_slot(key);

	if (!slot)
		return 0;
	found->index = (__u32)slot / 2;
	found->is_reply = slot & 1;
	found->generation = slot >> CT_SLOT_GENERATION_SHIFT;
	found->entry = ct_entry_at(found->index);
	return found->entry && ct_is_live(found->entry->state_word);
}

/*
 * True when a flow still is the packet's. It is asked after the flow's content was read: a flow that not both sides
 * have confirmed, or that is over, may have been evicted meanwhile, and its place be another's. (A flow is filled
 * beginning with its key, so that what was read before the key was found unchanged is of that flow.)
 */
INLINE int ct_still_matches(const struct ct_result *found, const struct tuple *key)
{
	__u32 state_word = found->entry->state_word;

	return (ct_is_live(state_word) && !(state_word & CT_UNCONFIRMED) && !ct_is_closed(state_word)) ||
	       ct_still_has_tuple(found->index * 2 + found->is_reply, key);
}

/* Whether the packet's destination may be known as a service's or the node's; see address_filter. */
INLINE int address_filter_hit(const struct packet *packet)
{
	const __u32 *words = (const __u32 *)packet->tuple.destination;
	__u32 mixed = ((words[0] * 31 + words[1]) * 31 + words[2]) * 31 + words[3];

	mixed = (mixed ^ mixed >> 15) * 0x85ebca6b;
	return has_bit(&address_filter, (mixed ^ mixed >> 13) % (ADDRESS_FILTER_WORDS * 64));
}

/* The role of the packet's destination; 0: it is no address that a service can have. */
INLINE __u32 destination_role(const struct packet *packet)
{
	__u32 *role = address_filter_hit(packet) ? bpf_map_lookup_elem(&addresses, packet->tuple.destination) : 0;

	return role && *role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE) ? *role : 0;
}

/* Whether a connection begins with the packet: a SYN, or an INIT of SCTP. UDP knows no beginning. */
INLINE int starts_connection(const struct packet *packet)
{
	return packet->tuple.protocol != IPPROTO_UDP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Whether a flow can begin with the packet: SCTP and TCP say so, UDP doesn't. */
INLINE int may_start_flow(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP || starts_connection(packet);
}

/* The backend that has an id, if it still is the one that had it in that generation. */
INLINE struct backend *backend_of_generation(__u32 id, __u32 generation)
{
	struct backend *backend = backend_by_id(id);

	return backend && (__u16)backend->generation == (__u16)generation && backend->state != BACKEND_GONE ? backend : 0;
}

INLINE void count_backend_conn(__u32 backend)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &backend);

	if (stats)
		__sync_fetch_and_add(&stats->connections, 1);
}

/*
 * Whether a packet from the client goes on with the flow that has its key. If not, the flow is none of the
 * client's any more: because its backend is gone, or because a connection begins anew from the port of
 * one that is over.
 */
INLINE int ct_is_usable(const struct packet *packet, const struct ct_result *found)
{
	__u32 state_word = found->entry->state_word, id = found->entry->backend_id;
	struct backend *backend = backend_of_generation(id, found->generation);
	enum ct_state state = ct_state_of(state_word);

	if (backend) {
		if (!starts_connection(packet))
			return 1;
		/* Also the first try of a connection may have met a backend that drains by now. */
		if (!ct_is_closed(state_word) && (state != CT_TCP_SYN || backend->state == BACKEND_ACTIVE))
			return 1;
	} else if (ct_is_local(state_word)) {
		/* What the pod still sends is known by the other key; see translate_reply. */
		ct_remove_tuple(found->index * 2, state_word);
		return 0;
	}
	ct_end(found->index, state_word);
	return 0;
}

/* The time to wait for an answer to UDP: 180 s, in ticks. The kernel's conntrack waits 120 s (nf_conntrack_udp_timeout_stream). */
#define HOST_REPLY_TICKS 168

/*
 * Notes that UDP leaves the node from an address and port that a service has, but belongs to no flow: the stack
 * sent it, whose masquerading and whose sockets choose such ports, too. What a flow's client gets on its way out of
 * another interface is no such packet.
 */
GLOBAL int note_host_datagram(const struct packet *packet)
{
	struct tuple answer;
	struct ct_result found = {};
	__u32 *role, now = now_ticks();

	if (!packet || packet->tuple.protocol != IPPROTO_UDP)
		return 0;
	reverse_tuple(&answer, &packet->tuple);
	role = bpf_map_lookup_elem(&addresses, answer.destination);
	if (role && *role & ADDRESS_NODE && !ct_lookup(&found, &answer))
		bpf_map_update_elem(&stack_answers, &answer, &now, BPF_ANY);
	return 0;
}

/* True when a packet to the node's address answers what the stack sent from there; see note_host_datagram. */
GLOBAL int is_host_reply(const struct packet *packet)
{
	struct tuple key;
	__u32 *sent;

	if (!packet || packet->tuple.protocol != IPPROTO_UDP)
		return 0;
	/* Before Linux 6.2 a map's key is taken from the stack, not from memory that a function is given. */
	key = packet->tuple;
	sent = bpf_map_lookup_elem(&stack_answers, &key);
	return sent && ((now_ticks() - *sent) & CT_SEEN_MASK) < HOST_REPLY_TICKS;
}

/*
 * A client may address a backend of this node itself, from the port that it had used for a flow to it through a
 * service. The backend sees the same addresses and ports then, and its replies would go by the flow. So a packet
 * with which such an exchange begins ends the flow, unless that is a connection that still goes on: two
 * connections with the same addresses and ports the backend could not tell apart either.
 */
GLOBAL int release_for_direct_flow(const struct packet *packet)
{
	struct tuple reply;
	struct ct_result found = {};
	__u32 state_word;

	if (!packet)
		return 0;
	reverse_tuple(&reply, &packet->tuple);
	if (!ct_lookup(&found, &reply) || !found.is_reply)
		return 0;
	state_word = found.entry->state_word;
	return ct_is_local(state_word) && (packet->tuple.protocol != IPPROTO_TCP || ct_is_closed(state_word)) && ct_end(found.index, state_word);
}

/*
 * For how long a packet's flow and way are taken without asking again: until the clock, in such units, moves
 * on. So a change of routes or neighbours is heeded after at most 2^28 ns, a quarter of a second.
 */
#define FLOW_CACHE_EPOCH_SHIFT 28

INLINE __u32 flow_cache_epoch(void)
{
	return bpf_ktime_get_coarse_ns() >> FLOW_CACHE_EPOCH_SHIFT;
}

/* Ports are part of it: the kernel may choose among several ways by them. */
INLINE __u32 flow_cache_hash(const struct tuple *key)
{
	const __u32 *source = (const __u32 *)key->source, *destination = (const __u32 *)key->destination;
	__u64 ports = (__u64)key->source_port << 16 | key->destination_port | (__u64)key->protocol << 32;
	__u64 left = (__u64)(source[0] ^ destination[2]) << 32 | (source[3] ^ destination[1]);
	__u64 right = (__u64)(source[1] ^ destination[3]) << 32 | (source[2] ^ destination[0]);
	/* Two multiplications that don't wait for each other. */
	__u64 mixed = left * 0x9e3779b97f4a7c15ULL ^ (right + ports) * 0xc2b2ae3d27d4eb4fULL;

	return (mixed ^ mixed >> 32) * 0x9e3779b1;
}

/* Where a packet with that hash is remembered. */
INLINE struct flow_cache_entry *flow_cache_slot(__u32 hash)
{
	__u32 number = hash >> 16 & (FLOW_CACHE_BLOCKS - 1);
	struct flow_cache_block *block = bpf_map_lookup_elem(&known_flows, &number);

	return block ? &block->entries[hash >> 20 & (FLOW_CACHE_BLOCK_ENTRIES - 1)] : 0;
}

/* Tells packets apart that have one place, and what the kernel is asked under: device, and tracking. */
INLINE __u32 flow_cache_tag(context *ctx, __u32 hash)
{
	struct ct_table *table = get_ct_table();

	return hash ^ (ifindex_of(ctx) << 1 | (table && table->nf_tracked));
}

/*
 * Remembers which flow a packet belongs to and which way it goes: an answer that can be had again, so not of a
 * neighbour that is unknown, as it may soon be known, nor of what is the stack's, which has no such size.
 */
GLOBAL int flow_cache_insert(context *ctx, const struct packet *packet, __u32 reference, const struct route *route)
{
	struct flow_cache_entry *cached;
	__u32 hash;

	if (!packet || packet->fragment || !route || route->result != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	hash = flow_cache_hash(&packet->tuple);
	cached = flow_cache_slot(hash);
	if (!cached)
		return 0;
	cached->tag = flow_cache_tag(ctx, hash);
	cached->reference = reference;
	cached->ifindex = route->fib.ifindex;
	cached->mtu = route->fib.mtu_result;
	__builtin_memcpy(cached->dmac, route->fib.dmac, ETH_ALEN);
	__builtin_memcpy(cached->smac, route->fib.smac, ETH_ALEN);
	cached->epoch = flow_cache_epoch();
	return 0;
}

/*
 * The flow of a packet like one that came a moment ago, as in a slot of nat_index, and its way; 0: there is
 * none, or something about it has to be looked at more closely. A flow's place may be another's by now, so
 * what is remembered counts only if the flow there has the packet's key.
 */
GLOBAL __u32 flow_cache_lookup(context *ctx, const struct packet *packet, struct route *route)
{
	struct flow_cache_entry *cached;
	struct ct_entry *entry;
	__u32 hash, state_word, overhead;

	if (!packet || !route || packet->fragment || starts_connection(packet))
		return 0;
	hash = flow_cache_hash(&packet->tuple);
	cached = flow_cache_slot(hash);
	if (!cached || cached->tag != flow_cache_tag(ctx, hash) || cached->epoch != flow_cache_epoch())
		return 0;
	entry = ct_entry_at(cached->reference / 2);
	if (!entry)
		return 0;
	state_word = entry->state_word;
	if (!ct_has_tuple(cached->reference, &packet->tuple))
		return 0;
	if (!(cached->reference & 1) &&
	    (!ct_has_backend(entry, state_word) || (packet->backend && entry->backend_id != packet->backend)))
		return 0;
	overhead = !(cached->reference & 1) && state_word & CT_TUNNELLED ? tunnel_overhead(packet) : 0;
	if (segment_length(ctx, packet) + overhead > cached->mtu)
		return 0;
	route->fib.family = packet->ipv4 ? AF_INET : AF_INET6;
	route->fib.ifindex = cached->ifindex;
	__builtin_memcpy(route->fib.dmac, cached->dmac, ETH_ALEN);
	__builtin_memcpy(route->fib.smac, cached->smac, ETH_ALEN);
	route->result = BPF_FIB_LKUP_RET_SUCCESS;
	route->overhead = overhead;
	return cached->reference;
}

/* The key of a packet that is sent to a backend as it is. */
INLINE void dnat_tuple(struct tuple *to, const struct packet *packet, const void *backend, __be16 port)
{
	copy_address(to->source, packet->tuple.source);
	copy_address(to->destination, backend);
	to->source_port = packet->tuple.source_port;
	to->destination_port = port;
	to->protocol = packet->tuple.protocol;
}

/* Takes the backend that another node has chosen for a packet that belongs to no flow yet, as lb_select_for_packet. */
INLINE int use_tunnelled_choice(const struct packet *packet, struct lb_choice *choice, struct tuple *to)
{
	struct backend *backend = backend_by_id(packet->backend);

	if (!may_start_flow(packet))
		return DROP_NO_FLOW;
	if (!backend || backend->state == BACKEND_GONE)
		return DROP_NO_BACKEND;
	choice->backend = packet->backend;
	choice->generation = backend->generation;
	dnat_tuple(to, packet, backend->address, backend->port);
	return 0;
}

/*
 * Chooses a backend for a packet that belongs to no flow yet; `to` becomes that of the packet when it is
 * sent there as it is. Returns 0, NOT_FOR_HEDDLE, or the reason for a drop.
 */
GLOBAL int lb_select_for_packet(context *ctx, const struct packet *packet, __u32 role, struct lb_choice *choice,
			     struct tuple *to)
{
	struct origin origin = {};
	struct ct_table *table = get_ct_table();
	struct service_key key = {};
	struct service *service;
	int outcome, chosen, is_dsr, is_flood, from_outside = is_external_interface(ifindex_of(ctx));

	if (!table || !packet || !choice || !to)
		return NOT_FOR_HEDDLE;
	if (packet->backend)
		return check_new_packet(ctx, packet) ?: use_tunnelled_choice(packet, choice, to);
	copy_address(key.address, packet->tuple.destination);
	key.port = packet->tuple.destination_port;
	key.protocol = (__u8)packet->tuple.protocol;
	key.scope = SCOPE_EXTERNAL;
	service = from_outside ? bpf_map_lookup_elem(&services, &key) : 0;
	if (!service) {
		key.scope = SCOPE_INTERNAL;
		service = bpf_map_lookup_elem(&services, &key);
	}
	if (!service) {
		/* As at sockets, pods reach what an external address has at other ports. */
		return role & ADDRESS_NODE || !(from_outside || role & ADDRESS_SERVICE) ? NOT_FOR_HEDDLE : DROP_UNKNOWN_PORT;
	}
	/* The stack masquerades by such a port, too, and its sockets may have it: what begins no connection is its. */
	if (role & ADDRESS_NODE && (!may_start_flow(packet) || is_host_reply(packet)))
		return NOT_FOR_HEDDLE;
	choice->service = service->id;
	outcome = check_new_packet(ctx, packet);
	if (outcome)
		return outcome;
	if (service->flags & (from_outside ? SERVICE_SOURCE_RANGES : SERVICE_INTERNAL_SOURCE_RANGES) &&
	    !is_in_ranges(key.address, key.port, key.protocol, packet->tuple.source))
		return DROP_SOURCE_RANGE;
	if (!may_start_flow(packet))
		return DROP_NO_FLOW;
	if (!service->slot_count && service->flags & SERVICE_DROP_IF_EMPTY)
		return DROP_NOT_LOCAL;
	is_dsr = !!(service->flags & SERVICE_DSR);
	/* A flood of invented clients must not drive out affinities. */
	is_flood = (__s32)table->unconfirmed >= (__s32)config.unconfirmed_limit;
	chosen = lb_select(&key, service, &origin, client_of_address(packet->tuple.source), lb_hash(&packet->tuple),
				is_flood);
	if (!chosen)
		return DROP_NO_BACKEND;
	choice->backend = origin.backend;
	choice->generation = origin.generation;
	choice->counted = chosen == 2;
	choice->is_dsr = is_dsr;
	dnat_tuple(to, packet, origin.backend_address, origin.backend_port);
	return 0;
}

/* Index in nat_sources of an address; 0 if it isn't there. */
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
 * The address that a backend that way shall see, as an index in nat_sources; 0: the client's own. That
 * serves while the replies pass here in any case, which is so when the backend is on this node, or the
 * client is; but not when they share a device, or are one and the same.
 */
GLOBAL __u32 choose_snat_address(context *ctx, const struct packet *packet, const struct route *route)
{
	struct ct_table *table = get_ct_table();
	__u32 source = 0, address[4], device = ifindex_of(ctx);

	if (!table || !packet || !route || route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return 0;
	if (route->fib.ifindex != device && (!is_external_interface(device) || !is_external_interface(route->fib.ifindex)))
		return 0;
	if (route->has_source_address) {
		if (packet->ipv4)
			map_ipv4(address, route->fib.ipv4_src);
		else
			copy_address(address, route->fib.ipv6_src);
		source = find_snat_address(address);
	}
	if (source)
		return source;
	return packet->ipv4 ? table->source_ipv4 : table->source_ipv6;
}

/*
 * Finds the flow of a packet with ports to an address of that role, or makes it if one begins; what the
 * packet will be from and to, or (`route` has an overhead) the tunnel that it goes in; and the way that it
 * goes then. Where `recalled` is not 0, it and `route` are what flow_cache_lookup has found. Routes to backends are
 * looked up for the client's address, whatever the backend sees: so does the kernel for what it masquerades,
 * and one lookup serves the choice of a source and the way. Returns 0, NOT_FOR_HEDDLE, or the reason for a drop.
 */
INLINE int lookup_or_create_flow(context *ctx, const struct packet *packet, __u32 role, __u32 recalled, struct ct_result *found,
			struct tuple *to, struct route *route)
{
	int is_known, outcome = 0;

	if (recalled) {
		found->index = recalled / 2;
		found->is_reply = recalled & 1;
		found->entry = ct_entry_at(found->index);
		if (!found->entry)
			return DROP_NO_FLOW;
		is_known = 1;
	} else {
		is_known = ct_lookup(found, &packet->tuple);
	}
	if (packet->fragment == FRAGMENT_FIRST)
		fragment_note_ports(packet);
	if (!recalled && is_known && !found->is_reply) {
		is_known = ct_is_usable(packet, found);
		/* Another node's choice goes before what this one chose when it was asked itself. */
		if (is_known && packet->backend && found->entry->backend_id != packet->backend)
			is_known = !ct_end(found->index, found->entry->state_word);
	}
	if (!is_known) {
		struct lb_choice choice = {};
		__u32 source, tunnel;

		if (packet->fragment == FRAGMENT_LATER)
			return role & ADDRESS_NODE ? NOT_FOR_HEDDLE : DROP_FRAGMENT;
		outcome = lb_select_for_packet(ctx, packet, role, &choice, to);
		found->service = choice.service;
		if (!outcome)
			outcome = route_lookup(ctx, packet, to, ROUTE_SOURCE, route);
		if (outcome)
			return outcome;
		source = packet->backend ? 0 : choose_snat_address(ctx, packet, route);
		tunnel = source && choice.is_dsr && backend_is_established(choice.backend) ? tunnel_snat_index(ctx, packet, to, route) : 0;
		if (tunnel)
			source = tunnel | SNAT_TUNNELLED;
		outcome = ct_create(packet, to, &choice, source, &found->index);
		if (outcome > CT_EXISTS)
			return outcome;
		found->is_reply = 0;
		if (outcome == CT_EXISTS) {
			/* The choice that the other CPU made holds. */
			is_known = ct_lookup(found, &packet->tuple);
			if (!is_known)
				return DROP_NO_FLOW;
		} else {
			count_backend_conn(choice.backend);
			found->entry = ct_entry_at(found->index);
			found->is_new = 1;
		}
	}
	if (!found->entry)
		return DROP_NO_FLOW;
	if (!found->is_reply && found->entry->state_word & CT_TUNNELLED) {
		if (!tunnel_tuple(to, found->entry, packet->ipv4))
			return DROP_NO_ROUTE;
		if (is_known && !ct_still_matches(found, &packet->tuple))
			return DROP_TABLE_FULL;
		return recalled ? fib_result_to_drop_reason(packet, route) : tunnel_route_lookup(ctx, packet, to, route);
	}
	if (is_known) {
		if (found->is_reply)
			ct_rev_nat_tuple(to, found->entry, packet->tuple.protocol);
		else
			dnat_tuple(to, packet, found->entry->backend, found->entry->backend_port);
		outcome = recalled ? fib_result_to_drop_reason(packet, route) : route_lookup(ctx, packet, to, 0, route);
		if (outcome)
			return outcome;
	}
	if (!found->is_reply) {
		__u32 index = ct_snat_index(found->entry->state_word);
		struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

		if (index && source)
			copy_address(to->source, source->address);
		to->source_port = found->entry->source_port;
	}
	return is_known && !ct_still_matches(found, &packet->tuple) ? DROP_TABLE_FULL : 0;
}
