/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct server return at the backend's node. A tunnel is accepted only from an address of another
 * node, and only if the packet in it is for a service that has the tunnel's remote address as a
 * backend on this node. Other tunnels are left alone. Invalid packets in a tunnel get no reply: the
 * node that they come from sends it.
 */
#pragma once

#include "ct/lookup.h"
#include "encap.h"
#include "lib/later_fragment.h"

/*
 * The smallest MTU of an ICMP error that is accepted: Linux' route.min_pmtu, and the minimum of
 * IPv6 (RFC 8201, 4).
 */
#define MIN_ICMP_MTU_IPV4 552
#define MIN_ICMP_MTU_IPV6 1280

/* Removes `bytes` bytes after the link header. */
INLINE long remove_room(context *ctx, __u32 bytes)
{
	return bpf_skb_adjust_room(ctx, -(__s32)bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Returns 1 if the packet may be a tunnel's. */
INLINE int is_tunnel(const struct packet *packet, enum packet_kind kind)
{
	return kind == PACKET_PROTOCOL &&
	       packet->tuple.protocol == (packet->ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6);
}

/* Returns 1 if the path leads to this node: to the node itself or to one of its pods. */
INLINE int is_on_node(enum path path)
{
	return path == PATH_LOCAL || path == PATH_POD;
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
 * Handles an ICMP error of a router on the path of a tunnel that begins here: a packet was too
 * large. The error must reach the client. This function turns it into the beginning of the client's
 * packet, and returns the MTU within the tunnel. If clients do not support that MTU, the client's
 * next connections to the backend are not tunnelled.
 *
 * Any host can forge such an error. Therefore it ends no connection, affects no other clients, and
 * is accepted only if links can have its MTU and the packet was larger (RFC 5927, 7). Returns 0 if
 * the error is about something else or not accepted; then `packet` is invalid.
 */
GLOBAL __u32 rebuild_inner_from_icmp(context *ctx, struct packet *packet)
{
	__u32 network, header, mtu = 0;
	struct address_key backend;
	struct ct_result ct = {};
	__u8 type[2]; /* with the code */
	__u16 value;
	int kind;

	if (!packet || load_bytes(ctx, packet->transport, type, sizeof(type)) ||
	    load_bytes(ctx, packet->transport + 6, &value, sizeof(value)))
		return 0;
	if (packet->ipv4 ? type[0] != ICMP_DEST_UNREACH || type[1] != ICMP_FRAG_NEEDED :
			   type[0] != ICMPV6_PKT_TOOBIG)
		return 0;
	mtu = bpf_htons(value);
	network = packet->transport + 8;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = parse_packet(ctx, network, packet);
	header = packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	if (!is_tunnel(packet, kind) || packet->transport != packet->network + header)
		return 0;
	if (mtu < (packet->ipv4 ? MIN_ICMP_MTU_IPV4 : MIN_ICMP_MTU_IPV6) || packet->length <= mtu)
		return 0;
	copy_address(&backend, packet->tuple.destination);
	network = packet->transport;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = parse_packet(ctx, network, packet);
	if ((kind != PACKET_L4 && kind != PACKET_TRUNCATED) || !ct_lookup(&ct, &packet->tuple) ||
	    ct.is_reply || !(ct.entry->state_word & CT_TUNNELLED) ||
	    !same_address(ct.entry->backend, &backend))
		return 0;
	if (tunnel_pmtu_too_small(packet, mtu))
		note_narrow_path(packet->tuple.source, &backend);
	if (remove_room(ctx, network - ETH_HLEN))
		return 0;
	packet->transport -= network - ETH_HLEN;
	packet->network = ETH_HLEN;
	return mtu - header;
}

/* This is the state of a search for a backend in the slot range of a service. */
struct backend_search {
	struct tunnel_backend_key key;
	__u32 first_slot;
	__u32 found; /* id */
};

/* Returns 1 if a backend is the one that is searched. */
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
 * Returns the backend with that address of the service that the packet is for; 0: there is none.
 * The service is looked up at the address `service_at`.
 */
NOINLINE __u32 find_service_backend(const struct packet *packet, const void *service_at,
				    const void *address)
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
 * Returns the backend on this node with that address, for a packet with ports out of a tunnel to
 * it; 0: there is none. A packet to an address of another node is for a NodePort, which this node
 * has at the unspecified address.
 */
NOINLINE __u32 tunnel_backend(context *ctx, const struct packet *packet,
			      const struct address_key *address)
{
	struct address_key at;
	struct ct_result ct = {};
	__u32 *role, id;

	if (ct_lookup(&ct, &packet->tuple) && !ct.is_reply &&
	    same_address(ct.entry->backend, address) && !ct_snat_index(ct.entry->state_word)) {
		id = ct.entry->backend_id;
		/*
		 * By a new connection the backend may have another id, and its former id may be
		 * another backend's.
		 */
		if (!may_start_flow(packet) || backend_state_of(id, ct.generation) != BACKEND_GONE)
			return id;
	}
	copy_address(&at, packet->tuple.destination);
	role = bpf_map_lookup_elem(&addresses, &at);
	if (!role || !(*role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE))) {
		/*
		 * The address may be the other node's without being known as such, but it cannot be
		 * of this node.
		 */
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

/*
 * Returns 1 if an ICMP error is about a packet of the backend with that address on this node. The
 * stack has no room for two packets, so `packet` is the quoted one meanwhile, and is parsed again
 * afterwards.
 */
NOINLINE int icmp_concerns_backend(context *ctx, struct packet *packet,
				   const struct address_key *address)
{
	__u32 network = packet->network, transport = packet->transport;
	struct ct_result ct = {};
	struct tuple tuple;
	int kind;

	if (packet->fragment)
		return 0;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = parse_packet(ctx, transport + 8, packet);
	reverse_tuple(&tuple, &packet->tuple);
	__builtin_memset(packet, 0, sizeof(*packet));
	parse_packet(ctx, network, packet);
	return (kind == PACKET_L4 || kind == PACKET_TRUNCATED) && ct_lookup(&ct, &tuple) &&
	       !ct.is_reply && !ct_snat_index(ct.entry->state_word) &&
	       same_address(ct.entry->backend, address);
}

/*
 * If the packet is a tunnel's that ends here, removes the outer header, from `packet`, too. Returns
 * the kind of the inner packet: PACKET_L4, with `backend` set, or PACKET_ICMP_ERROR. Otherwise the
 * packet is unchanged: PACKET_OTHER for other tunnels, and PACKET_FRAGMENT as long as the first
 * fragment is missing.
 */
GLOBAL int tunnel_decap(context *ctx, struct packet *packet)
{
	struct address_key address;
	__u32 header, *role, network, backend = 0;
	int kind;

	if (!packet || !is_external_interface(ifindex_of(ctx)))
		return PACKET_OTHER;
	header = packet->transport - packet->network;
	if (header != (packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) ||
	    packet->fragment)
		return PACKET_OTHER;
	copy_address(&address, packet->tuple.source);
	role = bpf_map_lookup_elem(&addresses, &address);
	if (!role || !(*role & ADDRESS_PEER))
		return PACKET_OTHER;
	copy_address(&address, packet->tuple.destination);
	network = packet->transport;
	__builtin_memset(packet, 0, sizeof(*packet));
	kind = parse_packet(ctx, network, packet);
	if (kind == PACKET_FRAGMENT) {
		if (!fragment_load_ports(packet))
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
