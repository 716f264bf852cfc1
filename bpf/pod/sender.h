/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions drop what a pod may not send: packets with another source than the pod, tunnels
 * that nodes would believe, and what is not for one host. ctx/tc.h is included first.
 */
#pragma once

#include "device.h"
#include "lib/drop.h"
#include "lib/link_local.h"
#include "lib/packet.h"
#include "lib/verdict.h"
#include "pod/departure_rate.h"
#include "tunnel/path.h"

/* Types of ICMPv6 (RFC 2710, RFC 4861, RFC 3810) that a host may send on its link. */
#define ICMPV6_MLD_REPORT 131
#define ICMPV6_MLD_DONE 132
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_MLD2_REPORT 143
/* All types of neighbour discovery and of multicast listeners, also those of routers. */
#define ICMPV6_FIRST_OF_LINK 130
#define ICMPV6_LAST_OF_LINK 137

/* An ARP message of IPv4 on Ethernet (RFC 826), after its operation. */
struct arp_sender {
	__u16 mac[ETH_ALEN / 2];
	__u8 address[4];
};

#define ARP_SENDER 8

/* Returns 1 if two link addresses are the same. */
INLINE int same_mac(const __u16 *left, const void *right)
{
	const __u16 *other = right;

	return left[0] == other[0] && left[1] == other[1] && left[2] == other[2];
}

/* Returns 1 if the frame comes from the pod's own link address. */
INLINE int is_from_mac(context *ctx, const struct pod_device *device)
{
	__u16 source[ETH_ALEN / 2];

	return !load_bytes(ctx, ETH_ALEN, source, sizeof(source)) && same_mac(source, device->mac);
}

/* Returns 1 if the packet is for a host of its link. */
INLINE int is_to_link_local(const struct packet *packet)
{
	return !packet->ipv4 && is_link_local(packet->tuple.destination);
}

INLINE int is_unspecified(const void *address)
{
	const __u32 *words = address;

	return !words[0] && !words[1] && !words[2] && !words[3];
}

/* Returns 1 for multicast of both families, and for the broadcast address. */
INLINE int is_for_many(const struct packet *packet)
{
	const __u32 *destination = (const __u32 *)packet->tuple.destination;
	__u32 first = bpf_htonl(destination[packet->ipv4 ? 3 : 0]);

	return packet->ipv4 ? first >> 28 == 14 || first == ~0u : first >> 24 == 0xff;
}

/* Validates an ARP message: the sender is the pod, or asks whether an address is free. */
INLINE enum verdict check_arp(context *ctx, const struct pod_device *device)
{
	struct arp_sender sender;
	__u32 address;

	if (load_bytes(ctx, ETH_HLEN + ARP_SENDER, &sender, sizeof(sender)))
		return V_DROP(DROP_INVALID);
	__builtin_memcpy(&address, sender.address, sizeof(address));
	return same_mac(sender.mac, device->mac) &&
			       (!address || address == ((const __u32 *)device->ipv4)[3]) ?
		       V_PASS :
		       V_DROP(DROP_INVALID_SOURCE);
}

/*
 * Validates a message of neighbour discovery or of a multicast listener. It stays on the link, so
 * it may have a link-local source, and none while the pod checks its addresses. Messages of routers
 * are the node's alone.
 */
INLINE enum verdict check_link_message(context *ctx, const struct packet *packet, __u8 type,
				       const struct pod_device *device)
{
	__u32 target[4];

	if (type != ICMPV6_MLD_REPORT && type != ICMPV6_MLD_DONE && type != ICMPV6_MLD2_REPORT &&
	    type != ICMPV6_ROUTER_SOLICITATION && type != ICMPV6_NEIGHBOUR_SOLICITATION &&
	    type != ICMPV6_NEIGHBOUR_ADVERTISEMENT)
		return V_DROP(DROP_INVALID_SOURCE);
	if (!is_link_local(packet->tuple.source) && !is_unspecified(packet->tuple.source) &&
	    !same_address(packet->tuple.source, device->ipv6))
		return V_DROP(DROP_INVALID_SOURCE);
	if (type != ICMPV6_NEIGHBOUR_ADVERTISEMENT)
		return V_PASS;
	if (load_bytes(ctx, packet->transport + 8, target, sizeof(target)))
		return V_DROP(DROP_INVALID);
	return is_link_local(target) || same_address(target, device->ipv6) ?
		       V_PASS :
		       V_DROP(DROP_INVALID_SOURCE);
}

/*
 * Returns 1 if a node could take the packet for a tunnel of another node. Its source would be a
 * node's address where nodes masquerade what pods send.
 */
INLINE int is_forged_tunnel(const struct packet *packet)
{
	struct address_key to;
	__u32 *role;

	if (packet->tuple.protocol == IPPROTO_IPIP || packet->tuple.protocol == IPPROTO_IPV6)
		return 1;
	if (packet->tuple.protocol != IPPROTO_UDP ||
	    packet->tuple.destination_port != pod_config.tunnel_port)
		return 0;
	copy_address(&to, packet->tuple.destination);
	role = bpf_map_lookup_elem(&addresses, &to);
	return role && *role & (ADDRESS_NODE | ADDRESS_PEER | ADDRESS_OTHER_NODE);
}

/*
 * Validates and limits what a pod sends, of that kind (enum packet_kind). Returns V_OK for a packet
 * that can be forwarded, V_PASS for what hosts exchange on their link, or the reason for a drop.
 */
GLOBAL enum verdict check_sender(context *ctx, struct packet *packet, int kind)
{
	struct pod_device *device = find_pod_device(ifindex_of(ctx));
	__u8 type;

	if (!packet || !device || !is_from_mac(ctx, device))
		return V_DROP(DROP_INVALID_SOURCE);
	packet->policed = device->has_policy;
	if (kind == PACKET_OTHER)
		return frame_ethertype(ctx) == bpf_htons(ETH_P_ARP) ? check_arp(ctx, device) :
								      V_DROP(DROP_L3_PROTOCOL);
	if (kind == PACKET_INVALID || kind == PACKET_TRUNCATED)
		return V_DROP(DROP_INVALID);
	/* What is for another link is no message of this one, and may not pass as one. */
	if (!packet->ipv4 && packet->tuple.protocol == IPPROTO_ICMPV6 && kind == PACKET_PROTOCOL &&
	    (is_for_many(packet) || is_to_link_local(packet))) {
		if (load_bytes(ctx, packet->transport, &type, sizeof(type)))
			return V_DROP(DROP_INVALID);
		if ((type >= ICMPV6_FIRST_OF_LINK && type <= ICMPV6_LAST_OF_LINK) ||
		    type == ICMPV6_MLD2_REPORT)
			return check_link_message(ctx, packet, type, device);
	}
	/* A pod without IPv6 has the unspecified address here. */
	if (is_unspecified(packet->tuple.source) ||
	    !same_address(packet->tuple.source, packet->ipv4 ? device->ipv4 : device->ipv6))
		return V_DROP(DROP_INVALID_SOURCE);
	if (ctx->pkt_type != PACKET_HOST || is_for_many(packet))
		return V_DROP(DROP_MULTICAST);
	if (kind == PACKET_EXTENSIONS)
		return V_DROP(DROP_EXTENSION_HEADER);
	/* It would be confused with IPv4. */
	if (!packet->ipv4 && is_mapped(packet->tuple.destination))
		return V_DROP(DROP_INVALID);
	if (is_forged_tunnel(packet))
		return V_DROP(DROP_TUNNEL);
	return is_to_link_local(packet) ? V_OK : limit_egress(ctx, device->rates, packet);
}
