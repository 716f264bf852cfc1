/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions validate a packet's source address. The kernel validates all packets that it
 * forwards (ip_route_input_slow, fib_validate_source, ip6_rcv_core and ip6_forward), but a packet
 * that is translated here bypasses that. It is validated once for each connection, before the
 * conntrack entry is created, and before a reply is sent: later packets of the connection have the
 * same source.
 */
#pragma once

#include "checksum.h"
#include "tunnel/path.h"
#include "verdict.h"

/*
 * Returns 1 if no packet on a link may have that source (RFC 6890). For IPv4 these are 0.0.0.0/8,
 * loopback, multicast and 255.255.255.255. For IPv6 they are the unspecified address, loopback,
 * multicast, link-local addresses, which routers do not forward (RFC 4291, 2.5.6), and IPv4-mapped
 * addresses, which would be confused with IPv4 here.
 */
INLINE int is_martian(const struct packet *packet)
{
	const __u32 *source = (const __u32 *)packet->tuple.source;
	__u32 last = bpf_htonl(source[3]), first = packet->ipv4 ? last : bpf_htonl(source[0]);

	if (packet->ipv4)
		return first >> 24 == 0 || first >> 24 == 127 || first >> 28 == 14 || first == ~0u;
	if (first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6)
		return 1;
	if (is_mapped(source) || is_mapped(packet->tuple.destination))
		return 1;
	return !source[0] && !source[1] && !source[2] && last <= 1;
}

/*
 * Drops packets whose source address is spoofed. An external packet cannot come from an address of
 * the node or of its pods, nor from a broadcast address; the kernel's route to the source shows it.
 * That route need not use the interface that the packet arrived on, because paths may be
 * asymmetric: this is the loose mode of RFC 3704 (2.4) among the external interfaces. A tunnelled
 * packet may come from a pod of this node that sent it to another node; its replies leave by the
 * pod's interface and are translated there.
 */
GLOBAL enum verdict check_source(context *ctx, const struct packet *packet)
{
	struct bpf_fib_lookup fib = {};
	__u32 device = ifindex_of(ctx);
	enum path path;

	if (!packet || is_martian(packet))
		return V_DROP(DROP_INVALID_SOURCE);
	fib.ifindex = device;
	path = path_lookup(ctx, packet, packet->tuple.source, &fib);
	if (path == PATH_POD && is_external_interface(device) &&
	    !(packet->backend && is_pod_interface(fib.ifindex)))
		path = PATH_LOCAL;
	return path == PATH_LOCAL ? V_DROP(DROP_INVALID_SOURCE) : V_OK;
}

/* The longest IPv4 header has 15 words of 32 bits (RFC 791, 3.1). */
#define IPV4_HEADER_MAX 60

/*
 * Drops packets with a wrong checksum of the IPv4 header, as routers and hosts do (RFC 1812, 5.2.2;
 * RFC 1122, 3.2.1.2). No interface and no driver postpones this checksum.
 */
GLOBAL enum verdict check_ip_checksum(context *ctx, const struct packet *packet)
{
	__u32 words[IPV4_HEADER_MAX / 4] = {}, length;

	if (!packet)
		return V_DROP(DROP_INVALID);
	if (!packet->ipv4)
		return V_OK;
	length = packet->transport - packet->network;
	/*
	 * The barrier keeps two comparisons apart: Linux 6.1 has to see that the length is not 0.
	 */
	if (length < sizeof(struct iphdr))
		return V_DROP(DROP_INVALID);
	barrier_var(length);
	if (length > IPV4_HEADER_MAX || load_bytes(ctx, packet->network, words, length))
		return V_DROP(DROP_INVALID);
	return fold_checksum(bpf_csum_diff(0, 0, words, sizeof(words), 0)) == 0xffff ?
		       V_OK :
		       V_DROP(DROP_INVALID);
}

/* Validates a packet before the programs create a conntrack entry for it or reply to it. */
INLINE enum verdict check_new_packet(context *ctx, const struct packet *packet)
{
	return check_source(ctx, packet) ?: check_ip_checksum(ctx, packet);
}
