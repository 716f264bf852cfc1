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
#define NOT_OURS 3

/* Finds the packet's flow. What is found must be asked whether it still is the one. */
INLINE int find_flow(struct found *found, const struct flow_key *key)
{
	__u64 slot = find_slot(key);

	if (!slot)
		return 0;
	found->index = (__u32)slot / 2;
	found->is_reply = slot & 1;
	found->generation = slot >> SLOT_GENERATION_SHIFT;
	found->flow = flow_at(found->index);
	return found->flow && is_alive(found->flow->life);
}

/*
 * True when a flow still is the packet's. It is asked after the flow's content was read: a flow that not both sides
 * have confirmed, or that is over, may have been evicted meanwhile, and its place be another's. (A flow is filled
 * beginning with its key, so that what was read before the key was found unchanged is of that flow.)
 */
INLINE int is_still_flow(const struct found *found, const struct flow_key *key)
{
	__u32 life = found->flow->life;

	return (is_alive(life) && !(life & LIFE_UNCONFIRMED) && !is_over(life)) ||
	       still_has_key(found->index * 2 + found->is_reply, key);
}

/* Whether the packet's destination may be known as a service's or the node's; see address_filter. */
INLINE int may_be_known(const struct packet *packet)
{
	const __u32 *words = (const __u32 *)packet->key.destination;
	__u32 mixed = ((words[0] * 31 + words[1]) * 31 + words[2]) * 31 + words[3];

	mixed = (mixed ^ mixed >> 15) * 0x85ebca6b;
	return has_bit(&address_filter, (mixed ^ mixed >> 13) % (ADDRESS_FILTER_WORDS * 64));
}

/* The role of the packet's destination; 0: it is no address that a service can have. */
INLINE __u32 role_of(const struct packet *packet)
{
	__u32 *role = may_be_known(packet) ? bpf_map_lookup_elem(&addresses, packet->key.destination) : 0;

	return role && *role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE) ? *role : 0;
}

/* Whether a connection begins with the packet: a SYN, or an INIT of SCTP. UDP knows no beginning. */
INLINE int is_first(const struct packet *packet)
{
	return packet->key.protocol != IPPROTO_UDP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Whether a flow can begin with the packet: SCTP and TCP say so, UDP doesn't. */
INLINE int may_begin(const struct packet *packet)
{
	return packet->key.protocol == IPPROTO_UDP || is_first(packet);
}

/* The backend that has an id, if it still is the one that had it in that generation. */
INLINE struct backend *backend_of(__u32 id, __u32 generation)
{
	struct backend *backend = backend_by_id(id);

	return backend && (__u16)backend->generation == (__u16)generation && backend->state != BACKEND_GONE ? backend : 0;
}

INLINE void count_connection(__u32 backend)
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
INLINE int goes_on(const struct packet *packet, const struct found *found)
{
	__u32 life = found->flow->life, id = found->flow->backend_id;
	struct backend *backend = backend_of(id, found->generation);
	enum flow_state state = state_of(life);

	if (backend) {
		if (!is_first(packet))
			return 1;
		/* Also the first try of a connection may have met a backend that drains by now. */
		if (!is_over(life) && (state != FLOW_TCP_SYN || backend->state == BACKEND_ACTIVE))
			return 1;
	} else if (is_local(life)) {
		/* What the pod still sends is known by the other key; see answer_client. */
		forget_key(found->index * 2, life);
		return 0;
	}
	end_flow(found->index, life);
	return 0;
}

/* The time to wait for an answer to UDP: 180 s, in ticks. The kernel's conntrack waits 120 s (nf_conntrack_udp_timeout_stream). */
#define ANSWER_TICKS 168

/*
 * Notes that UDP leaves the node from an address and port that a service has, but belongs to no flow: the stack
 * sent it, whose masquerading and whose sockets choose such ports, too. What a flow's client gets on its way out of
 * another interface is no such packet.
 */
GLOBAL int note_stack_datagram(const struct packet *packet)
{
	struct flow_key answer;
	struct found found = {};
	__u32 *role, now = now_in_ticks();

	if (!packet || packet->key.protocol != IPPROTO_UDP)
		return 0;
	invert(&answer, &packet->key);
	role = bpf_map_lookup_elem(&addresses, answer.destination);
	if (role && *role & ADDRESS_NODE && !find_flow(&found, &answer))
		bpf_map_update_elem(&stack_answers, &answer, &now, BPF_ANY);
	return 0;
}

/* True when a packet to the node's address answers what the stack sent from there; see note_stack_datagram. */
GLOBAL int is_stack_answer(const struct packet *packet)
{
	struct flow_key key;
	__u32 *sent;

	if (!packet || packet->key.protocol != IPPROTO_UDP)
		return 0;
	/* Before Linux 6.2 a map's key is taken from the stack, not from memory that a function is given. */
	key = packet->key;
	sent = bpf_map_lookup_elem(&stack_answers, &key);
	return sent && ((now_in_ticks() - *sent) & LIFE_SEEN_MASK) < ANSWER_TICKS;
}

/*
 * A client may address a backend of this node itself, from the port that it had used for a flow to it through a
 * service. The backend sees the same addresses and ports then, and its replies would go by the flow. So a packet
 * with which such an exchange begins ends the flow, unless that is a connection that still goes on: two
 * connections with the same addresses and ports the backend could not tell apart either.
 */
GLOBAL int give_way_to_direct(const struct packet *packet)
{
	struct flow_key reply;
	struct found found = {};
	__u32 life;

	if (!packet)
		return 0;
	invert(&reply, &packet->key);
	if (!find_flow(&found, &reply) || !found.is_reply)
		return 0;
	life = found.flow->life;
	return is_local(life) && (packet->key.protocol != IPPROTO_TCP || is_over(life)) && end_flow(found.index, life);
}

/*
 * For how long a packet's flow and way are taken without asking again: until the clock, in such units, moves
 * on. So a change of routes or neighbours is heeded after at most 2^28 ns, a quarter of a second.
 */
#define KNOWN_AGE_SHIFT 28

INLINE __u32 age_of_knowledge(void)
{
	return bpf_ktime_get_coarse_ns() >> KNOWN_AGE_SHIFT;
}

/* Ports are part of it: the kernel may choose among several ways by them. */
INLINE __u32 hash_key(const struct flow_key *key)
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
INLINE struct known_flow *place_of(__u32 hash)
{
	__u32 block = hash >> 16 & (KNOWN_FLOW_BLOCKS - 1);
	struct known_flow_block *known = bpf_map_lookup_elem(&known_flows, &block);

	return known ? &known->flows[hash >> 20 & (KNOWN_FLOWS_IN_BLOCK - 1)] : 0;
}

/* Tells packets apart that have one place, and what the kernel is asked under: device, and tracking. */
INLINE __u32 check_of(context *ctx, __u32 hash)
{
	struct nat_table *table = the_table();

	return hash ^ (device_of(ctx) << 1 | (table && table->tracked));
}

/*
 * Remembers which flow a packet belongs to and which way it goes: an answer that can be had again, so not of a
 * neighbour that is unknown, as it may soon be known, nor of what is the stack's, which has no such size.
 */
GLOBAL int remember_flow(context *ctx, const struct packet *packet, __u32 reference, const struct route *route)
{
	struct known_flow *known;
	__u32 hash;

	if (!packet || packet->fragment || !route || route->result != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	hash = hash_key(&packet->key);
	known = place_of(hash);
	if (!known)
		return 0;
	known->check = check_of(ctx, hash);
	known->flow = reference;
	known->to = route->fib.ifindex;
	known->mtu = route->fib.mtu_result;
	__builtin_memcpy(known->dmac, route->fib.dmac, ETH_ALEN);
	__builtin_memcpy(known->smac, route->fib.smac, ETH_ALEN);
	known->age = age_of_knowledge();
	return 0;
}

/*
 * The flow of a packet like one that came a moment ago, as in a slot of nat_index, and its way; 0: there is
 * none, or something about it has to be looked at more closely. A flow's place may be another's by now, so
 * what is remembered counts only if the flow there has the packet's key.
 */
GLOBAL __u32 recall_flow(context *ctx, const struct packet *packet, struct route *route)
{
	struct known_flow *known;
	struct nat_flow *flow;
	__u32 hash, life, overhead;

	if (!packet || !route || packet->fragment || is_first(packet))
		return 0;
	hash = hash_key(&packet->key);
	known = place_of(hash);
	if (!known || known->check != check_of(ctx, hash) || known->age != age_of_knowledge())
		return 0;
	flow = flow_at(known->flow / 2);
	if (!flow)
		return 0;
	life = flow->life;
	if (!has_key(known->flow, &packet->key))
		return 0;
	if (!(known->flow & 1) &&
	    (!has_backend(flow, life) || (packet->backend && flow->backend_id != packet->backend)))
		return 0;
	overhead = !(known->flow & 1) && life & LIFE_TUNNELLED ? overhead_of(packet) : 0;
	if (segment_length(ctx, packet) + overhead > known->mtu)
		return 0;
	route->fib.family = packet->ipv4 ? AF_INET : AF_INET6;
	route->fib.ifindex = known->to;
	__builtin_memcpy(route->fib.dmac, known->dmac, ETH_ALEN);
	__builtin_memcpy(route->fib.smac, known->smac, ETH_ALEN);
	route->result = BPF_FIB_LKUP_RET_SUCCESS;
	route->overhead = overhead;
	return known->flow;
}

/* The key of a packet that is sent to a backend as it is. */
INLINE void lead_to(struct flow_key *to, const struct packet *packet, const void *backend, __be16 port)
{
	copy_address(to->source, packet->key.source);
	copy_address(to->destination, backend);
	to->source_port = packet->key.source_port;
	to->destination_port = port;
	to->protocol = packet->key.protocol;
}

/* Takes the backend that another node has chosen for a packet that belongs to no flow yet, as choose_for_packet. */
INLINE int take_choice(const struct packet *packet, struct choice *choice, struct flow_key *to)
{
	struct backend *backend = backend_by_id(packet->backend);

	if (!may_begin(packet))
		return DROP_NO_FLOW;
	if (!backend || backend->state == BACKEND_GONE)
		return DROP_NO_BACKEND;
	choice->backend = packet->backend;
	choice->generation = backend->generation;
	lead_to(to, packet, backend->address, backend->port);
	return 0;
}

/*
 * Chooses a backend for a packet that belongs to no flow yet; `to` becomes that of the packet when it is
 * sent there as it is. Returns 0, NOT_OURS, or the reason for a drop.
 */
GLOBAL int choose_for_packet(context *ctx, const struct packet *packet, __u32 role, struct choice *choice,
			     struct flow_key *to)
{
	struct origin origin = {};
	struct nat_table *table = the_table();
	struct service_key key = {};
	struct service *service;
	int outcome, chosen, is_dsr, is_flood, from_outside = is_front(device_of(ctx));

	if (!table || !packet || !choice || !to)
		return NOT_OURS;
	if (packet->backend)
		return check_first(ctx, packet) ?: take_choice(packet, choice, to);
	copy_address(key.address, packet->key.destination);
	key.port = packet->key.destination_port;
	key.protocol = (__u8)packet->key.protocol;
	key.scope = SCOPE_EXTERNAL;
	service = from_outside ? bpf_map_lookup_elem(&services, &key) : 0;
	if (!service) {
		key.scope = SCOPE_INTERNAL;
		service = bpf_map_lookup_elem(&services, &key);
	}
	if (!service) {
		/* As at sockets, pods reach what an external address has at other ports. */
		return role & ADDRESS_NODE || !(from_outside || role & ADDRESS_SERVICE) ? NOT_OURS : DROP_UNKNOWN_PORT;
	}
	/* The stack masquerades by such a port, too, and its sockets may have it: what begins no connection is its. */
	if (role & ADDRESS_NODE && (!may_begin(packet) || is_stack_answer(packet)))
		return NOT_OURS;
	choice->service = service->id;
	outcome = check_first(ctx, packet);
	if (outcome)
		return outcome;
	if (service->flags & (from_outside ? SERVICE_RANGED : SERVICE_RANGED_INSIDE) &&
	    !is_in_ranges(key.address, key.port, key.protocol, packet->key.source))
		return DROP_SOURCE_RANGE;
	if (!may_begin(packet))
		return DROP_NO_FLOW;
	if (!service->slot_count && service->flags & SERVICE_SILENT)
		return DROP_NOT_LOCAL;
	is_dsr = !!(service->flags & SERVICE_DSR);
	/* A flood of invented clients must not drive out affinities. */
	is_flood = (__s32)table->unanswered >= (__s32)config.unanswered_limit;
	chosen = choose_backend(&key, service, &origin, client_of_address(packet->key.source), hash_flow(&packet->key),
				is_flood);
	if (!chosen)
		return DROP_NO_BACKEND;
	choice->backend = origin.backend;
	choice->generation = origin.generation;
	choice->counted = chosen == 2;
	choice->is_dsr = is_dsr;
	lead_to(to, packet, origin.backend_address, origin.backend_port);
	return 0;
}

/* Index in nat_sources of an address; 0 if it isn't there. */
NOINLINE __u32 find_source(const __u32 *address)
{
	for (__u32 i = 1; i < NAT_SOURCES; i++) {
		__u32 index = i;
		struct nat_source *source = bpf_map_lookup_elem(&nat_sources, &index);

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
GLOBAL __u32 choose_source(context *ctx, const struct packet *packet, const struct route *route)
{
	struct nat_table *table = the_table();
	__u32 source = 0, address[4], device = device_of(ctx);

	if (!table || !packet || !route || route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return 0;
	if (route->fib.ifindex != device && (!is_front(device) || !is_front(route->fib.ifindex)))
		return 0;
	if (route->knows_source) {
		if (packet->ipv4)
			map_ipv4(address, route->fib.ipv4_src);
		else
			copy_address(address, route->fib.ipv6_src);
		source = find_source(address);
	}
	if (source)
		return source;
	return packet->ipv4 ? table->source_ipv4 : table->source_ipv6;
}

/*
 * Finds the flow of a packet with ports to an address of that role, or makes it if one begins; what the
 * packet will be from and to, or (`route` has an overhead) the tunnel that it goes in; and the way that it
 * goes then. Where `recalled` is not 0, it and `route` are what recall_flow has found. Routes to backends are
 * looked up for the client's address, whatever the backend sees: so does the kernel for what it masquerades,
 * and one lookup serves the choice of a source and the way. Returns 0, NOT_OURS, or the reason for a drop.
 */
INLINE int find_passage(context *ctx, const struct packet *packet, __u32 role, __u32 recalled, struct found *found,
			struct flow_key *to, struct route *route)
{
	int is_known, outcome = 0;

	if (recalled) {
		found->index = recalled / 2;
		found->is_reply = recalled & 1;
		found->flow = flow_at(found->index);
		if (!found->flow)
			return DROP_NO_FLOW;
		is_known = 1;
	} else {
		is_known = find_flow(found, &packet->key);
	}
	if (packet->fragment == FRAGMENT_FIRST)
		remember_ports(packet);
	if (!recalled && is_known && !found->is_reply) {
		is_known = goes_on(packet, found);
		/* Another node's choice goes before what this one chose when it was asked itself. */
		if (is_known && packet->backend && found->flow->backend_id != packet->backend)
			is_known = !end_flow(found->index, found->flow->life);
	}
	if (!is_known) {
		struct choice choice = {};
		__u32 source, tunnel;

		if (packet->fragment == FRAGMENT_LATER)
			return role & ADDRESS_NODE ? NOT_OURS : DROP_FRAGMENT;
		outcome = choose_for_packet(ctx, packet, role, &choice, to);
		found->service = choice.service;
		if (!outcome)
			outcome = find_route(ctx, packet, to, ROUTE_SOURCE, route);
		if (outcome)
			return outcome;
		source = packet->backend ? 0 : choose_source(ctx, packet, route);
		tunnel = source && choice.is_dsr && has_settled(choice.backend) ? tunnel_source(ctx, packet, to, route) : 0;
		if (tunnel)
			source = tunnel | SOURCE_TUNNELLED;
		outcome = make_flow(packet, to, &choice, source, &found->index);
		if (outcome > FLOW_EXISTS)
			return outcome;
		found->is_reply = 0;
		if (outcome == FLOW_EXISTS) {
			/* The choice that the other CPU made holds. */
			is_known = find_flow(found, &packet->key);
			if (!is_known)
				return DROP_NO_FLOW;
		} else {
			count_connection(choice.backend);
			found->flow = flow_at(found->index);
			found->is_new = 1;
		}
	}
	if (!found->flow)
		return DROP_NO_FLOW;
	if (!found->is_reply && found->flow->life & LIFE_TUNNELLED) {
		if (!tunnel_key(to, found->flow, packet->ipv4))
			return DROP_NO_ROUTE;
		if (is_known && !is_still_flow(found, &packet->key))
			return DROP_TABLE_FULL;
		return recalled ? obstacle(packet, route) : find_tunnel_route(ctx, packet, to, route);
	}
	if (is_known) {
		if (found->is_reply)
			answer_key(to, found->flow, packet->key.protocol);
		else
			lead_to(to, packet, found->flow->backend, found->flow->backend_port);
		outcome = recalled ? obstacle(packet, route) : find_route(ctx, packet, to, 0, route);
		if (outcome)
			return outcome;
	}
	if (!found->is_reply) {
		__u32 index = source_of(found->flow->life);
		struct nat_source *source = bpf_map_lookup_elem(&nat_sources, &index);

		if (index && source)
			copy_address(to->source, source->address);
		to->source_port = found->flow->source_port;
	}
	return is_known && !is_still_flow(found, &packet->key) ? DROP_TABLE_FULL : 0;
}
