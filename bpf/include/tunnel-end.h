/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct server return, at the backend's node: what comes out of another node's tunnel. It is taken only
 * from an address of a node, and only if it leads to a backend on this node of the service that the
 * packet in it is for; all else is somebody else's tunnel. What is wrong with a packet in a tunnel is not
 * answered: the node that it came from does that.
 */
#pragma once

#include "front.h"

/* Whether the packet could be a tunnel's. */
INLINE int is_tunnel(const struct packet *packet, enum packet_kind kind)
{
	return kind == PACKET_PROTOCOL && packet->tuple.protocol == (packet->ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6);
}

/* Notes that a tunnel for a client to a backend is too narrow. */
NOINLINE long note_narrow_path(const void *client, const void *backend)
{
	__u32 tick = now_ticks();
	struct narrow_path path;

	copy_address(path.client, client);
	copy_address(path.backend, backend);
	return bpf_map_update_elem(&narrow_paths, &path, &tick, BPF_ANY);
}

/*
 * A router on the way of a tunnel that begins here says that a packet was too large: the client is the one
 * to listen. Makes the error the beginning of the client's packet, and returns how much fits into the
 * tunnel. If that is less than the client can be asked for, the client's next flows to that backend go without a
 * tunnel. Nobody can tell who has sent such an error, so it does no more than that: it ends no flow, says nothing of
 * other clients, and is believed only where it names an MTU that a link may have and that the packet was larger
 * than (RFC 5927, 7). Returns 0 if the error is about something else or not believed; `packet` is used up then.
 */
GLOBAL __u32 rebuild_inner_from_icmp(context *ctx, struct packet *packet)
{
	__u32 network, header, mtu = 0;
	struct address_key backend;
	struct tuple key;
	struct ct_result found = {};
	__u8 type[2]; /* and code */
	__u16 value;
	int kind;

	if (!packet || load_bytes(ctx, packet->transport, type, sizeof(type)) ||
	    load_bytes(ctx, packet->transport + 6, &value, sizeof(value)))
		return 0;
	if (packet->ipv4 ? type[0] != ICMP_DEST_UNREACH || type[1] != ICMP_FRAG_NEEDED : type[0] != ICMPV6_PKT_TOOBIG)
		return 0;
	mtu = bpf_htons(value);
	network = packet->transport + 8;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = read_packet(ctx, network, packet);
	header = packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	if (!is_tunnel(packet, kind) || packet->transport != packet->network + header)
		return 0;
	if (mtu < (packet->ipv4 ? MIN_ICMP_MTU_IPV4 : MIN_ICMP_MTU_IPV6) || packet->length <= mtu)
		return 0;
	copy_address(&backend, packet->tuple.destination);
	network = packet->transport;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = read_packet(ctx, network, packet);
	/* Before Linux 6.2 a map's key is taken from the stack, not from memory that a function is given. */
	key = packet->tuple;
	if ((kind != PACKET_L4 && kind != PACKET_TRUNCATED) || !ct_lookup(&found, &key) || found.is_reply ||
	    !(found.entry->state_word & CT_TUNNELLED) || !same_address(found.entry->backend, &backend))
		return 0;
	if (tunnel_pmtu_too_small(packet, mtu))
		note_narrow_path(packet->tuple.source, &backend);
	if (remove_room(ctx, network - ETH_HLEN))
		return 0;
	packet->transport -= network - ETH_HLEN;
	packet->network = ETH_HLEN;
	return mtu - header;
}

/* Search for a backend among those of a service. */
struct backend_search {
	struct tunnel_backend_key key;
	__u32 first_slot;
	__u32 found; /* id */
};

/* Whether a backend is what is searched for. */
INLINE int is_wanted_backend(const struct tunnel_backend_key *key, __u32 id)
{
	struct backend *backend = backend_by_id(id);

	return backend && backend->service == key->service && backend->state != BACKEND_GONE &&
	       same_address(backend->address, key->address);
}

static long probe_backend(__u32 number, struct backend_search *search)
{
	__u32 id = slot_backend(search->first_slot + number);

	if (!is_wanted_backend(&search->key, id))
		return 0;
	search->found = id;
	return 1;
}

/*
 * The backend with that address of the service that the packet is for; 0: there is none. `service_at` is
 * where the service is to be looked up.
 */
NOINLINE __u32 find_service_backend(const struct packet *packet, const void *service_at, const void *address)
{
	struct backend_search search = {};
	struct service *service;
	struct service_key key = {
		.port = packet->tuple.destination_port,
		.protocol = (__u8)packet->tuple.protocol,
		.scope = SCOPE_EXTERNAL,
	};
	__u32 *known;

	copy_address(key.address, service_at);
	service = bpf_map_lookup_elem(&services, &key);
	if (!service) {
		key.scope = SCOPE_INTERNAL;
		service = bpf_map_lookup_elem(&services, &key);
	}
	if (!service)
		return 0;
	search.key.service = service->id;
	copy_address(search.key.address, address);
	known = bpf_map_lookup_elem(&tunnel_backends, &search.key);
	if (known && is_wanted_backend(&search.key, *known))
		return *known;
	search.first_slot = service->first_slot;
	bpf_loop(service->slot_count, probe_backend, &search, 0);
	if (search.found)
		bpf_map_update_elem(&tunnel_backends, &search.key, &search.found, BPF_ANY);
	return search.found;
}

/*
 * The backend on this node that `address` is, for a packet with ports out of a tunnel to it; 0: none.
 * What is addressed to another node is for a NodePort: on this one, that is found under the unspecified
 * address.
 */
NOINLINE __u32 tunnel_backend(context *ctx, const struct packet *packet, const struct address_key *address)
{
	struct address_key at;
	struct ct_result found = {};
	/* Before Linux 6.2 a map's key is taken from the stack, not from memory that a function is given. */
	struct tuple key = packet->tuple;
	__u32 *role, id;

	if (ct_lookup(&found, &key) && !found.is_reply && same_address(found.entry->backend, address) &&
	    !ct_snat_index(found.entry->state_word)) {
		id = found.entry->backend_id;
		/* What begins anew may find that backend back by another id, and this id another's. */
		if (!may_start_flow(packet) || backend_of_generation(id, found.generation))
			return id;
	}
	copy_address(&at, packet->tuple.destination);
	role = bpf_map_lookup_elem(&addresses, &at);
	if (!role || !(*role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE))) {
		/* An address of the node's that it isn't known by; but not one of this node's pods. */
		if (!(role && *role & ADDRESS_PEER) && is_on_node(path_to(ctx, packet, &at)))
			return 0;
		if (packet->ipv4)
			map_ipv4(&at, 0);
		else
			__builtin_memset(&at, 0, sizeof(at));
	}
	id = find_service_backend(packet, &at, address);
	return id && is_on_node(path_to(ctx, packet, address)) ? id : 0;
}

/* Whether an ICMP error is about a packet of the backend with that address on this node. */
NOINLINE int icmp_concerns_backend(context *ctx, const struct packet *error, const struct address_key *address)
{
	struct packet inner = {};
	struct ct_result found = {};
	int kind = read_packet(ctx, error->transport + 8, &inner);

	if ((kind != PACKET_L4 && kind != PACKET_TRUNCATED) || error->fragment)
		return 0;
	reverse_tuple_in_place(&inner.tuple);
	return ct_lookup(&found, &inner.tuple) && !found.is_reply && !ct_snat_index(found.entry->state_word) &&
	       same_address(found.entry->backend, address);
}

/*
 * If the packet is a tunnel's whose end is here, makes it what was in the tunnel, and `packet` with it.
 * Returns the kind that it then is: PACKET_L4, with `backend` set, or PACKET_ICMP_ERROR. The packet is as it was
 * after PACKET_OTHER, not a tunnel of ours, and PACKET_FRAGMENT, of which that can't be told yet.
 */
GLOBAL int tunnel_decap(context *ctx, struct packet *packet)
{
	struct address_key address;
	__u32 header, *role, network, backend = 0;
	int kind;

	if (!packet || !is_external_interface(ifindex_of(ctx)))
		return PACKET_OTHER;
	header = packet->transport - packet->network;
	if (header != (packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) || packet->fragment)
		return PACKET_OTHER;
	copy_address(&address, packet->tuple.source);
	role = bpf_map_lookup_elem(&addresses, &address);
	if (!role || !(*role & ADDRESS_PEER))
		return PACKET_OTHER;
	copy_address(&address, packet->tuple.destination);
	network = packet->transport;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = read_packet(ctx, network, packet);
	if (kind == PACKET_FRAGMENT) {
		if (!fragment_lookup_ports(packet))
			return PACKET_FRAGMENT;
		kind = PACKET_L4;
	}
	if (kind == PACKET_L4) {
		backend = tunnel_backend(ctx, packet, &address);
		if (!backend)
			return PACKET_OTHER;
	} else if (kind != PACKET_ICMP_ERROR || !icmp_concerns_backend(ctx, packet, &address)) {
		return PACKET_OTHER;
	}
	if (remove_room(ctx, header))
		return PACKET_OTHER;
	packet->network -= header;
	packet->transport -= header;
	packet->backend = backend;
	return kind;
}
