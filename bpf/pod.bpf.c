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
#include "pod/observe.h"
#include "pod/sender.h"
#include "policy/admit.h"
#include "tc/translate.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};
const volatile struct pod_config pod_config = {};

/*
 * Forwards a packet that nothing translates, where it is known at once that no network policy is
 * about it, or that the policies allow it. Returns NEXT if it needs the complete lookups.
 */
INLINE int forward_at_once(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;

	if (!packet->policed) {
		int outcome;

		if (!is_plain(packet))
			return NEXT;
		outcome = deliver_to_pod(ctx, packet);
		if (outcome != NEXT)
			return outcome;
	}
	return forward_like_recent(ctx, pkt);
}

/*
 * Forwards a packet of a connection, which is of that kind, to the pod of this node at the
 * interface `pod`, or to others if that is 0.
 */
INLINE int forward_connection(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind, __u32 pod)
{
	struct packet *packet = &pkt->packet;

	if (classify_step(ctx, pkt) == V_OK || packet->policed) {
		enum verdict verdict;

		if (kind != PACKET_L4 && pkt->lb.role && !(pkt->lb.role & ADDRESS_NODE))
			return handle_service_address(ctx, packet, kind);
		verdict = decide(ctx, pkt);
		if (verdict != V_PASS)
			return end_connection(ctx, pkt, verdict);
		if (packet->policed && !packet->judged)
			return drop(ctx, packet, DROP_POLICY_DEFAULT);
		if (pkt->lb.role & ADDRESS_NODE) {
			packet->is_last_seen = 1;
			return NEXT;
		}
		/* A load balancer may have ports at the address that no service has. */
	} else {
		end_for_direct(packet);
	}
	return pod && !pkt->lb.role ? send_to_local_pod(ctx, pkt, pod, kind) :
				      route_departure(ctx, pkt, kind);
}

/* Forwards a packet without ports, of that kind. */
INLINE int forward_other(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind, __u32 pod)
{
	struct packet *packet = &pkt->packet;

	if (pod)
		return send_to_local_pod(ctx, pkt, pod, kind);
	pkt->lb.role = destination_role(packet);
	if (kind == PACKET_ICMP_ERROR) {
		enum verdict verdict = icmp_error_step(ctx, pkt);

		if (verdict != V_PASS)
			return verdict == V_OK ? send_translated(ctx, pkt) :
						 drop(ctx, packet, verdict);
	}
	if (pkt->lb.role & ADDRESS_NODE)
		packet->is_last_seen = 1;
	return pkt->lb.role ? end_at_address(ctx, pkt, kind) : route_departure(ctx, pkt, kind);
}

/* Forwards what a pod sends. `kind` becomes the kind of the packet. */
INLINE int forward_from_pod(context *ctx, struct pkt_ctx *pkt, enum packet_kind *kind)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict;
	int outcome;
	__u32 pod;

	if (ctx->vlan_present || (!has_link_header(ctx) && restore_link_header(ctx)))
		return drop(ctx, packet, DROP_L3_PROTOCOL);
	/* Only programs of the node mark packets that they have decided about. */
	if (ctx->tc_index == TC_INDEX_TRANSLATED)
		ctx->tc_index = 0;
	*kind = parse_packet(ctx, ETH_HLEN, packet);
	verdict = check_sender(ctx, packet, *kind);
	if (verdict != V_OK)
		return verdict == V_PASS ? NEXT : drop(ctx, packet, verdict);
	if (*kind == PACKET_FRAGMENT && fragment_load_ports(packet))
		*kind = PACKET_L4;
	if (*kind == PACKET_L4) {
		outcome = forward_at_once(ctx, pkt);
		if (outcome != NEXT)
			return outcome;
	}
	pod = receiver_interface(packet);
	if (packet->policed && (is_to_link_local(packet) || !has_connection(*kind))) {
		outcome = end_unless_allowed(ctx, pkt, *kind);
		if (outcome != NEXT)
			return outcome;
	}
	if (is_to_link_local(packet))
		return NEXT;
	return *kind == PACKET_L4 || (packet->policed && has_connection(*kind)) ?
		       forward_connection(ctx, pkt, *kind, pod) :
		       forward_other(ctx, pkt, *kind, pod);
}

SEC("tc") int from_pod(context *ctx)
{
	struct pkt_ctx pkt = {};
	enum packet_kind kind = PACKET_OTHER;
	int outcome = forward_from_pod(ctx, &pkt, &kind);

	observe(ctx, &pkt, kind, outcome);
	return outcome;
}

/* What the programs know of the pod that a packet goes to. */
struct receiver {
	__u32 rates; /* number of its limits, or 0 */
	__u8 is_policed;
	__u8 is_destination; /* The packet is for an address of the pod; known if it is policed. */
};

/* Returns 1 if a packet is for an address of the pod with that interface. */
INLINE int is_for_pod_at(const struct packet *packet, __u32 ifindex)
{
	struct pod *pod = find_local_pod(packet->tuple.destination);

	return pod && pod->ifindex == ifindex;
}

/*
 * Finds the pod that a packet goes to. The program of a netkit device sees the index that the pod's
 * end has in the pod's network namespace. Where there are network policies, a pod without an entry
 * gets nothing, as it may send nothing.
 */
INLINE void find_receiver(context *ctx, const struct packet *packet, struct receiver *receiver)
{
	struct policy_state *state;

	if (pod_config.kind == POD_NETKIT) {
		struct pod *pod = find_local_pod(packet->tuple.destination);

		if (pod) {
			receiver->rates = pod->rates;
			receiver->is_policed = has_subject(pod);
			receiver->is_destination = 1;
			return;
		}
	} else {
		struct pod_device *device = find_pod_device(ctx->ifindex);

		if (device) {
			receiver->rates = device->rates;
			receiver->is_policed = device->has_policy;
			receiver->is_destination = device->has_policy &&
						   is_for_pod_at(packet, ctx->ifindex);
			return;
		}
	}
	state = get_policy_state();
	receiver->is_policed = state && state->epoch;
}

SEC("tc") int to_pod(context *ctx)
{
	struct pkt_ctx pkt = {};
	struct packet *packet = &pkt.packet;
	struct receiver receiver = {};
	enum packet_kind kind = parse_packet(ctx, ETH_HLEN, packet);
	enum verdict verdict;
	int outcome;

	find_receiver(ctx, packet, &receiver);
	if (limit_ingress(ctx, receiver.rates) != V_OK)
		return drop(ctx, 0, DROP_RATE_LIMITED);
	if (ctx->tc_index == TC_INDEX_TRANSLATED) {
		ctx->tc_index = 0;
		return NEXT;
	}
	/* Policies know the pod by its addresses. Only the node sends to others, such as multicast.
	 */
	if (receiver.is_policed && kind != PACKET_OTHER && !receiver.is_destination)
		return is_from_node(packet->tuple.source) ? NEXT :
							    drop(ctx, packet, DROP_POLICY_DEFAULT);
	if (receiver.is_policed && kind != PACKET_OTHER) {
		packet->policed = 1;
		verdict = admit_step(ctx, &pkt, kind);
		if (verdict != V_OK)
			return drop(ctx, packet, verdict);
	}
	outcome = translate_for_client(ctx, packet, kind, &pkt.ct, &pkt.to);
	/* Only the node sends to others, such as multicast. */
	if (config.visibility && !packet->policed && find_local_pod(packet->tuple.destination))
		packet->is_last_seen = 1;
	observe(ctx, &pkt, kind, outcome);
	return outcome;
}
