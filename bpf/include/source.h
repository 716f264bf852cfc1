/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions check whether a packet's source can be where it says. The kernel checks all that it forwards
 * (ip_route_input_slow, fib_validate_source, ip6_rcv_core and ip6_forward), but a packet that is translated
 * here never meets those checks. It is asked once for each flow, before the flow is made, and before an answer
 * is sent to such a source: packets of a known flow have the flow's source.
 */
#pragma once

#include "checksum.h"
#include "route.h"
#include "tunnel.h"

INLINE int is_mapped(const void *address)
{
	const __u32 *words = address;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

/*
 * True when no packet on a link may have that source (RFC 6890): of IPv4 0.0.0.0/8, loopback, multicast and
 * 255.255.255.255; of IPv6 the unspecified address, loopback, multicast, link-local addresses, which no router
 * forwards (RFC 4291, 2.5.6), and addresses that stand for IPv4 ones, which would be taken for those here.
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
 * Returns 0 if the packet's source is believed, else DROP_INVALID_SOURCE. An external packet is
 * not from the node's own addresses, nor from its pods', nor from a broadcast address: the kernel's route to the
 * source tells. That route need not lead out of the interface that the packet came in by, as paths may be
 * asymmetric: this is the loose mode of RFC 3704 (2.4) among the interfaces that lead out of the node. A pod of
 * this node may have asked another node, which tunnels the packet back; the replies then leave by the pod's
 * interface, and have to be translated there.
 */
GLOBAL int check_source(context *ctx, const struct packet *packet)
{
	struct bpf_fib_lookup fib = {};
	__u32 device = ifindex_of(ctx);
	enum path exit;

	if (!packet || is_martian(packet))
		return DROP_INVALID_SOURCE;
	fib.ifindex = device;
	exit = path_lookup(ctx, packet, packet->tuple.source, &fib);
	if (exit == PATH_POD && is_external_interface(device) && !(packet->backend && interface_has_role(fib.ifindex, INTERFACE_POD)))
		exit = PATH_LOCAL;
	return exit == PATH_LOCAL ? DROP_INVALID_SOURCE : 0;
}

/* The longest IPv4 header has 15 words of 32 bits (RFC 791, 3.1). */
#define IPV4_HEADER_MAX 60

/*
 * Returns 0 if the checksum of an IPv4 header is right, else DROP_INVALID. Routers and hosts drop such a packet
 * (RFC 1812, 5.2.2; RFC 1122, 3.2.1.2). No device and no driver leaves this checksum for later.
 */
GLOBAL int check_ip_checksum(context *ctx, const struct packet *packet)
{
	__u32 words[IPV4_HEADER_MAX / 4] = {}, length;

	if (!packet)
		return DROP_INVALID;
	if (!packet->ipv4)
		return 0;
	length = packet->transport - packet->network;
	/* Two comparisons that the compiler does not make one of: Linux 6.1 has to see that the length is not 0. */
	if (length < sizeof(struct iphdr))
		return DROP_INVALID;
	barrier_var(length);
	if (length > IPV4_HEADER_MAX || load_bytes(ctx, packet->network, words, length))
		return DROP_INVALID;
	return fold_checksum(bpf_csum_diff(0, 0, words, sizeof(words), 0)) == 0xffff ? 0 : DROP_INVALID;
}

/* Checks a packet before a flow is made of it, or an answer. Returns 0 or the reason for a drop. */
INLINE int check_new_packet(context *ctx, const struct packet *packet)
{
	return check_source(ctx, packet) ?: check_ip_checksum(ctx, packet);
}
