/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changing a packet's addresses and ports, checksums included. */
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
	return protocol == IPPROTO_TCP ? 16 : 6;
}

/* Writes the two addresses into an IP header of the same family. Returns 0 on success. */
INLINE long store_addresses(context *ctx, const struct packet *packet, const struct tuple *to)
{
	const __u32 *source = (const __u32 *)to->source, *destination = (const __u32 *)to->destination;

	if (packet->ipv4) {
		__u32 both[2] = { source[3], destination[3] };

		return store_bytes(ctx, packet->network + IPV4_ADDRESSES, both, sizeof(both));
	}
	return store_bytes(ctx, packet->network + IPV6_ADDRESSES, to->source, 32);
}

/* Brings the checksum up to date for other ports; it doesn't cover the addresses. */
INLINE int change_sctp_ports(context *ctx, const struct packet *packet, const struct tuple *to)
{
	__u32 before = packet->tuple.source_port | packet->tuple.destination_port << 16;
	__u32 after = to->source_port | to->destination_port << 16;
	__u32 at = packet->transport + SCTP_CHECKSUM, length = packet->length - (packet->transport - packet->network);
	__u32 checksum;

	if (before == after)
		return 0;
	/* How long the packet is, its first fragment doesn't tell. */
	if (packet->fragment || load_bytes(ctx, at, &checksum, sizeof(checksum)))
		return -1;
	if (is_checksum_partial(ctx, at))
		return 0;
	checksum ^= crc_of_change(before ^ after, length - 4);
	return store_bytes(ctx, at, &checksum, sizeof(checksum));
}

/* Length of an IP header without options, in words of 32 bits. */
#define IPV4_WORDS 5
#define IPV6_WORDS 10

/* What a translation and a hop change, in a row, so that it is written in one go. */
struct headers {
	__u16 unused; /* so that words lie as words */
	__u16 link[ETH_HLEN / 2];
	__u32 ip[IPV6_WORDS + 1]; /* and the ports */
};

/* Writes the first `words` of the IP header and what is behind it; and the link header, if it is new. */
INLINE long store_headers(context *ctx, const struct headers *headers, int has_link, __u32 words)
{
	if (has_link)
		return store_bytes(ctx, 0, headers->link, ETH_HLEN + 4 * words);
	return store_bytes(ctx, ETH_HLEN, headers->ip, 4 * words);
}

/*
 * Makes the packet one from and to what `to` says, and `packet` with it; if `route` is given and leads
 * out of the node, also one that has taken that hop. The difference of two 16-byte addresses is that of
 * the IPv4 addresses in them, so the checksums are one code. Returns 0 on success.
 */
GLOBAL int rewrite(context *ctx, struct packet *packet, const struct tuple *to, const struct route *route)
{
	__u32 addresses, ports = 0, is_routed, has_link, is_icmp, behind = 0;
	const __u32 *source, *destination;
	struct headers headers;

	if (!packet || !to)
		return -1;
	source = (const __u32 *)to->source;
	destination = (const __u32 *)to->destination;
	is_routed = route && route->result != BPF_FIB_LKUP_RET_NOT_FWDED;
	has_link = route && route->result == BPF_FIB_LKUP_RET_SUCCESS;
	is_icmp = packet->tuple.protocol == IPPROTO_ICMP || packet->tuple.protocol == IPPROTO_ICMPV6;
	addresses = csum_diff_words(packet->tuple.source, to->source, 8);

	if (is_icmp) {
		/* Only the checksum of IPv6's covers the addresses. */
		if (!packet->ipv4 && change_checksum(ctx, packet->transport + 2, addresses, 0, 0))
			return -1;
	} else if (packet->fragment != FRAGMENT_LATER) {
		/* The first fragment has the ports, and the checksum of all of them. */
		if (packet->tuple.source_port != to->source_port || packet->tuple.destination_port != to->destination_port)
			ports = csum_diff_words(&packet->tuple.source_port, &to->source_port, 1);
		if (packet->tuple.protocol == IPPROTO_SCTP) {
			if (change_sctp_ports(ctx, packet, to))
				return -1;
		} else if (change_checksum(ctx, packet->transport + checksum_offset(packet->tuple.protocol), addresses, ports,
					   packet->tuple.protocol == IPPROTO_UDP)) {
			return -1;
		}
		/* Ports lie behind the addresses, in tuple as in most packets. */
		behind = packet->transport == packet->network + 4 * (packet->ipv4 ? IPV4_WORDS : IPV6_WORDS);
		if (!behind && store_bytes(ctx, packet->transport, &to->source_port, 4))
			return -1;
	}
	if (has_link) {
		__builtin_memcpy(headers.link, route->fib.dmac, ETH_ALEN);
		__builtin_memcpy(headers.link + 3, route->fib.smac, ETH_ALEN);
		headers.link[6] = packet->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	}
	if (packet->ipv4) {
		__u32 sum;

		if (load_bytes(ctx, packet->network, headers.ip, 12))
			return -1;
		/* Time to live, protocol, checksum. */
		sum = (__u16)~(headers.ip[2] >> 16);
		if (is_routed) {
			headers.ip[2]--;
			sum += (__u16)~1;
		}
		headers.ip[2] = (headers.ip[2] & 0xffff) | (__u32)(__u16)~fold_checksum((__u64)sum + addresses) << 16;
		headers.ip[3] = source[3];
		headers.ip[4] = destination[3];
		headers.ip[5] = *(const __u32 *)&to->source_port;
		if (behind ? store_headers(ctx, &headers, has_link, IPV4_WORDS + 1) :
			     store_headers(ctx, &headers, has_link, IPV4_WORDS))
			return -1;
	} else {
		if (load_bytes(ctx, packet->network, headers.ip, 8))
			return -1;
		/* The hop limit is the last byte before the addresses. */
		if (is_routed)
			headers.ip[1] -= 1 << 24;
		__builtin_memcpy(headers.ip + 2, source, 32);
		headers.ip[10] = *(const __u32 *)&to->source_port;
		if (behind ? store_headers(ctx, &headers, has_link, IPV6_WORDS + 1) :
			     store_headers(ctx, &headers, has_link, IPV6_WORDS))
			return -1;
	}
	if (is_routed)
		packet->ttl--;
	packet->tuple = *to;
	return 0;
}

/*
 * Makes `inner`, the beginning of a packet that `packet`, an ICMP error, is about, one from and to what
 * `to` says, and brings the error's own checksum up to date.
 */
GLOBAL int rewrite_inner(context *ctx, const struct packet *packet, const struct packet *inner,
			 const struct tuple *to)
{
	__u32 addresses, ports, change, inner_at;
	__u16 checksum;

	if (!packet || !inner || !to)
		return -1;
	addresses = csum_diff_words(inner->tuple.source, to->source, 8);
	ports = csum_diff_words(&inner->tuple.source_port, &to->source_port, 1);

	/*
	 * What changes the error's own checksum: the ports, in IPv6 the inner addresses (in IPv4 their
	 * header's checksum makes up for them), and the inner TCP or UDP checksum, if the error has that
	 * much of the packet.
	 */
	change = ports;
	if (!inner->ipv4)
		change = fold_checksum(fold_checksum(change) + (__u64)fold_checksum(addresses));
	inner_at = inner->transport + checksum_offset(inner->tuple.protocol);
	if (inner->tuple.protocol != IPPROTO_SCTP && !load_bytes(ctx, inner_at, &checksum, 2) &&
	    (checksum || inner->tuple.protocol == IPPROTO_TCP)) {
		__u16 after = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(addresses) + fold_checksum(ports));

		/* UDP's zero stands for none. */
		if (!after && inner->tuple.protocol == IPPROTO_UDP)
			after = 0xffff;
		change = fold_checksum(fold_checksum(change) + (__u64)(__u16)~checksum + after);
		if (store_bytes(ctx, inner_at, &after, 2))
			return -1;
	}
	if (store_bytes(ctx, inner->transport, &to->source_port, 4))
		return -1;
	if (inner->ipv4) {
		if (load_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2))
			return -1;
		checksum = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(addresses));
		if (store_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2))
			return -1;
	}
	return store_addresses(ctx, inner, to) || change_checksum(ctx, packet->transport + 2, 0, change, 0) ? -1 : 0;
}
