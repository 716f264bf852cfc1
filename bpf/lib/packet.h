/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions parse a packet's headers. Both families have the same result. ctx/tc.h or
 * ctx/xdp.h is included first.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "abi/ct.h"
#include "address.h"
#include "mapped.h"

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

/*
 * Types and codes of RFC 792 and RFC 4443. <linux/icmp.h> would include headers of the C library.
 */
#define ICMP_CHECKSUM 2 /* the offset of the checksum */
#define ICMP_ECHO_ID 4	/* the offset of the identifier */
#define ICMP_DEST_UNREACH 3
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMP_PROHIBITED 13 /* communication administratively prohibited */
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PORT_UNREACH 4
#define ICMPV6_PROHIBITED 1
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

/*
 * Types of chunks (RFC 9260, 3.2): the one that an association begins with, and those that need no
 * association.
 */
#define SCTP_INIT 1
#define SCTP_INIT_ACK 2
#define SCTP_ABORT 6
#define SCTP_ERROR 9
#define SCTP_SHUTDOWN_COMPLETE 14

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
/* It stands in tcp_flags for a chunk that does not prove an association. */
#define SCTP_NO_PROGRESS TCP_RST
/* It stands in tcp_flags for an echo reply. */
#define ICMP_IS_REPLY TCP_ACK

/* The number of IPv6 extension headers that are followed; packets have one or two, if any. */
#define EXTENSION_HEADERS 6

/* This is the kind of a packet as far as its headers show it. */
enum packet_kind {
	PACKET_OTHER,	  /* no IP */
	PACKET_L4,	  /* TCP, UDP or SCTP, with ports */
	PACKET_TRUNCATED, /* the same, but cut after the ports, as in an ICMP error */
	PACKET_ICMP_ERROR,
	PACKET_ICMP_ECHO, /* an echo request */
	PACKET_ICMP_ECHO_REPLY,
	PACKET_FRAGMENT, /* a fragment other than the first, so without ports */
	PACKET_PROTOCOL, /* IP with another protocol */
	PACKET_INVALID,
	PACKET_EXTENSIONS, /* more IPv6 extension headers than are followed */
};

enum fragment {
	FRAGMENT_NONE, /* The packet is not fragmented. */
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

struct packet {
	struct tuple tuple;
	__u32 network;	 /* offset of the IP header */
	__u32 transport; /* offset of the header after it */
	__u32 backend; /* id of the backend that another node has tunnelled the packet to; else 0 */
	__u32 length;  /* of the IP packet, in bytes, as its header says */
	__u8 ipv4 : 1;
	__u8 fragment : 2; /* enum fragment */
	/* The packet is of a masqueraded connection, of which the stack sees no direction. */
	__u8 past_stack : 1;
	/* Network policies select the pod that sends the packet or the one that gets it. */
	__u8 policed : 1;
	/* They allow it, or no such pod is concerned. */
	__u8 judged : 1;
	/* It goes on as it is, and no other program of a pod interface will see it. */
	__u8 is_last_seen : 1;
	__u8 ttl;
	__u8 tcp_flags;	       /* SCTP: TCP_SYN for an INIT, SCTP_NO_PROGRESS; ICMP_IS_REPLY */
	__u8 transport_length; /* of the TCP header, in bytes; 8 for other protocols */
	__u32 fragment_id;
};

/* Returns 1 if the address is an IPv4 address. */
INLINE int is_mapped(const void *address)
{
	const __u32 *words = address;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

/* Returns the TCP flags that stand for the first chunk of an SCTP packet. */
INLINE __u8 sctp_flags(__u8 chunk)
{
	if (chunk == SCTP_INIT)
		return TCP_SYN;
	return chunk == SCTP_INIT_ACK || chunk == SCTP_ABORT || chunk == SCTP_ERROR ||
			       chunk == SCTP_SHUTDOWN_COMPLETE ?
		       SCTP_NO_PROGRESS :
		       0;
}

/* Parses an ICMP echo, which has an identifier and a sequence number after its checksum. */
INLINE enum packet_kind parse_icmp_echo(context *ctx, __u32 at, struct packet *packet, int is_reply)
{
	__be16 id;

	if (load_bytes(ctx, at + ICMP_ECHO_ID, &id, sizeof(id)))
		return PACKET_INVALID;
	if (is_reply) {
		packet->tuple.destination_port = id;
		packet->tcp_flags = ICMP_IS_REPLY;
		return PACKET_ICMP_ECHO_REPLY;
	}
	packet->tuple.source_port = id;
	return PACKET_ICMP_ECHO;
}

/* Parses the header at offset `at` after the IP header. */
INLINE enum packet_kind parse_transport(context *ctx, __u32 at, struct packet *packet)
{
	packet->transport = at;
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
		return load_bytes(ctx, at, &packet->tuple.source_port, 4) ? PACKET_INVALID :
									    PACKET_L4;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		__u8 type;

		if ((packet->tuple.protocol == IPPROTO_ICMP) != packet->ipv4)
			return PACKET_PROTOCOL;
		if (load_bytes(ctx, at, &type, sizeof(type)))
			return PACKET_INVALID;
		if (packet->ipv4) {
			if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
			    type == ICMP_PARAMETERPROB)
				return PACKET_ICMP_ERROR;
			if (type != ICMP_ECHO && type != ICMP_ECHO_REPLY)
				return PACKET_PROTOCOL;
			return parse_icmp_echo(ctx, at, packet, type == ICMP_ECHO_REPLY);
		}
		if (type < ICMPV6_ECHO_REQUEST)
			return PACKET_ICMP_ERROR;
		if (type != ICMPV6_ECHO_REQUEST && type != ICMPV6_ECHO_REPLY)
			return PACKET_PROTOCOL;
		return parse_icmp_echo(ctx, at, packet, type == ICMPV6_ECHO_REPLY);
	}
	default:
		return PACKET_PROTOCOL;
	}
}

INLINE void set_fragment(struct packet *packet, __u32 id, int is_first)
{
	packet->fragment_id = id;
	packet->fragment = is_first ? FRAGMENT_FIRST : FRAGMENT_LATER;
}

INLINE enum packet_kind parse_ipv4(context *ctx, __u32 at, struct packet *packet)
{
	struct iphdr ip;

	if (load_bytes(ctx, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return PACKET_INVALID;
	map_ipv4(packet->tuple.source, ip.saddr);
	map_ipv4(packet->tuple.destination, ip.daddr);
	packet->tuple.protocol = ip.protocol;
	packet->ipv4 = 1;
	packet->ttl = ip.ttl;
	packet->length = bpf_htons(ip.tot_len);
	at += ip.ihl * 4;
	if (ip.frag_off & bpf_htons(0x3fff)) {
		set_fragment(packet, ip.id, !(ip.frag_off & bpf_htons(0x1fff)));
		packet->transport = at;
		if (packet->fragment == FRAGMENT_LATER)
			return PACKET_FRAGMENT;
	}
	return parse_transport(ctx, at, packet);
}

INLINE enum packet_kind parse_ipv6(context *ctx, __u32 at, struct packet *packet)
{
	struct {
		__u8 version, flow_label[3];
		__be16 payload_length;
		__u8 next, hop_limit;
	} ip;
	__u8 next;

	/*
	 * The two addresses lie in the tuple as in the header. Without the alignment they are
	 * copied byte by byte.
	 */
	if (load_bytes(ctx, at, &ip, sizeof(ip)) || ip.version >> 4 != 6 ||
	    load_bytes(ctx, at + sizeof(ip), __builtin_assume_aligned(packet->tuple.source, 4), 32))
		return PACKET_INVALID;
	packet->ttl = ip.hop_limit;
	packet->length = bpf_htons(ip.payload_length) + sizeof(struct ipv6hdr);
	next = ip.next;
	at += sizeof(struct ipv6hdr);
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		__u8 header[2]; /* next header, length */

		if (next == IPPROTO_FRAGMENT) {
			struct {
				__u8 next, reserved;
				__be16 offset; /* lowest bit: more follow */
				__be32 id;
			} fragment;

			if (load_bytes(ctx, at, &fragment, sizeof(fragment)))
				return PACKET_INVALID;
			next = fragment.next;
			at += sizeof(fragment);
			/* A packet that is not fragmented may have the header, too (RFC 6946). */
			if (fragment.offset & bpf_htons(0xfff9))
				set_fragment(packet, fragment.id,
					     !(fragment.offset & bpf_htons(0xfff8)));
			if (packet->fragment == FRAGMENT_LATER) {
				packet->tuple.protocol = next;
				packet->transport = at;
				return PACKET_FRAGMENT;
			}
			continue;
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_AH) {
			packet->tuple.protocol = next;
			return parse_transport(ctx, at, packet);
		}
		if (load_bytes(ctx, at, header, sizeof(header)))
			return PACKET_INVALID;
		at += next == IPPROTO_AH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
		next = header[0];
	}
	return PACKET_EXTENSIONS;
}

/*
 * Parses the headers from offset `network` on. `packet` must be all zero. Returns its enum
 * packet_kind.
 */
GLOBAL int parse_packet(context *ctx, __u32 network, struct packet *packet)
{
	if (!packet)
		return PACKET_INVALID;
	packet->network = network;
	packet->transport_length = 8;
	switch (frame_ethertype(ctx)) {
	case bpf_htons(ETH_P_IP):
		return parse_ipv4(ctx, network, packet);
	case bpf_htons(ETH_P_IPV6):
		return parse_ipv6(ctx, network, packet);
	default:
		return PACKET_OTHER;
	}
}

/*
 * Returns 1 if a connection begins with the packet: a SYN, or an INIT of SCTP. UDP has no such
 * packets.
 */
INLINE int starts_connection(const struct packet *packet)
{
	return packet->tuple.protocol != IPPROTO_UDP &&
	       (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

INLINE int is_icmp(const struct packet *packet)
{
	return packet->tuple.protocol == (packet->ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/*
 * Returns 1 if a conntrack entry may be created for the packet, where translation depends on it: a
 * connection begins with it.
 */
INLINE int may_start_flow(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP || starts_connection(packet) ||
	       (is_icmp(packet) && !(packet->tcp_flags & ICMP_IS_REPLY));
}

/*
 * Returns 1 if the packet may be of a connection that is older than the policies of its pod, or
 * whose entry was lost: it is no answer that needs a request before it.
 */
INLINE int may_continue_flow(const struct packet *packet)
{
	if (packet->tuple.protocol == IPPROTO_TCP)
		return (packet->tcp_flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK;
	return packet->tuple.protocol == IPPROTO_SCTP && !packet->tcp_flags;
}

/* Computes the tuple of packets in the other direction. */
INLINE void reverse_tuple(struct tuple *to, const struct tuple *from)
{
	copy_address(to->source, from->destination);
	copy_address(to->destination, from->source);
	to->source_port = from->destination_port;
	to->destination_port = from->source_port;
	to->protocol = from->protocol;
}
