/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The node replies to packets that it does not forward: by TCP resets, ICMP errors and echo
 * replies.
 */
#pragma once

#include "maps.h"
#include "rewrite.h"

#define REPLIES_PER_SECOND 1000
#define REPLY_INTERVAL_NS (1000000000ULL / REPLIES_PER_SECOND)

/*
 * Returns 1 if another reply may be sent. The rate is limited, so that a flood does not cause
 * another one (RFC 1812, 4.3.2.8).
 */
INLINE int may_send_reply(void)
{
	__u32 zero = 0;
	struct answer_budget *budget = bpf_map_lookup_elem(&answer_budget, &zero);
	__u64 now = bpf_ktime_get_ns(), earned;

	if (!budget)
		return 0;
	earned = (now - budget->filled) / REPLY_INTERVAL_NS;
	if (earned) {
		budget->left = budget->left + earned > REPLIES_PER_SECOND ? REPLIES_PER_SECOND :
									    budget->left + earned;
		budget->filled = now;
	}
	if (!budget->left)
		return 0;
	budget->left--;
	return 1;
}

/* Sends the frame back to its sender: swaps the link addresses. */
INLINE int reflect(context *ctx)
{
	struct ethhdr from, to;

	if (load_bytes(ctx, 0, &from, sizeof(from)))
		return DROP;
	__builtin_memcpy(to.h_dest, from.h_source, ETH_ALEN);
	__builtin_memcpy(to.h_source, from.h_dest, ETH_ALEN);
	to.h_proto = from.h_proto;
	if (store_bytes(ctx, 0, &to, sizeof(to)))
		return DROP;
	return send_back(ctx);
}

/* Returns the unfolded sum of the pseudo header of a reply. */
INLINE __u64 pseudo_sum(const struct packet *packet, __u32 protocol, __u32 length)
{
	__u32 rest[2] = { bpf_htonl(length), bpf_htonl(protocol) };
	__u64 sum = bpf_csum_diff(0, 0, rest, sizeof(rest), 0);

	if (packet->ipv4) {
		const __u32 *source = (const __u32 *)packet->tuple.source;
		const __u32 *destination = (const __u32 *)packet->tuple.destination;
		__u32 both[2] = { source[3], destination[3] };

		return bpf_csum_diff(0, 0, both, sizeof(both), sum);
	}
	return bpf_csum_diff(0, 0, packet->tuple.source, 32, sum);
}

/* Writes the IP header of a reply to `packet`, for `length` bytes after it. */
INLINE long store_ip(context *ctx, const struct packet *packet, __u32 protocol, __u32 length)
{
	const __u32 *source = (const __u32 *)packet->tuple.source,
		    *destination = (const __u32 *)packet->tuple.destination;

	if (packet->ipv4) {
		struct iphdr ip = {
			.version = 4,
			.ihl = 5,
			.tot_len = bpf_htons(sizeof(ip) + length),
			.frag_off = bpf_htons(0x4000),
			.ttl = 64,
			.protocol = protocol,
			.saddr = destination[3],
			.daddr = source[3],
		};

		ip.check = ~fold_checksum(bpf_csum_diff(0, 0, &ip, sizeof(ip), 0));
		return store_bytes(ctx, packet->network, &ip, sizeof(ip));
	}
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = bpf_htons(length),
		.nexthdr = protocol,
		.hop_limit = 64,
	};

	copy_address(&ip.saddr, destination);
	copy_address(&ip.daddr, source);
	return store_bytes(ctx, packet->network, &ip, sizeof(ip));
}

/* Replies to a TCP segment with a reset (RFC 9293, 3.10.7.1). */
GLOBAL int reply_tcp_reset(context *ctx, const struct packet *packet)
{
	struct tcphdr tcp, reset = { .rst = 1, .doff = 5 };
	__u32 header;
	int partial;
	__u64 sum;

	if (!packet)
		return DROP;
	header = packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	if (packet->tcp_flags & TCP_RST || !may_send_reply())
		return DROP;
	/*
	 * With IP options, an interface that completes the checksum would write it to another
	 * offset.
	 */
	if (packet->transport != packet->network + header ||
	    load_bytes(ctx, packet->transport, &tcp, sizeof(tcp)))
		return DROP;
	reset.source = tcp.dest;
	reset.dest = tcp.source;
	if (tcp.ack) {
		reset.seq = tcp.ack_seq;
	} else {
		__u32 length =
			packet->length - header - packet->transport_length + tcp.syn + tcp.fin;

		reset.ack = 1;
		reset.ack_seq = bpf_htonl(bpf_htonl(tcp.seq) + length);
	}
	partial = is_checksum_partial(ctx, packet->transport + 16);
	sum = pseudo_sum(packet, IPPROTO_TCP, sizeof(reset));
	if (partial)
		reset.check = fold_checksum(sum);
	else
		reset.check = ~fold_checksum(bpf_csum_diff(0, 0, &reset, sizeof(reset), sum));
	if (set_length(ctx, packet->transport + sizeof(reset)) ||
	    store_ip(ctx, packet, IPPROTO_TCP, sizeof(reset)) ||
	    store_bytes(ctx, packet->transport, &reset, sizeof(reset)))
		return DROP;
	return reflect(ctx);
}

/* An ICMP error has a header, and the beginning of the packet that it reports. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 value;
	__u8 quoted[60];
};

/*
 * Writes an ICMP error with its quote of `length` bytes after the IP header, and ends the packet
 * there. `sum` is that of the pseudo header. Returns 0 on success.
 */
INLINE int store_icmp_error(context *ctx, const struct packet *packet, __u8 type, __u8 code,
			    __u32 value, __u32 length, __u64 sum)
{
	struct icmp_error error = { .type = type, .code = code, .value = bpf_htonl(value) };

	if (length > sizeof(error.quoted) || load_bytes(ctx, packet->network, error.quoted, length))
		return -1;
	/* The bytes after the quote are zero, and so do not change the sum. */
	error.checksum = ~fold_checksum(bpf_csum_diff(0, 0, &error, sizeof(error), sum));
	length += 8;
	return set_length(ctx, packet->transport + length) || length > sizeof(error) ||
	       store_bytes(ctx, packet->transport, &error, length);
}

/*
 * Replies with an ICMP error. It quotes the IP header and the first 20 bytes of TCP, or 8 of other
 * protocols, which identify the connection. (RFC 4443 asks for more, which no host needs.) `value`
 * is the MTU, if the error has one.
 */
GLOBAL int reply_icmp_error(context *ctx, const struct packet *packet, __u8 type, __u8 code,
			    __u32 value)
{
	__u32 header, length;

	if (!packet)
		return DROP;
	header = packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	length = header + (packet->tuple.protocol == IPPROTO_TCP ? 20 : 8);
	if (packet->transport != packet->network + header || !may_send_reply())
		return DROP;
	if (store_icmp_error(ctx, packet, type, code, value, length,
			     packet->ipv4 ? 0 : pseudo_sum(packet, IPPROTO_ICMPV6, length + 8)) ||
	    store_ip(ctx, packet, packet->ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, length + 8))
		return DROP;
	return reflect(ctx);
}

/* Rejects the packet: a TCP reset, or an ICMP error "port unreachable". */
INLINE int reply_unreachable(context *ctx, const struct packet *packet)
{
	if (packet->tuple.protocol == IPPROTO_TCP)
		return reply_tcp_reset(ctx, packet);
	return packet->ipv4 ?
		       reply_icmp_error(ctx, packet, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0) :
		       reply_icmp_error(ctx, packet, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
}

/*
 * Replies to an echo request for an address that no host but only services have (RFC 1122,
 * 3.2.2.6).
 */
NOINLINE int reply_icmp_echo(context *ctx, struct packet *packet)
{
	__be16 type, answer;
	struct tuple back;

	if (!may_send_reply() || load_bytes(ctx, packet->transport, &type, sizeof(type)))
		return DROP;
	/* The second byte is the code, which does not change. */
	answer = (type & 0xff00) | (packet->ipv4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY);
	reverse_tuple(&back, &packet->tuple);
	/* Swapping the addresses does not change the checksum. */
	if (change_checksum(ctx, packet->transport + 2, 0, (__u16)~type + answer, 0) ||
	    store_bytes(ctx, packet->transport, &answer, sizeof(answer)) ||
	    store_addresses(ctx, packet, &back))
		return DROP;
	return reflect(ctx);
}
