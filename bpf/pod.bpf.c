// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The programs of pod interfaces. A pod's veth has its other end in the node: what the pod sends
 * arrives there (from_pod), and what the node's stack sends to the pod leaves there (to_pod). At a
 * netkit pair, from_pod is the program of the peer and to_pod that of the primary end. The programs
 * are loaded once for each kind (pod_config.kind).
 *
 * Packets to a pod of this node go to it at once, past the stack, and packets to others by the
 * kernel's routes. Sockets are connected to a backend itself (socket.bpf.c), but what other senders
 * such as virtual machines send to a service is translated here.
 */
#include "ctx/tc.h"

#include "pod/departure.h"
#include "pod/sender.h"
#include "tc/translate.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};
const volatile struct pod_config pod_config = {};

/* Forwards a packet with ports. */
INLINE int forward_l4(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;
	__u32 pod;
	int outcome;

	if (is_plain(packet)) {
		outcome = deliver_to_pod(ctx, packet);
		if (outcome == NEXT)
			outcome = forward_plain(ctx, pkt);
		if (outcome != NEXT)
			return outcome;
	}
	pod = local_pod_interface(packet->tuple.destination);
	if (classify_step(ctx, pkt) == V_OK) {
		enum verdict verdict = decide(ctx, pkt);

		if (verdict != V_PASS || pkt->lb.role & ADDRESS_NODE)
			return translate_packet(ctx, pkt, verdict);
		/* A load balancer may have ports at the address that no service has. */
	} else {
		end_for_direct(packet);
		if (pod)
			return send_to_local_pod(ctx, pkt, pod, PACKET_L4);
	}
	return route_departure(ctx, pkt, PACKET_L4);
}

/* Forwards a packet without ports, of that kind. */
INLINE int forward_other(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	__u32 pod = local_pod_interface(packet->tuple.destination);
	int outcome;

	if (pod)
		return send_to_local_pod(ctx, pkt, pod, kind);
	pkt->lb.role = destination_role(packet);
	if (kind == PACKET_ICMP_ERROR) {
		enum verdict verdict = icmp_error_step(ctx, pkt);

		if (verdict != V_PASS)
			return verdict == V_OK ? send_translated(ctx, pkt) :
						 drop(ctx, packet, verdict);
	}
	if (!pkt->lb.role)
		return route_departure(ctx, pkt, kind);
	/* The packets of a netkit device have no queue, so the first fragment has come. */
	if (kind == PACKET_FRAGMENT && pod_config.kind != POD_NETKIT) {
		outcome = requeue_fragment(ctx);
		if (outcome)
			return outcome;
	}
	if (pkt->lb.role & ADDRESS_NODE) {
		if (kind == PACKET_FRAGMENT)
			note_early_fragment(packet);
		return NEXT;
	}
	return handle_service_address(ctx, packet, kind);
}

SEC("tc") int from_pod(context *ctx)
{
	struct pkt_ctx pkt = {};
	struct packet *packet = &pkt.packet;
	enum packet_kind kind;
	enum verdict verdict;

	if (ctx->vlan_present || (!has_link_header(ctx) && restore_link_header(ctx)))
		return drop(ctx, packet, DROP_L3_PROTOCOL);
	kind = parse_packet(ctx, ETH_HLEN, packet);
	verdict = check_sender(ctx, packet, kind);
	if (verdict != V_OK)
		return verdict == V_PASS ? NEXT : drop(ctx, packet, verdict);
	if (kind == PACKET_FRAGMENT && fragment_load_ports(packet))
		kind = PACKET_L4;
	return kind == PACKET_L4 ? forward_l4(ctx, &pkt) : forward_other(ctx, &pkt, kind);
}

/*
 * Returns the number of the limits of the pod that a packet goes to, or 0. The program of a netkit
 * device sees the index that the pod's end has in the pod's network namespace.
 */
NOINLINE __u32 rates_of_receiver(context *ctx)
{
	struct pod_device *device;

	if (pod_config.kind == POD_NETKIT) {
		struct packet packet = {};
		struct pod *pod;

		if (parse_packet(ctx, ETH_HLEN, &packet) == PACKET_OTHER)
			return 0;
		pod = find_local_pod(packet.tuple.destination);
		return pod ? pod->rates : 0;
	}
	device = find_pod_device(ctx->ifindex);
	return device ? device->rates : 0;
}

SEC("tc") int to_pod(context *ctx)
{
	if (limit_ingress(ctx, rates_of_receiver(ctx)) != V_OK)
		return drop(ctx, 0, DROP_RATE_LIMITED);
	return translate_departure(ctx);
}
