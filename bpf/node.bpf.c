// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tc programs on the node's own devices: traffic from outside to a service. What enters for one is
 * translated and sent on to the backend; what comes back is turned into the service's again.
 *
 * A backend on this node sees the client's address: its replies leave through node_egress. One on
 * another node sees this node's address and a port that stands for the client (nat.h), so that its
 * replies enter through node_ingress. Netfilter sees neither, unless it tracks connections (route.h).
 */
#include "tc.h"

#include "answer.h"
#include "drop.h"
#include "front.h"
#include "refusal.h"
#include "tunnel-end.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};

#define PACKET_HOST 0 /* of <linux/if_packet.h> */
#define VLAN_ID_MASK 0xfff

/*
 * Ends the way of a packet for a reason of find_passage; `mtu` is of the link that it is too large for,
 * `service` the id of what it was for, or 0.
 */
GLOBAL int refuse(context *ctx, const struct packet *packet, __u32 reason, __u32 mtu, __u32 service)
{
	if (!packet)
		return DROP;
	if (reason == NOT_OURS)
		return NEXT;
	drop(ctx, packet, reason);
	if (packet->backend)
		return DROP; /* the node that it came from answers */
	if (service)
		count_refusal(service, reason);
	switch (reason) {
	case DROP_TOO_LARGE:
		return packet->ipv4 ? answer_error(ctx, packet, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
				    : answer_error(ctx, packet, ICMPV6_PKT_TOOBIG, 0, mtu);
	case DROP_NO_BACKEND:
		return answer_unreachable(ctx, packet);
	case DROP_UNKNOWN_PORT:
		/* A pod is refused as its socket would be; external scans stay unanswered. */
		return is_front(device_of(ctx)) ? DROP : answer_unreachable(ctx, packet);
	case DROP_NO_FLOW:
		/* A SYN finds none if the flow that it would begin is over in the same moment. */
		return is_first(packet) ? DROP : answer_unreachable(ctx, packet);
	default:
		return DROP;
	}
}

/* Sends a packet out of the device that its route leads to. */
INLINE int send_out(context *ctx, const struct route *route)
{
	return route->fib.ifindex == ctx->ifindex ? send_back(ctx) : bpf_redirect(route->fib.ifindex, 0);
}

/* Sends a translated packet on its way, as a router does. */
GLOBAL int send_on(context *ctx, const struct route *route)
{
	if (!route)
		return DROP;
	if (route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT; /* to this node itself, or on by its stack */
	if (route->result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh next = { .nh_family = route->fib.family };

		if (route->fib.family == AF_INET)
			next.ipv4_nh = route->fib.ipv4_dst;
		else
			copy_address(next.ipv6_nh, route->fib.ipv6_dst);
		return bpf_redirect_neigh(route->fib.ifindex, &next, sizeof(next), 0);
	}
	return send_out(ctx, route);
}

/* More fragments of one packet are not counted: 64 KiB in packets of 1280 bytes are 52. */
#define MOST_FRAGMENTS 64

/* Counts those fragments of a packet as dropped that went to the stack before the first came, which is a service's. */
GLOBAL int count_early_fragments(context *ctx, const struct packet *packet)
{
	__u32 count;

	if (!packet)
		return 0;
	count = take_early_fragments(packet);
	for (__u32 i = 0; i < MOST_FRAGMENTS && i < count; i++)
		drop(ctx, packet, DROP_FRAGMENT);
	return 0;
}

/* Translates a packet with ports, whose destination's role may be known. */
INLINE int translate(context *ctx, struct packet *packet, __u32 role)
{
	struct found found = {};
	struct flow_key to = {};
	struct route route = {};
	__u32 recalled = recall_flow(ctx, packet, &route);
	int reason;

	if (!recalled && !role)
		role = role_of(packet);
	if (!recalled && !role) {
		if (may_begin(packet) && may_reply(packet->key.destination, packet->key.destination_port))
			give_way_to_direct(packet);
		return NEXT;
	}
	reason = find_passage(ctx, packet, role, recalled, &found, &to, &route);
	if (reason || !found.flow)
		return refuse(ctx, packet, reason, route.fib.mtu_result - route.overhead, found.service);
	if (!recalled) {
		remember_flow(ctx, packet, found.index * 2 + found.is_reply, &route);
		if (packet->fragment == FRAGMENT_FIRST)
			count_early_fragments(ctx, packet);
	}
	note_packet(ctx, packet, &found, found.flow->life);
	if (route.overhead ? wrap(ctx, packet, &to, &route) : rewrite(ctx, packet, &to, &route))
		return drop(ctx, packet, DROP_WRITE);
	return recalled ? send_out(ctx, &route) : send_on(ctx, &route);
}

/*
 * An ICMP error may be about a packet that was translated: then it is for who sent that, in words that
 * it knows. Reads what it is about into `inner`; if that was translated, returns 1 and says what it
 * (`inner_to`) and the error itself (`to`) are to be from and to. If the sender is in another node's
 * hands, returns 2, and `to` is the tunnel there.
 */
GLOBAL int find_sender(context *ctx, const struct packet *packet, struct packet *inner, struct flow_key *inner_to,
		       struct flow_key *to)
{
	struct flow_key inverse = {};
	struct found found = {};
	int kind;

	if (!packet || !inner || !inner_to || !to)
		return 0;
	*to = packet->key;
	kind = read_packet(ctx, packet->transport + 8, inner);
	if ((kind != PACKET_FLOW && kind != PACKET_CUT) || packet->fragment)
		return 0;
	invert(&inverse, &inner->key);
	if (!find_flow(&found, &inverse))
		return 0;
	/*
	 * Who says so has an address of the sender's other side, which the sender may not know, and which a
	 * router that is on both sides would take for a forgery: the node's takes its place (RFC 5508, REQ-5).
	 */
	if (found.is_reply) {
		/* About a packet that went to the backend. */
		client_key(inner_to, found.flow, inner->key.protocol);
		copy_address(to->destination, found.flow->client);
		copy_address(to->source, found.flow->frontend);
	} else if (found.flow->life & LIFE_TUNNELLED) {
		return tunnel_key(to, found.flow, packet->ipv4) ? 2 : 0;
	} else {
		if (!reply_key(inner_to, found.flow, found.flow->life, inner->key.protocol))
			return 0;
		copy_address(to->destination, found.flow->backend);
		if (source_of(found.flow->life))
			copy_address(to->source, inner_to->destination);
	}
	return 1;
}

#define IN_TUNNEL 4

/* Translates what an ICMP error is about. Returns 0, IN_TUNNEL, NOT_OURS, or the reason for a drop; `to` as find_sender says. */
INLINE int translate_inner(context *ctx, const struct packet *packet, struct flow_key *to)
{
	struct flow_key inner_to = {};
	struct packet inner = {};

	int outcome = find_sender(ctx, packet, &inner, &inner_to, to);

	if (outcome != 1)
		return outcome ? IN_TUNNEL : NOT_OURS;
	return rewrite_inner(ctx, packet, &inner, &inner_to) ? DROP_WRITE : 0;
}

/* Translates an ICMP error that enters. Returns what becomes of it; NOT_OURS: it is about something else. */
INLINE int translate_error(context *ctx, struct packet *packet)
{
	struct flow_key to = {};
	int reason = translate_inner(ctx, packet, &to);
	struct route route = {};

	if (reason == NOT_OURS)
		return NOT_OURS;
	if (reason == IN_TUNNEL)
		reason = find_tunnel_route(ctx, packet, &to, &route);
	else if (!reason)
		reason = find_route(ctx, packet, &to, 0, &route);
	if (!reason && (route.overhead ? wrap(ctx, packet, &to, &route) : rewrite(ctx, packet, &to, &route)))
		reason = DROP_WRITE;
	return reason ? drop(ctx, packet, reason) : send_on(ctx, &route);
}

/* How often a fragment that came too early is put at the end of the queue, so that the first overtakes it. */
#define FRAGMENT_WAITS 8

/* Has a packet come in once more, if it may wait any longer. */
INLINE int wait_for_first(context *ctx)
{
	/* A field that queues of traffic control use, which a packet that enters has not met yet. */
	if (ctx->tc_index >= FRAGMENT_WAITS)
		return 0;
	ctx->tc_index++;
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

/*
 * True when the packet is of a VLAN, which has a device of its own above this one. A tag of VLAN 0 has a priority
 * only (IEEE 802.1Q, 9.6): the stack takes it off and goes on as without one.
 */
INLINE int is_of_vlan(context *ctx)
{
	return ctx->vlan_present && ctx->vlan_tci & VLAN_ID_MASK;
}

/* Takes a tag of VLAN 0 off, which else would be on the packet when it leaves by another device. */
INLINE long drop_priority_tag(context *ctx)
{
	return ctx->vlan_present ? bpf_skb_vlan_pop(ctx) : 0;
}

SEC("tc") int node_ingress(context *ctx)
{
	struct packet packet = {};
	enum packet_kind kind;
	__u32 role = 0;
	int outcome;

	/* A frame for somebody else is here by promiscuity; multicast is no service's. */
	if (ctx->pkt_type != PACKET_HOST || is_of_vlan(ctx) || drop_priority_tag(ctx) || restore_link(ctx))
		return NEXT;
	kind = read_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_OTHER)
		return NEXT;
	if (is_tunnel(&packet, kind)) {
		kind = unwrap(ctx, &packet);
		if (kind == PACKET_OTHER)
			return NEXT;
		if (kind == PACKET_FRAGMENT) {
			outcome = wait_for_first(ctx);
			return outcome ? outcome : NEXT;
		}
		role = ADDRESS_EXTERNAL;
	} else if (kind != PACKET_FLOW) {
		role = role_of(&packet);
		if (!role)
			return NEXT;
		if (kind == PACKET_FRAGMENT && recall_ports(&packet))
			kind = PACKET_FLOW;
	}
	if (kind == PACKET_FLOW)
		return translate(ctx, &packet, role);
	if (kind == PACKET_ICMP_ERROR) {
		outcome = translate_error(ctx, &packet);
		if (outcome != NOT_OURS)
			return outcome;
		if (role & ADDRESS_NODE) {
			__u32 mtu = recover_packet(ctx, &packet);

			return mtu ? refuse(ctx, &packet, DROP_TOO_LARGE, mtu, 0) : NEXT;
		}
	}
	if (kind == PACKET_FRAGMENT) {
		outcome = wait_for_first(ctx);
		if (outcome)
			return outcome;
	}
	/* The rest is the node's own affair where the address is its own. */
	if (role & ADDRESS_NODE) {
		if (kind == PACKET_FRAGMENT)
			note_early_fragment(&packet);
		return NEXT;
	}
	switch (kind) {
	case PACKET_ICMP_ECHO:
		outcome = check_first(ctx, &packet);
		if (outcome)
			return drop(ctx, &packet, outcome);
		return packet.fragment ? drop(ctx, &packet, DROP_FRAGMENT) : answer_echo(ctx, &packet);
	case PACKET_FRAGMENT:
		return drop(ctx, &packet, DROP_FRAGMENT);
	case PACKET_INVALID:
	case PACKET_CUT:
		return drop(ctx, &packet, DROP_INVALID);
	case PACKET_EXTENSIONS:
		return drop(ctx, &packet, DROP_EXTENSION_HEADER);
	default:
		return drop(ctx, &packet, DROP_PROTOCOL);
	}
}

/*
 * Makes a reply of a backend on this node one of the service, on its way out. When the backend is gone
 * from the service, the client was told that its connection is over, or has another backend: the pod's
 * packets end here. Nor may they reach the client under the pod's own address, of which it knows nothing.
 */
INLINE int answer_client(context *ctx, struct packet *packet)
{
	struct found found = {};
	struct flow_key to;
	__u32 life;

	if (!may_reply(packet->key.source, packet->key.source_port))
		return NEXT;
	if (!find_flow(&found, &packet->key) || !found.is_reply) {
		note_stack_datagram(packet);
		return NEXT;
	}
	life = found.flow->life;
	if (!has_backend(found.flow, life)) {
		/* With a SYN a connection of the pod's own begins between the same ends. */
		if (!(packet->tcp_flags & TCP_SYN) || is_unanswered(state_of(life)))
			return drop(ctx, packet, DROP_NO_BACKEND);
		end_flow(found.index, life);
		return NEXT;
	}
	if (packet->fragment == FRAGMENT_FIRST)
		remember_ports(packet);
	answer_key(&to, found.flow, packet->key.protocol);
	if (!is_still_flow(&found, &packet->key))
		return drop(ctx, packet, DROP_TABLE_FULL);
	note_packet(ctx, packet, &found, life);
	return rewrite(ctx, packet, &to, 0) ? drop(ctx, packet, DROP_WRITE) : NEXT;
}

SEC("tc") int node_egress(context *ctx)
{
	struct packet packet = {};
	enum packet_kind kind;

	if (ctx->tc_index == TRANSLATED) {
		ctx->tc_index = 0;
		return NEXT;
	}
	if (is_of_vlan(ctx))
		return NEXT;
	kind = read_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_FRAGMENT && recall_ports(&packet))
		kind = PACKET_FLOW;
	if (kind == PACKET_FLOW)
		return answer_client(ctx, &packet);
	if (kind == PACKET_ICMP_ERROR) {
		struct flow_key to = {};
		int reason = translate_inner(ctx, &packet, &to);

		if (reason != NOT_OURS && reason != IN_TUNNEL && (reason || rewrite(ctx, &packet, &to, 0)))
			return drop(ctx, &packet, DROP_WRITE);
	}
	return NEXT;
}

/*
 * Counts a flow, and lets it be evicted where it may be; one of an earlier version becomes an unconfirmed one where its
 * state shows it.
 */
INLINE void count_in(struct nat_table *table, __u32 index, struct nat_flow *flow, __u32 life)
{
	if (is_unanswered(state_of(life)) && !(life & LIFE_UNCONFIRMED) &&
	    __sync_val_compare_and_swap(&flow->life, life, life | LIFE_UNCONFIRMED) == life)
		life |= LIFE_UNCONFIRMED;
	if (is_confirmed_udp(life))
		__sync_fetch_and_add(&table->confirmed_udp, 1);
	if (life & LIFE_UNCONFIRMED)
		allow_eviction(index);
	else if (is_over(life))
		allow_eviction_of_past(table, index);
}

/* Enters both keys of a flow. */
static long enter_flow(__u32 number, void *unused)
{
	__u32 index = number + 1, life;
	struct nat_table *table = the_table();
	struct nat_flow *flow = flow_at(index);
	struct backend *backend;

	if (!flow)
		return 1;
	life = flow->life;
	backend = backend_by_id(flow->backend_id);
	if (!is_alive(life) || !backend || !table)
		return 0;
	count_in(table, index, flow, life);
	if (!(life & LIFE_TUNNELLED))
		enter_key(index * 2 + 1, backend->generation);
	enter_key(index * 2, backend->generation);
	return 0;
}

/* Run once by the control plane when the index of flows is another one, or when nat_evictable and nat_shares are empty. */
SEC("tc") int enter_flows(context *ctx)
{
	struct nat_table *table = the_table();

	if (!table)
		return 1;
	table->unanswered = table->unconfirmed_udp = table->confirmed_udp = 0;
	return bpf_loop(table->used_once, enter_flow, 0, 0) < 0;
}

/*
 * Ends one flow: cb[0] is its index, cb[1] the life that it was read with. Run by the control plane, which must not
 * write flows itself: the programs change them at the same time. Returns 0 if the flow is another one by now.
 */
SEC("tc") int flush_flow(context *ctx)
{
	__u32 index = ctx->cb[0], life = ctx->cb[1];

	return is_alive(life) && release_flow(index, life);
}

/*
 * Starts the garbage collection, which from then on goes on by itself as long as the maps are there.
 * Run once by the control plane; again after a new version was loaded, so that that one's code runs.
 */
SEC("tc") int start_sweeping(context *ctx)
{
	__u32 zero = 0;
	struct nat_timer *timer = bpf_map_lookup_elem(&nat_timer, &zero);

	if (!timer)
		return 1;
	/* Fails when it was done before. */
	bpf_timer_init(&timer->timer, &nat_timer, 1 /* CLOCK_MONOTONIC */);
	if (bpf_timer_set_callback(&timer->timer, on_sweep_timer))
		return 2;
	return bpf_timer_start(&timer->timer, SWEEP_REST_NS, 0) ? 3 : 0;
}
