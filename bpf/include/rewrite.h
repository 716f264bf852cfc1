/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changing a packet's addresses and ports in a tc program, checksums included. */
#pragma once

#include "packet.h"
#include "sctp.h"

#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
#define IPV6_ADDRESSES 8
#define IPV4_HEADER 20 /* without options */
#define IPV6_HEADER 40

INLINE __u32 checksum_offset(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	default:
		return 2; /* both ICMPs */
	}
}

INLINE __u16 fold_checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* What bpf_csum_diff gives, for an even number of words: a sum of 16-bit words to add to ~checksum. */
INLINE __u32 difference(const void *from, const void *to, __u32 words)
{
	const __u32 *before = from, *after = to;
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += (__u64)(__u32)~before[i] + after[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum + (__u32)(sum >> 32);
}

/* Writes the two addresses into an IP header of the same family. Returns 0 on success. */
INLINE long store_addresses(struct __sk_buff *ctx, const struct packet *packet, const struct flow_key *to)
{
	const __u32 *source = (const __u32 *)to->source, *destination = (const __u32 *)to->destination;

	if (packet->ipv4) {
		__u32 both[2] = { source[3], destination[3] };

		return bpf_skb_store_bytes(ctx, packet->network + IPV4_ADDRESSES, both, sizeof(both), 0);
	}
	return bpf_skb_store_bytes(ctx, packet->network + IPV6_ADDRESSES, to->source, 32, 0);
}

/*
 * Whether the checksum is left to the device (CHECKSUM_PARTIAL): then the field holds the pseudo
 * header's sum only, or nothing yet, and the helper leaves it alone when told of a change. Otherwise
 * the field is spoilt by the question.
 */
INLINE int is_checksum_partial(struct __sk_buff *ctx, __u32 at)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(ctx, at, &before, sizeof(before));
	bpf_l4_csum_replace(ctx, at, 0, 1, 4);
	bpf_skb_load_bytes(ctx, at, &after, sizeof(after));
	return before == after;
}

/* Brings the checksum up to date for other ports; it doesn't cover the addresses. */
INLINE int change_sctp_ports(struct __sk_buff *ctx, const struct packet *packet, const struct flow_key *to)
{
	__u32 before = packet->key.source_port | packet->key.destination_port << 16;
	__u32 after = to->source_port | to->destination_port << 16;
	__u32 at = packet->transport + SCTP_CHECKSUM, length = packet->length - (packet->transport - packet->network);
	__u32 checksum;

	if (before == after)
		return 0;
	/* How long the packet is, its first fragment doesn't tell. */
	if (packet->fragment || bpf_skb_load_bytes(ctx, at, &checksum, sizeof(checksum)))
		return -1;
	if (is_checksum_partial(ctx, at))
		return 0;
	checksum ^= crc_of_change(before ^ after, length - 4);
	return bpf_skb_store_bytes(ctx, at, &checksum, sizeof(checksum), 0);
}

/*
 * Makes the packet one from and to what `to` says, and `packet` with it. The difference of two
 * 16-byte addresses is that of the IPv4 addresses in them, so the checksums are one code.
 */
GLOBAL int rewrite(struct __sk_buff *ctx, struct packet *packet, const struct flow_key *to)
{
	__u32 addresses, ports, at, behind = 0;
	__u64 flags;

	if (!packet || !to)
		return -1;
	at = packet->transport + checksum_offset(packet->key.protocol);
	addresses = difference(packet->key.source, to->source, 8);
	ports = difference(&packet->key.source_port, &to->source_port, 1);
	/* UDP's checksum of zero stands for none. */
	flags = packet->key.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	/* The first fragment has the ports, and the checksum of all of them. */
	if (packet->fragment != FRAGMENT_LATER) {
		if (packet->key.protocol == IPPROTO_SCTP) {
			if (change_sctp_ports(ctx, packet, to))
				return -1;
		} else if (bpf_l4_csum_replace(ctx, at, 0, addresses, flags | BPF_F_PSEUDO_HDR) ||
			   bpf_l4_csum_replace(ctx, at, 0, ports, flags)) {
			return -1;
		}
		/* Ports lie behind the addresses, in flow_key as in most packets. */
		behind = packet->transport == packet->network + (packet->ipv4 ? IPV4_HEADER : IPV6_HEADER) ? 4 : 0;
		if (!behind && bpf_skb_store_bytes(ctx, packet->transport, &to->source_port, 4, 0))
			return -1;
	}
	if (packet->ipv4) {
		const __u32 *source = (const __u32 *)to->source, *destination = (const __u32 *)to->destination;
		/* The checksum and what is behind it, in one go. */
		__u16 header[7];

		if (load_bytes(ctx, packet->network + IPV4_CHECKSUM, header, 2))
			return -1;
		header[0] = ~fold_checksum((__u64)(__u16)~header[0] + addresses);
		header[1] = source[3];
		header[2] = source[3] >> 16;
		header[3] = destination[3];
		header[4] = destination[3] >> 16;
		header[5] = to->source_port;
		header[6] = to->destination_port;
		if (bpf_skb_store_bytes(ctx, packet->network + IPV4_CHECKSUM, header, 10 + behind, 0))
			return -1;
	} else if (bpf_skb_store_bytes(ctx, packet->network + IPV6_ADDRESSES, to->source, 32 + behind, 0)) {
		return -1;
	}
	packet->key = *to;
	return 0;
}

/*
 * An ICMP error about a packet that was translated: `inner`, which it carries, becomes one from and
 * to what `inner_to` says, the error itself one from and to what `outer_to` says.
 */
GLOBAL int rewrite_error(struct __sk_buff *ctx, struct packet *packet, const struct packet *inner,
			 const struct flow_key *inner_to, const struct flow_key *outer_to)
{
	__s64 addresses, inner_addresses, ports, change;
	__u32 at, inner_at;
	__u16 checksum;

	if (!packet || !inner || !inner_to || !outer_to)
		return -1;
	at = packet->transport + 2;
	addresses = bpf_csum_diff(packet->key.source, 32, outer_to->source, 32, 0);
	inner_addresses = bpf_csum_diff(inner->key.source, 32, inner_to->source, 32, 0);
	ports = bpf_csum_diff(&inner->key.source_port, 4, &inner_to->source_port, 4, 0);

	/*
	 * What changes the error's own checksum: the ports, in IPv6 the inner addresses (in IPv4 their
	 * header's checksum makes up for them), and the inner TCP or UDP checksum, if the error has that
	 * much of the packet.
	 */
	change = ports;
	if (!inner->ipv4)
		change = fold_checksum(fold_checksum(change) + (__u64)fold_checksum(inner_addresses));
	inner_at = inner->transport + checksum_offset(inner->key.protocol);
	if (inner->key.protocol != IPPROTO_SCTP && !bpf_skb_load_bytes(ctx, inner_at, &checksum, 2) &&
	    (checksum || inner->key.protocol == IPPROTO_TCP)) {
		__u16 after = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(inner_addresses) + fold_checksum(ports));

		/* UDP's zero stands for none. */
		if (!after && inner->key.protocol == IPPROTO_UDP)
			after = 0xffff;
		change = fold_checksum(fold_checksum(change) + (__u64)(__u16)~checksum + after);
		if (bpf_skb_store_bytes(ctx, inner_at, &after, 2, 0))
			return -1;
	}
	if (bpf_skb_store_bytes(ctx, inner->transport, &inner_to->source_port, 4, 0))
		return -1;
	if (inner->ipv4) {
		if (bpf_skb_load_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2))
			return -1;
		checksum = ~fold_checksum((__u64)(__u16)~checksum + fold_checksum(inner_addresses));
		if (bpf_skb_store_bytes(ctx, inner->network + IPV4_CHECKSUM, &checksum, 2, 0))
			return -1;
	}
	if (store_addresses(ctx, inner, inner_to) || bpf_l4_csum_replace(ctx, at, 0, change, 0))
		return -1;
	if (packet->ipv4) {
		if (bpf_l3_csum_replace(ctx, packet->network + IPV4_CHECKSUM, 0, addresses, 0))
			return -1;
	} else if (bpf_l4_csum_replace(ctx, at, 0, addresses, BPF_F_PSEUDO_HDR)) {
		return -1;
	}
	if (store_addresses(ctx, packet, outer_to))
		return -1;
	packet->key = *outer_to;
	return 0;
}
