/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions rewrite a packet's addresses and ports, with the checksums. */
#pragma once

#include "checksum.h"
#include "packet.h"
#include "route.h"
#include "sctp.h"

#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
#define IPV6_ADDRESSES 8

INLINE __u32 checksum_offset(__u32 protocol)
{
	return protocol == IPPROTO_TCP				      ? 16 :
	       protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? ICMP_CHECKSUM :
									6;
}

/*
 * Returns the identifier of an ICMP echo with that tuple; 0 for other messages, whose fourth byte
 * and those after it no translation changes.
 */
INLINE __be16 icmp_id(const struct tuple *tuple)
{
	return tuple->source_port | tuple->destination_port;
}

/* Writes the two addresses into an IP header of the same family. Returns 0 on success. */
INLINE long store_addresses(context *ctx, const struct packet *packet, const struct tuple *to)
{
	const __u32 *source = (const __u32 *)to->source,
		    *destination = (const __u32 *)to->destination;

	if (packet->ipv4) {
		__u32 both[2] = { source[3], destination[3] };

		return store_bytes(ctx, packet->network + IPV4_ADDRESSES, both, sizeof(both));
	}
	return store_bytes(ctx, packet->network + IPV6_ADDRESSES, to->source, 32);
}

/* The difference of an IPv6 header's sum after its hop limit, the lower byte of a word, is
 * decremented. */
#define HOP_LIMIT_DIFFERENCE ((__u32)(__u16)~bpf_htons(1))

/* Decrements the TTL in an IP header. Returns 0 on success. */
INLINE long decrement_ttl(context *ctx, const struct packet *packet)
{
	__u16 words[2]; /* IPv4: TTL and protocol, checksum; IPv6: next header and hop limit */

	if (!packet->ipv4) {
		if (load_bytes(ctx, packet->network + 6, words, 2))
			return -1;
		words[0] -= 1 << 8;
		update_packet_sum(ctx, HOP_LIMIT_DIFFERENCE);
		return store_bytes(ctx, packet->network + 6, words, 2);
	}
	if (load_bytes(ctx, packet->network + 8, words, 4))
		return -1;
	words[0]--;
	words[1] = ~fold_checksum((__u64)(__u16)~words[1] + (__u16)~1);
	return store_bytes(ctx, packet->network + 8, words, 4);
}

/* The length of an IP header without options, in words of 32 bits. */
#define IPV4_WORDS 5
#define IPV6_WORDS 10

/* A translation changes these adjacent headers, so they are written at once. */
struct headers {
	__u16 unused; /* padding: 4-byte alignment of `ip` */
	__u16 link[ETH_HLEN / 2];
	__u32 ip[IPV6_WORDS + 1]; /* with the ports after it */
};

/* Fills the link header of a packet that leaves by the route. */
INLINE void fill_link_header(struct headers *headers, const struct packet *packet,
			     const struct route *route)
{
	__builtin_memcpy(headers->link, route->dmac, ETH_ALEN);
	__builtin_memcpy(headers->link + 3, route->smac, ETH_ALEN);
	headers->link[6] = packet->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* Writes `words` words from the IP header on, and the link header if it is new. */
INLINE long store_headers(context *ctx, const struct headers *headers, int has_link, __u32 words)
{
	if (has_link)
		return store_bytes(ctx, 0, headers->link, ETH_HLEN + 4 * words);
	return store_bytes(ctx, ETH_HLEN, headers->ip, 4 * words);
}

/*
 * Rewrites the headers for rewrite(), but for SCTP's checksum. The difference of two 16-byte
 * addresses is the difference of the IPv4 addresses in them, so both families share the checksums.
 * Returns 0 on success.
 */
GLOBAL int rewrite_headers(context *ctx, struct packet *packet, const struct tuple *to,
			   const struct route *route)
{
	__u32 addresses, ports = 0, is_routed, has_link, has_adjacent_ports = 0;
	const __u32 *source, *destination;
	struct headers headers;

	if (!packet || !to)
		return -1;
	source = (const __u32 *)to->source;
	destination = (const __u32 *)to->destination;
	is_routed = route && route->result != BPF_FIB_LKUP_RET_NOT_FWDED;
	has_link = route && route->result == BPF_FIB_LKUP_RET_SUCCESS;
	addresses = csum_diff_words(packet->tuple.source, to->source, 8);

	/* The first fragment has the ports, and the checksum of all fragments. */
	if (packet->fragment != FRAGMENT_LATER && is_icmp(packet)) {
		__be16 before = icmp_id(&packet->tuple), after = icmp_id(to);

		/* Only the checksum of ICMPv6 covers the addresses. */
		if (change_checksum(ctx, packet->transport + ICMP_CHECKSUM,
				    packet->ipv4 ? 0 : addresses,
				    before == after ? 0 : (__u16)~before + after, 0))
			return -1;
		if (before != after &&
		    store_bytes(ctx, packet->transport + ICMP_ECHO_ID, &after, sizeof(after)))
			return -1;
	} else if (packet->fragment != FRAGMENT_LATER) {
		if (packet->tuple.source_port != to->source_port ||
		    packet->tuple.destination_port != to->destination_port)
			ports = csum_diff_words(&packet->tuple.source_port, &to->source_port, 1);
		if (packet->tuple.protocol != IPPROTO_SCTP &&
		    change_checksum(ctx,
				    packet->transport + checksum_offset(packet->tuple.protocol),
				    addresses, ports, packet->tuple.protocol == IPPROTO_UDP))
			return -1;
		/*
		 * The ports follow the addresses, in struct tuple as in packets without IP options.
		 */
		has_adjacent_ports = packet->transport ==
				     packet->network + 4 * (packet->ipv4 ? IPV4_WORDS : IPV6_WORDS);
		if (!has_adjacent_ports && store_bytes(ctx, packet->transport, &to->source_port, 4))
			return -1;
	}
	if (has_link)
		fill_link_header(&headers, packet, route);
	if (packet->ipv4) {
		__u32 sum;

		if (load_bytes(ctx, packet->network, headers.ip, 12))
			return -1;
		/* The third word has TTL, protocol and checksum. */
		sum = (__u16) ~(headers.ip[2] >> 16);
		if (is_routed) {
			headers.ip[2]--;
			sum += (__u16)~1;
		}
		headers.ip[2] = (headers.ip[2] & 0xffff) |
				(__u32)(__u16)~fold_checksum((__u64)sum + addresses) << 16;
		headers.ip[3] = source[3];
		headers.ip[4] = destination[3];
		headers.ip[5] = *(const __u32 *)&to->source_port;
		if (has_adjacent_ports ? store_headers(ctx, &headers, has_link, IPV4_WORDS + 1) :
					 store_headers(ctx, &headers, has_link, IPV4_WORDS))
			return -1;
	} else {
		if (load_bytes(ctx, packet->network, headers.ip, 8))
			return -1;
		/* The hop limit is the last byte before the addresses. */
		if (is_routed)
			headers.ip[1] -= 1 << 24;
		/* The header has no checksum of its own that changes by the opposite. */
		update_packet_sum(ctx, fold_checksum((__u64)addresses +
						     (is_routed ? HOP_LIMIT_DIFFERENCE : 0)));
		__builtin_memcpy(headers.ip + 2, source, 32);
		headers.ip[10] = *(const __u32 *)&to->source_port;
		if (has_adjacent_ports ? store_headers(ctx, &headers, has_link, IPV6_WORDS + 1) :
					 store_headers(ctx, &headers, has_link, IPV6_WORDS))
			return -1;
	}
	if (is_routed)
		packet->ttl--;
	packet->tuple = *to;
	return 0;
}

/*
 * Rewrites the packet to the tuple `to`, and `packet` with it. If `route` is given and the packet
 * leaves by it, also decrements its TTL. Returns 0 on success.
 */
INLINE int rewrite(context *ctx, struct packet *packet, const struct tuple *to,
		   const struct route *route)
{
	if (packet->tuple.protocol == IPPROTO_SCTP && packet->fragment != FRAGMENT_LATER &&
	    change_sctp_ports(ctx, packet, to))
		return -1;
	return rewrite_headers(ctx, packet, to, route);
}

/*
 * Rewrites `inner`, the packet that the ICMP error at offset `at` quotes, to the tuple `to`, and
 * updates the checksum of the error. Returns 0 on success.
 */
GLOBAL int rewrite_inner(context *ctx, __u32 at, const struct packet *inner, const struct tuple *to)
{
	__u32 addresses, ports, change, inner_at;
	__u16 checksum;
	__be16 id;

	if (!inner || !to)
		return -1;
	addresses = csum_diff_words(inner->tuple.source, to->source, 8);
	ports = csum_diff_words(&inner->tuple.source_port, &to->source_port, 1);
	id = icmp_id(to);

	/*
	 * The checksum of the error changes by the ports, by the inner addresses of IPv6 (those of
	 * IPv4 are compensated by the checksum of the inner header), and by the inner checksum of
	 * TCP, UDP or ICMP, if the error includes it. The checksum of ICMPv4 does not cover the
	 * addresses.
	 */
	change = ports;
	if (!inner->ipv4)
		change = fold_checksum(fold_checksum(change) + (__u64)fold_checksum(addresses));
	inner_at = inner->transport + checksum_offset(inner->tuple.protocol);
	if (inner->tuple.protocol != IPPROTO_SCTP && !load_bytes(ctx, inner_at, &checksum, 2) &&
	    (checksum || inner->tuple.protocol != IPPROTO_UDP)) {
		__u32 pseudo = inner->tuple.protocol == IPPROTO_ICMP ? 0 : addresses;
		__u16 after = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(pseudo) +
					     fold_checksum(ports));

		/* A UDP checksum of zero means that there is none. */
		if (!after && inner->tuple.protocol == IPPROTO_UDP)
			after = 0xffff;
		change = fold_checksum(fold_checksum(change) + (__u64)(__u16)~checksum + after);
		if (store_bytes(ctx, inner_at, &after, 2))
			return -1;
	}
	if (is_icmp(inner) ? store_bytes(ctx, inner->transport + ICMP_ECHO_ID, &id, sizeof(id)) :
			     store_bytes(ctx, inner->transport, &to->source_port, 4))
		return -1;
	if (inner->ipv4) {
		if (load_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2))
			return -1;
		checksum = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(addresses));
		if (store_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2))
			return -1;
	}
	return store_addresses(ctx, inner, to) || change_checksum(ctx, at + 2, 0, change, 0) ? -1 :
											       0;
}
