/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading a packet's headers: both families end in the same struct. tc.h or xdp.h comes before it. */
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "address.h"

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_AH 51
#define IPPROTO_DSTOPTS 60

/* Types and codes of RFC 792 and RFC 4443; <linux/icmp.h> drags the C library in. */
#define ICMP_DEST_UNREACH 3
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PORT_UNREACH 4
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

/* Types of chunks (RFC 9260, 3.2): that which an association begins with, and those that need no association. */
#define SCTP_INIT 1
#define SCTP_INIT_ACK 2
#define SCTP_ABORT 6
#define SCTP_ERROR 9
#define SCTP_SHUTDOWN_COMPLETE 14

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define SCTP_NO_PROGRESS TCP_RST /* in place of TCP's flags: a chunk that does not show an association */

/* IPv6 extension headers that are followed; a packet has one or two, if any. */
#define EXTENSION_HEADERS 6

/* What a packet is, as far as its headers say. */
enum packet_kind {
	PACKET_OTHER,	  /* not IP, or nothing that a service could have to do with */
	PACKET_L4,	  /* TCP, UDP or SCTP: has ports */
	PACKET_TRUNCATED,	  /* ... but ends before the header does, as in an ICMP error */
	PACKET_ICMP_ERROR,
	PACKET_ICMP_ECHO, /* a request */
	PACKET_FRAGMENT,  /* but not the first, so without ports */
	PACKET_PROTOCOL,  /* IP, but of another protocol */
	PACKET_INVALID,
	PACKET_EXTENSIONS, /* more IPv6 extension headers than are followed */
};

enum fragment {
	FRAGMENT_NONE,	/* a packet that is whole */
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

struct packet {
	struct tuple tuple;
	__u32 network;	 /* offset of the IP header */
	__u32 transport; /* offset of the header after it */
	__u32 backend;	 /* id, of what came in a tunnel to that backend; else 0 */
	__u32 length;	 /* of the IP packet, in bytes, as its header says */
	__u8 ipv4 : 1;
	__u8 fragment : 2; /* enum fragment */
	__u8 ttl;
	__u8 tcp_flags; /* of SCTP: TCP_SYN for an INIT, or SCTP_NO_PROGRESS */
	__u8 transport_length; /* of the TCP header, in bytes; 8 for others */
	__u32 fragment_id;
};

/* Returns the flags of TCP that stand for the first chunk of an SCTP packet. */
INLINE __u8 sctp_flags(__u8 chunk)
{
	if (chunk == SCTP_INIT)
		return TCP_SYN;
	return chunk == SCTP_INIT_ACK || chunk == SCTP_ABORT || chunk == SCTP_ERROR || chunk == SCTP_SHUTDOWN_COMPLETE ?
		       SCTP_NO_PROGRESS :
		       0;
}

INLINE enum packet_kind read_transport(context *ctx, struct packet *packet)
{
	__u32 at = packet->transport;

	switch (packet->tuple.protocol) {
	case IPPROTO_TCP: {
		__u8 bytes[2];

		if (load_bytes(ctx, at, &packet->tuple.source_port, 4))
			return PACKET_INVALID;
		if (load_bytes(ctx, at + 12, bytes, sizeof(bytes)))
			return PACKET_TRUNCATED;
		packet->transport_length = bytes[0] >> 4 << 2;
		packet->tcp_flags = bytes[1];
		return PACKET_L4;
	}
	case IPPROTO_SCTP: {
		__u8 chunk;

		if (load_bytes(ctx, at, &packet->tuple.source_port, 4))
			return PACKET_INVALID;
		if (load_bytes(ctx, at + 12, &chunk, sizeof(chunk)))
			return PACKET_TRUNCATED;
		packet->tcp_flags = sctp_flags(chunk);
		return PACKET_L4;
	}
	case IPPROTO_UDP:
		return load_bytes(ctx, at, &packet->tuple.source_port, 4) ? PACKET_INVALID : PACKET_L4;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		__u8 type;

		if ((packet->tuple.protocol == IPPROTO_ICMP) != packet->ipv4)
			return PACKET_PROTOCOL;
		if (load_bytes(ctx, at, &type, sizeof(type)))
			return PACKET_INVALID;
		if (packet->ipv4) {
			if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB)
				return PACKET_ICMP_ERROR;
			return type == ICMP_ECHO ? PACKET_ICMP_ECHO : PACKET_PROTOCOL;
		}
		if (type < ICMPV6_ECHO_REQUEST)
			return PACKET_ICMP_ERROR;
		return type == ICMPV6_ECHO_REQUEST ? PACKET_ICMP_ECHO : PACKET_PROTOCOL;
	}
	default:
		return PACKET_PROTOCOL;
	}
}

INLINE void note_fragment(struct packet *packet, __u32 id, int starts_connection)
{
	packet->fragment_id = id;
	packet->fragment = starts_connection ? FRAGMENT_FIRST : FRAGMENT_LATER;
}

INLINE enum packet_kind read_ipv4(context *ctx, struct packet *packet)
{
	struct iphdr ip;

	if (load_bytes(ctx, packet->network, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return PACKET_INVALID;
	map_ipv4(packet->tuple.source, ip.saddr);
	map_ipv4(packet->tuple.destination, ip.daddr);
	packet->tuple.protocol = ip.protocol;
	packet->ipv4 = 1;
	packet->ttl = ip.ttl;
	packet->length = bpf_htons(ip.tot_len);
	packet->transport = packet->network + ip.ihl * 4;
	if (ip.frag_off & bpf_htons(0x3fff))
		note_fragment(packet, ip.id, !(ip.frag_off & bpf_htons(0x1fff)));
	if (packet->fragment == FRAGMENT_LATER)
		return PACKET_FRAGMENT;
	return read_transport(ctx, packet);
}

INLINE enum packet_kind read_ipv6(context *ctx, struct packet *packet)
{
	struct ipv6hdr ip;
	__u32 at = packet->network + sizeof(ip);
	__u8 next;

	if (load_bytes(ctx, packet->network, &ip, sizeof(ip)) || ip.version != 6)
		return PACKET_INVALID;
	copy_address(packet->tuple.source, &ip.saddr);
	copy_address(packet->tuple.destination, &ip.daddr);
	packet->ipv4 = 0;
	packet->ttl = ip.hop_limit;
	packet->length = bpf_htons(ip.payload_len) + sizeof(ip);
	next = ip.nexthdr;
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		__u8 header[2]; /* next header, length */

		if (next == IPPROTO_FRAGMENT) {
			struct {
				__u8 next, reserved;
				__be16 offset; /* and, in the lowest bit, whether more come */
				__be32 id;
			} fragment;

			if (load_bytes(ctx, at, &fragment, sizeof(fragment)))
				return PACKET_INVALID;
			next = fragment.next;
			at += sizeof(fragment);
			/* A whole packet may have the header, too (RFC 6946). */
			if (fragment.offset & bpf_htons(0xfff9))
				note_fragment(packet, fragment.id, !(fragment.offset & bpf_htons(0xfff8)));
			if (packet->fragment == FRAGMENT_LATER) {
				packet->tuple.protocol = next;
				packet->transport = at;
				return PACKET_FRAGMENT;
			}
			continue;
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_AH) {
			packet->tuple.protocol = next;
			packet->transport = at;
			return read_transport(ctx, packet);
		}
		if (load_bytes(ctx, at, header, sizeof(header)))
			return PACKET_INVALID;
		at += next == IPPROTO_AH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
		next = header[0];
	}
	return PACKET_EXTENSIONS;
}

/* Reads the headers from `network` on; `packet` is all zero before. Returns its enum packet_kind. */
GLOBAL int read_packet(context *ctx, __u32 network, struct packet *packet)
{
	if (!packet)
		return PACKET_INVALID;
	packet->network = network;
	packet->transport_length = 8;
	switch (frame_ethertype(ctx)) {
	case bpf_htons(ETH_P_IP):
		return read_ipv4(ctx, packet);
	case bpf_htons(ETH_P_IPV6):
		return read_ipv6(ctx, packet);
	default:
		return PACKET_OTHER;
	}
}

/* Makes a key that of packets in the other direction. */
INLINE void reverse_tuple_in_place(struct tuple *key)
{
	__u32 *source = (__u32 *)key->source, *destination = (__u32 *)key->destination;
	__be16 port = key->source_port;

	for (int i = 0; i < 4; i++) {
		__u32 word = source[i];

		source[i] = destination[i];
		destination[i] = word;
	}
	key->source_port = key->destination_port;
	key->destination_port = port;
}

/* The key of packets in the other direction. */
INLINE void reverse_tuple(struct tuple *to, const struct tuple *from)
{
	copy_address(to->source, from->destination);
	copy_address(to->destination, from->source);
	to->source_port = from->destination_port;
	to->destination_port = from->source_port;
	to->protocol = from->protocol;
}
