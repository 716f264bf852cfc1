// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * An XDP program on the node's own devices: node_ingress, one step earlier, for packets that only turn
 * round here: they came in by a device, and the other end of their flow is to be reached by the same one.
 * All others it passes on as they are, to node_ingress (node.bpf.c), which finds the flows made here.
 */
#include "xdp.h"

#include "drop.h"
#include "front.h"
#include "refusal.h"
#include "rewrite.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};

/* Whether the frame is for the device itself, not here by promiscuity, and no multicast. */
INLINE int is_for_device(context *ctx)
{
	__u32 ifindex = ifindex_of(ctx);
	struct xdp_device *device = bpf_map_lookup_elem(&xdp_devices, &ifindex);
	__u16 to[ETH_ALEN / 2], own[ETH_ALEN / 2];

	if (!device || load_bytes(ctx, 0, to, sizeof(to)))
		return 0;
	__builtin_memcpy(own, device->address, sizeof(own));
	return to[0] == own[0] && to[1] == own[1] && to[2] == own[2];
}

/*
 * Whether the checksum may be left to a device that the packet hasn't seen: a pair of virtual ones, or a
 * virtual machine's, hands over what its other end never finished, and XDP isn't told (a tc program's
 * helpers are). Then the field has the sum of the pseudo header only, or, of SCTP, zero. Of those that are
 * finished one in 65,536 looks the same by chance; it goes the longer way, too.
 */
INLINE int checksum_may_be_partial(context *ctx, const struct packet *packet)
{
	__u32 length = packet->length - (packet->transport - packet->network);
	const __u32 *addresses = (const __u32 *)&packet->tuple;
	__u64 sum = bpf_htonl(length) + (__u64)bpf_htonl(packet->tuple.protocol);
	__u32 crc;
	__u16 checksum;

	if (packet->tuple.protocol == IPPROTO_SCTP)
		return load_bytes(ctx, packet->transport + SCTP_CHECKSUM, &crc, sizeof(crc)) || !crc;
	if (load_bytes(ctx, packet->transport + checksum_offset(packet->tuple.protocol), &checksum, sizeof(checksum)))
		return 1;
	for (int i = 0; i < 8; i++)
		sum += addresses[i];
	if (packet->ipv4)
		sum -= 2 * (__u64)bpf_htonl(0xffff);
	return checksum == fold_checksum(sum);
}

/* Ends the way of a packet that nobody is told of; the other reasons of lookup_or_create_flow are for node_ingress. */
INLINE int xdp_drop(context *ctx, const struct packet *packet, __u32 reason, __u32 service)
{
	switch (reason) {
	case DROP_INVALID_SOURCE:
	case DROP_UNKNOWN_PORT:
	case DROP_NOT_LOCAL:
	case DROP_TABLE_FULL:
	case DROP_NO_PORT:
	case DROP_SOURCE_RANGE:
		if (service)
			count_refusal(service, reason);
		return drop(ctx, packet, reason);
	default:
		return NEXT;
	}
}

SEC("xdp.frags") int node_xdp(context *ctx)
{
	struct packet packet = {};
	struct ct_result found = {};
	struct tuple to = {};
	struct route route = {};
	__u32 role = 0, recalled;
	int reason;

	if (!is_for_device(ctx))
		return NEXT;
	/* The ports of fragments are looked after in one place. */
	if (read_packet(ctx, ETH_HLEN, &packet) != PACKET_L4 || packet.fragment)
		return NEXT;
	recalled = flow_cache_lookup(ctx, &packet, &route);
	if (!recalled)
		role = destination_role(&packet);
	if (!recalled && !role)
		return NEXT;
	reason = lookup_or_create_flow(ctx, &packet, role, recalled, &found, &to, &route);
	if (reason)
		return xdp_drop(ctx, &packet, reason, found.service);
	if (!recalled)
		flow_cache_insert(ctx, &packet, found.index * 2 + found.is_reply, &route);
	if (route.result != BPF_FIB_LKUP_RET_SUCCESS || route.fib.ifindex != ifindex_of(ctx) || !found.entry)
		return NEXT;
	if (checksum_may_be_partial(ctx, &packet))
		return NEXT;
	ct_update(ctx, &packet, &found, found.entry->state_word);
	if (route.overhead ? tunnel_encap(ctx, &packet, &to, &route) : rewrite(ctx, &packet, &to, &route))
		return drop(ctx, &packet, DROP_WRITE);
	return send_back(ctx);
}
