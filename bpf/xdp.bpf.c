// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The XDP program of external interfaces does the same steps as node_ingress, but earlier, for
 * packets that leave by the interface that they arrived on. All others it passes on unchanged to
 * node_ingress (node.bpf.c), which finds the conntrack entries that were created here.
 */
#include "ctx/xdp.h"

#include "lb/refusal.h"
#include "lib/drop.h"
#include "steps.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};
const volatile struct pod_config pod_config = {};

/* Returns 1 if the frame is for this interface: not for another host, and no multicast. */
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
 * Returns 1 if the checksum may be partial. A veth pair, or a virtual machine's interface, delivers
 * packets whose checksum its other end has left to the hardware, and XDP cannot know (the helpers
 * of tc programs do). Then the field has the sum of the pseudo header only, or zero for SCTP. One
 * in 65,536 complete checksums looks the same; such packets are passed on, too.
 */
INLINE int checksum_may_be_partial(context *ctx, const struct packet *packet)
{
	__u32 length = packet->length - (packet->transport - packet->network);
	const __u32 *addresses = (const __u32 *)&packet->tuple;
	__u64 sum = bpf_htonl(length) + (__u64)bpf_htonl(packet->tuple.protocol);
	__u32 crc;
	__u16 checksum;

	if (packet->tuple.protocol == IPPROTO_SCTP)
		return load_bytes(ctx, packet->transport + SCTP_CHECKSUM, &crc, sizeof(crc)) ||
		       !crc;
	if (load_bytes(ctx, packet->transport + checksum_offset(packet->tuple.protocol), &checksum,
		       sizeof(checksum)))
		return 1;
	for (int i = 0; i < 8; i++)
		sum += addresses[i];
	if (packet->ipv4)
		sum -= 2 * (__u64)bpf_htonl(0xffff);
	return checksum == fold_checksum(sum);
}

/* Drops a packet whose sender gets no reply. node_ingress handles the other verdicts again. */
INLINE int drop_silently(context *ctx, const struct packet *packet, enum verdict verdict,
			 __u32 service)
{
	switch ((__u32)verdict) {
	case DROP_INVALID_SOURCE:
	case DROP_UNKNOWN_PORT:
	case DROP_NOT_LOCAL:
	case DROP_TABLE_FULL:
	case DROP_NO_PORT:
	case DROP_SOURCE_RANGE:
		if (service)
			count_refusal(service, verdict);
		return drop(ctx, packet, verdict);
	default:
		return NEXT;
	}
}

SEC("xdp.frags") int node_xdp(context *ctx)
{
	struct pkt_ctx pkt = {};
	struct packet *packet = &pkt.packet;
	enum verdict verdict;

	if (!is_for_device(ctx))
		return NEXT;
	/* node_ingress handles fragments. */
	if (parse_packet(ctx, ETH_HLEN, packet) != PACKET_L4 || packet->fragment)
		return NEXT;
	if (classify_step(ctx, &pkt) != V_OK)
		return NEXT;
	verdict = decide(ctx, &pkt);
	if (verdict != V_OK)
		return drop_silently(ctx, packet, verdict, pkt.lb.service);
	cache_step(ctx, &pkt);
	if (pkt.route.result != BPF_FIB_LKUP_RET_SUCCESS || pkt.route.ifindex != ifindex_of(ctx))
		return NEXT;
	if (checksum_may_be_partial(ctx, packet))
		return NEXT;
	ct_count(ctx, packet, reference_of(&pkt.ct));
	ct_update(ctx, packet, &pkt.ct, pkt.ct.entry->state_word);
	if (rewrite_step(ctx, &pkt))
		return drop(ctx, packet, DROP_WRITE);
	return send_back(ctx);
}
