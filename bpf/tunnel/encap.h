/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct server return at the node that a client's packet enters. The packet goes unchanged in an
 * IP-in-IP tunnel (RFC 2003, RFC 2473) to the node of its backend, which replies to the client
 * directly. The tunnel's remote address is the backend's, so that the network's route to the
 * backend is the route to its node. decap.h has the other end.
 */
#pragma once

#include "lib/rewrite.h"
#include "path.h"

/* The smallest MTU that all hosts support, so tunnels must, too (RFC 791, RFC 8200). */
#define MIN_MTU_IPV4 576
#define MIN_MTU_IPV6 1280

/* The duration for which a path is considered narrow: 10 minutes (RFC 1191, RFC 8201), in ticks. */
#define NARROW_PATH_TICKS 560

/* Returns 1 if a packet of the smallest MTU does not fit into a tunnel over a link of that MTU. */
INLINE int tunnel_pmtu_too_small(const struct packet *packet, __u32 mtu)
{
	return mtu < (packet->ipv4 ? MIN_MTU_IPV4 + sizeof(struct iphdr) :
				     MIN_MTU_IPV6 + sizeof(struct ipv6hdr));
}

/*
 * Returns 1 if the backend's node can be expected to know the backend. Before that, the node would
 * reject the tunnel as a stranger's, and the client would have to repeat its packets.
 */
INLINE int backend_is_established(__u32 backend)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &backend);

	return stats &&
	       (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT) - stats->since >= config.tunnel_age;
}

/*
 * Returns the index in nat_sources of the local address of a tunnel for a new connection; 0: the
 * connection must get an SNAT address instead. It must if the client is another node or behind one,
 * as a pod is: replies to it would not leave the backend's node through an external interface. It
 * must if the backend is the client, because it would reply to itself. And it must for fragments:
 * the next ones may be too large for the tunnel, and not all senders respond to ICMP.
 */
GLOBAL __u32 tunnel_snat_index(context *ctx, const struct packet *packet, const struct tuple *to,
			       const struct route *route)
{
	struct ct_table *table = get_ct_table();
	struct narrow_path path;
	struct address_key address;
	__u32 *seen;

	if (!table || !packet || !to || !route || packet->fragment)
		return 0;
	if (same_address(packet->tuple.source, to->destination))
		return 0;
	/* The node at the other end of that tunnel accepts packets of pods only. */
	if (is_tunnel_device(route->ifindex))
		return 0;
	if (route->result == BPF_FIB_LKUP_RET_SUCCESS && tunnel_pmtu_too_small(packet, route->mtu))
		return 0;
	copy_address(path.client, packet->tuple.source);
	copy_address(path.backend, to->destination);
	seen = bpf_map_lookup_elem(&narrow_paths, &path);
	if (seen && ((now_ticks() - *seen) & CT_SEEN_MASK) < NARROW_PATH_TICKS)
		return 0;
	copy_address(&address, packet->tuple.source);
	if (path_to(ctx, packet, &address) != PATH_EXTERNAL)
		return 0;
	return packet->ipv4 ? table->tunnel_ipv4 : table->tunnel_ipv6;
}

/*
 * Computes the outer tuple of a tunnelled connection. Returns 0 if the index of the local address
 * is invalid, which cannot happen: it was valid when the entry was created.
 */
INLINE int tunnel_tuple(struct tuple *to, const struct ct_entry *entry, int ipv4)
{
	__u32 index = ct_snat_index(entry->state_word);
	struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(to->source, source->address);
	copy_address(to->destination, entry->backend);
	to->source_port = 0;
	to->destination_port = 0;
	to->protocol = ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	return 1;
}

/* Looks up the route of a packet in a tunnel with the outer tuple `to`. */
INLINE enum verdict tunnel_route_lookup(context *ctx, const struct packet *packet,
					const struct tuple *to, struct route *route)
{
	enum verdict verdict;

	__builtin_memset(route, 0, sizeof(*route));
	route->overhead = tunnel_overhead(packet);
	verdict = route_lookup(ctx, packet, to, route);
	/* The backend was on another node when the connection began. */
	return verdict == V_OK && route->result == BPF_FIB_LKUP_RET_NOT_FWDED ?
		       V_DROP(DROP_NO_ROUTE) :
		       verdict;
}

/*
 * Decrements the packet's TTL and puts it into a tunnel with the outer tuple `to`. The outer header
 * has the packet's DSCP, and in IPv6 its flow label, so that the network distributes packets of
 * several connections. It does not use ECN (RFC 6040, compatibility mode). Returns 0 on success.
 */
GLOBAL int tunnel_encap(context *ctx, const struct packet *packet, const struct tuple *to,
			const struct route *route)
{
	const __u32 *source, *destination;
	struct headers headers;
	__u32 start, has_link;

	if (!packet || !to || !route)
		return -1;
	source = (const __u32 *)to->source;
	destination = (const __u32 *)to->destination;
	has_link = route->result == BPF_FIB_LKUP_RET_SUCCESS;
	if (load_bytes(ctx, packet->network, &start, sizeof(start)) || decrement_ttl(ctx, packet) ||
	    insert_room(ctx, packet->ipv4))
		return -1;
	if (has_link)
		fill_link_header(&headers, packet, route);
	if (packet->ipv4) {
		struct iphdr ip = {
			.version = 4,
			.ihl = IPV4_WORDS,
			.tos = start >> 8 & 0xfc,
			.tot_len = bpf_htons(packet->length + sizeof(ip)),
			.frag_off = bpf_htons(0x4000),
			.ttl = 64,
			.protocol = IPPROTO_IPIP,
			.saddr = source[3],
			.daddr = destination[3],
		};
		__u32 nothing[IPV4_WORDS] = {};

		ip.check = ~fold_checksum(csum_diff_words(nothing, &ip, IPV4_WORDS));
		__builtin_memcpy(headers.ip, &ip, sizeof(ip));
		return store_headers(ctx, &headers, has_link, IPV4_WORDS);
	}
	headers.ip[0] = start & bpf_htonl(0xffcfffff);
	headers.ip[1] = bpf_htonl(packet->length << 16 | IPPROTO_IPV6 << 8 | 64);
	__builtin_memcpy(headers.ip + 2, source, 32);
	return store_headers(ctx, &headers, has_link, IPV6_WORDS);
}
