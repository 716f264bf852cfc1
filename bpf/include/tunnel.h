/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct server return, at the node that a client's packet enters: it goes as it is, in an IP-in-IP
 * tunnel (RFC 2003, RFC 2473), to the node of its backend, which answers the client itself. The tunnel
 * leads from the address that the other nodes know this one by to the backend's, so that the fabric's
 * route to the backend is the way to its node. tunnel-end.h has the other end.
 */
#pragma once

#include "nat.h"
#include "rewrite.h"

#define IPPROTO_IPIP 4
#define IPPROTO_IPV6 41

/* What every host takes in one piece, so that a tunnel has to (RFC 791, RFC 8200). */
#define MIN_MTU_IPV4 576
#define MIN_MTU_IPV6 1280

/* The least MTU that an ICMP error is believed: Linux' route.min_pmtu, and what each link of IPv6 has (RFC 8201, 4). */
#define MIN_ICMP_MTU_IPV4 552
#define MIN_ICMP_MTU_IPV6 1280

/* How long a path is taken to be as narrow as it once was: 10 minutes (RFC 1191, RFC 8201). */
#define NARROW_PATH_TICKS 560

/* Whether what every host takes doesn't fit into a tunnel that a link of that MTU is on. */
INLINE int tunnel_pmtu_too_small(const struct packet *packet, __u32 mtu)
{
	return mtu < (packet->ipv4 ? MIN_MTU_IPV4 + sizeof(struct iphdr) : MIN_MTU_IPV6 + sizeof(struct ipv6hdr));
}

/* What a tunnel takes of a packet. */
INLINE __u32 tunnel_overhead(const struct packet *packet)
{
	return packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Which way an address lies, seen from a device. */
enum path {
	PATH_LOCAL,   /* on this node itself: its own address, or a broadcast address */
	PATH_POD, /* behind an interface that does not lead out of the node, as pods are */
	PATH_PEER,   /* out of a front device, but another node is there or on the way; or nobody knows */
	PATH_EXTERNAL,  /* out of a front device */
};

/* True when an address is on this node, the node's own or that of a pod. */
INLINE int is_on_node(enum path exit)
{
	return exit == PATH_LOCAL || exit == PATH_POD;
}

/*
 * Which way an address of the packet's family lies; PATH_EXTERNAL also of other nodes. Of `fib` only the interface
 * is set before.
 */
INLINE enum path path_lookup(context *ctx, const struct packet *packet, const void *address, struct bpf_fib_lookup *fib)
{
	const __u32 *words = address;
	long result;

	if (packet->ipv4) {
		fib->family = AF_INET;
		fib->ipv4_dst = words[3];
	} else {
		fib->family = AF_INET6;
		copy_address(fib->ipv6_dst, words);
	}
	result = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if (result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return PATH_LOCAL;
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    result != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return PATH_PEER;
	return is_external_interface(fib->ifindex) ? PATH_EXTERNAL : PATH_POD;
}

/* Returns the exit by which an address of the packet's family is reached. */
GLOBAL int path_to(context *ctx, const struct packet *packet, const struct address_key *address)
{
	struct bpf_fib_lookup fib = { .ifindex = ifindex_of(ctx) };
	struct address_key next;
	enum path exit;
	__u32 *role;

	if (!packet || !address)
		return PATH_PEER;
	exit = path_lookup(ctx, packet, address, &fib);
	if (exit != PATH_EXTERNAL)
		return exit;
	if (packet->ipv4)
		map_ipv4(&next, fib.ipv4_dst);
	else
		copy_address(&next, fib.ipv6_dst);
	role = bpf_map_lookup_elem(&addresses, &next);
	return role && *role & ADDRESS_PEER ? PATH_PEER : PATH_EXTERNAL;
}

/*
 * Whether the backend's node can be expected to know of it. Until then it would take a tunnel to it for
 * somebody else's, and the client would have to say everything again.
 */
INLINE int backend_is_established(__u32 backend)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &backend);

	return stats && (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT) - stats->since >= config.tunnel_age;
}

/*
 * Where a tunnel for a flow that begins with this packet would begin, as an index in nat_sources; 0: the
 * backend that way must see an address of this node's instead. So it is for a client that is another
 * node or behind one, as a pod is: the replies to it would not leave the backend's node by a front
 * device. So it is for a backend that asks itself: it would answer itself, too. And for fragments: the next
 * ones may be too large for the tunnel, and not every sender listens.
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
	if (route->result == BPF_FIB_LKUP_RET_SUCCESS && tunnel_pmtu_too_small(packet, route->fib.mtu_result))
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

/* What a flow's tunnel is from and to. Returns 0 if the source's address is unknown, which can't be. */
INLINE int tunnel_tuple(struct tuple *key, const struct ct_entry *entry, int ipv4)
{
	__u32 index = ct_snat_index(entry->state_word);
	struct snat_address *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(key->source, source->address);
	copy_address(key->destination, entry->backend);
	key->source_port = 0;
	key->destination_port = 0;
	key->protocol = ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	return 1;
}

/* Looks up the way of a packet in a tunnel that `key` says. Returns 0, or why the packet can't go. */
INLINE int tunnel_route_lookup(context *ctx, const struct packet *packet, const struct tuple *key, struct route *route)
{
	int outcome;

	__builtin_memset(route, 0, sizeof(*route));
	route->overhead = tunnel_overhead(packet);
	outcome = route_lookup(ctx, packet, key, 0, route);
	/* The backend was elsewhere when the flow began. */
	return !outcome && route->result == BPF_FIB_LKUP_RET_NOT_FWDED ? DROP_NO_ROUTE : outcome;
}

/* Writes into an IP header that the packet has taken a hop. */
INLINE long decrement_ttl(context *ctx, const struct packet *packet)
{
	__u16 words[2]; /* IPv4: time to live and protocol, checksum; IPv6: next header and hop limit */

	if (!packet->ipv4) {
		if (load_bytes(ctx, packet->network + 6, words, 2))
			return -1;
		words[0] -= 1 << 8;
		return store_bytes(ctx, packet->network + 6, words, 2);
	}
	if (load_bytes(ctx, packet->network + 8, words, 4))
		return -1;
	words[0]--;
	words[1] = ~fold_checksum((__u64)(__u16)~words[1] + (__u16)~1);
	return store_bytes(ctx, packet->network + 8, words, 4);
}

/*
 * Puts the packet, one hop on, into a tunnel from and to what `key` says. The class of service is the
 * packet's own, but congestion is not told by the tunnel (RFC 6040, compatibility mode); in IPv6 also the
 * flow label, so that fabrics spread what goes there.
 */
GLOBAL int tunnel_encap(context *ctx, const struct packet *packet, const struct tuple *key, const struct route *route)
{
	const __u32 *source, *destination;
	struct headers headers;
	__u32 start, has_link;

	if (!packet || !key || !route)
		return -1;
	source = (const __u32 *)key->source;
	destination = (const __u32 *)key->destination;
	has_link = route->result == BPF_FIB_LKUP_RET_SUCCESS;
	if (load_bytes(ctx, packet->network, &start, sizeof(start)) || decrement_ttl(ctx, packet) ||
	    insert_room(ctx, packet->ipv4))
		return -1;
	if (has_link) {
		__builtin_memcpy(headers.link, route->fib.dmac, ETH_ALEN);
		__builtin_memcpy(headers.link + 3, route->fib.smac, ETH_ALEN);
		headers.link[6] = packet->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	}
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
