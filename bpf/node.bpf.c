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
 * Ends the way of a packet for a reason of lookup_or_create_flow; `mtu` is of the link that it is too large for,
 * `service` the id of what it was for, or 0.
 */
GLOBAL int reply_to_drop(context *ctx, const struct packet *packet, __u32 reason, __u32 mtu, __u32 service)
{
	if (!packet)
		return DROP;
	if (reason == NOT_FOR_HEDDLE)
		return NEXT;
	drop(ctx, packet, reason);
	if (packet->backend)
		return DROP; /* the node that it came from answers */
	if (service)
		count_refusal(service, reason);
	switch (reason) {
	case DROP_TOO_LARGE:
		return packet->ipv4 ? reply_icmp_error(ctx, packet, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
				    : reply_icmp_error(ctx, packet, ICMPV6_PKT_TOOBIG, 0, mtu);
	case DROP_NO_BACKEND:
		return reply_unreachable(ctx, packet);
	case DROP_UNKNOWN_PORT:
		/* A pod is refused as its socket would be; external scans stay unanswered. */
		return is_external_interface(ifindex_of(ctx)) ? DROP : reply_unreachable(ctx, packet);
	case DROP_NO_FLOW:
		/* A SYN finds none if the flow that it would begin is over in the same moment. */
		return starts_connection(packet) ? DROP : reply_unreachable(ctx, packet);
	default:
		return DROP;
	}
}

/* Sends a packet out of the device that its route leads to. */
INLINE int redirect_out(context *ctx, const struct route *route)
{
	return route->fib.ifindex == ctx->ifindex ? send_back(ctx) : bpf_redirect(route->fib.ifindex, 0);
}

/* Sends a translated packet on its way, as a router does. */
GLOBAL int forward(context *ctx, const struct route *route)
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
	return redirect_out(ctx, route);
}

/* More fragments of one packet are not counted: 64 KiB in packets of 1280 bytes are 52. */
#define MAX_FRAGMENTS 64

/* Counts those fragments of a packet as dropped that went to the stack before the first came, which is a service's. */
GLOBAL int count_early_fragments(context *ctx, const struct packet *packet)
{
	__u32 count;

	if (!packet)
		return 0;
	count = take_early_fragments(packet);
	for (__u32 i = 0; i < MAX_FRAGMENTS && i < count; i++)
		drop(ctx, packet, DROP_FRAGMENT);
	return 0;
}

/* Translates a packet with ports, whose destination's role may be known. */
INLINE int translate_packet(context *ctx, struct packet *packet, __u32 role)
{
	struct ct_result found = {};
	struct tuple to = {};
	struct route route = {};
	__u32 recalled = flow_cache_lookup(ctx, packet, &route);
	int reason;

	if (!recalled && !role)
		role = destination_role(packet);
	if (!recalled && !role) {
		if (may_start_flow(packet) && reply_filter_hit(packet->tuple.destination, packet->tuple.destination_port))
			release_for_direct_flow(packet);
		return NEXT;
	}
	reason = lookup_or_create_flow(ctx, packet, role, recalled, &found, &to, &route);
	if (reason || !found.entry)
		return reply_to_drop(ctx, packet, reason, route.fib.mtu_result - route.overhead, found.service);
	if (!recalled) {
		flow_cache_insert(ctx, packet, found.index * 2 + found.is_reply, &route);
		if (packet->fragment == FRAGMENT_FIRST)
			count_early_fragments(ctx, packet);
	}
	ct_update(ctx, packet, &found, found.entry->state_word);
	if (route.overhead ? tunnel_encap(ctx, packet, &to, &route) : rewrite(ctx, packet, &to, &route))
		return drop(ctx, packet, DROP_WRITE);
	return recalled ? redirect_out(ctx, &route) : forward(ctx, &route);
}

/*
 * An ICMP error may be about a packet that was translated: then it is for who sent that, in words that
 * it knows. Reads what it is about into `inner`; if that was translated, returns 1 and says what it
 * (`inner_to`) and the error itself (`to`) are to be from and to. If the sender is in another node's
 * hands, returns 2, and `to` is the tunnel there.
 */
GLOBAL int find_icmp_sender(context *ctx, const struct packet *packet, struct packet *inner, struct tuple *inner_to,
		       struct tuple *to)
{
	struct tuple inverse = {};
	struct ct_result found = {};
	int kind;

	if (!packet || !inner || !inner_to || !to)
		return 0;
	*to = packet->tuple;
	kind = read_packet(ctx, packet->transport + 8, inner);
	if ((kind != PACKET_L4 && kind != PACKET_TRUNCATED) || packet->fragment)
		return 0;
	reverse_tuple(&inverse, &inner->tuple);
	if (!ct_lookup(&found, &inverse))
		return 0;
	/*
	 * Who says so has an address of the sender's other side, which the sender may not know, and which a
	 * router that is on both sides would take for a forgery: the node's takes its place (RFC 5508, REQ-5).
	 */
	if (found.is_reply) {
		/* About a packet that went to the backend. */
		ct_original_tuple(inner_to, found.entry, inner->tuple.protocol);
		copy_address(to->destination, found.entry->client);
		copy_address(to->source, found.entry->frontend);
	} else if (found.entry->state_word & CT_TUNNELLED) {
		return tunnel_tuple(to, found.entry, packet->ipv4) ? 2 : 0;
	} else {
		if (!ct_reply_tuple(inner_to, found.entry, found.entry->state_word, inner->tuple.protocol))
			return 0;
		copy_address(to->destination, found.entry->backend);
		if (ct_snat_index(found.entry->state_word))
			copy_address(to->source, inner_to->destination);
	}
	return 1;
}

#define IN_TUNNEL 4

/* Translates what an ICMP error is about. Returns 0, IN_TUNNEL, NOT_FOR_HEDDLE, or the reason for a drop; `to` as find_icmp_sender says. */
INLINE int translate_inner(context *ctx, const struct packet *packet, struct tuple *to)
{
	struct tuple inner_to = {};
	struct packet inner = {};

	int outcome = find_icmp_sender(ctx, packet, &inner, &inner_to, to);

	if (outcome != 1)
		return outcome ? IN_TUNNEL : NOT_FOR_HEDDLE;
	return rewrite_inner(ctx, packet, &inner, &inner_to) ? DROP_WRITE : 0;
}

/* Translates an ICMP error that enters. Returns what becomes of it; NOT_FOR_HEDDLE: it is about something else. */
INLINE int translate_icmp_error(context *ctx, struct packet *packet)
{
	struct tuple to = {};
	int reason = translate_inner(ctx, packet, &to);
	struct route route = {};

	if (reason == NOT_FOR_HEDDLE)
		return NOT_FOR_HEDDLE;
	if (reason == IN_TUNNEL)
		reason = tunnel_route_lookup(ctx, packet, &to, &route);
	else if (!reason)
		reason = route_lookup(ctx, packet, &to, 0, &route);
	if (!reason && (route.overhead ? tunnel_encap(ctx, packet, &to, &route) : rewrite(ctx, packet, &to, &route)))
		reason = DROP_WRITE;
	return reason ? drop(ctx, packet, reason) : forward(ctx, &route);
}

/* How often a fragment that came too early is put at the end of the queue, so that the first overtakes it. */
#define FRAGMENT_WAITS 8

/* Has a packet come in once more, if it may wait any longer. */
INLINE int requeue_fragment(context *ctx)
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
INLINE long pop_priority_tag(context *ctx)
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
	if (ctx->pkt_type != PACKET_HOST || is_of_vlan(ctx) || pop_priority_tag(ctx) || restore_link_header(ctx))
		return NEXT;
	kind = read_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_OTHER)
		return NEXT;
	if (is_tunnel(&packet, kind)) {
		kind = tunnel_decap(ctx, &packet);
		if (kind == PACKET_OTHER)
			return NEXT;
		if (kind == PACKET_FRAGMENT) {
			outcome = requeue_fragment(ctx);
			return outcome ? outcome : NEXT;
		}
		role = ADDRESS_EXTERNAL;
	} else if (kind != PACKET_L4) {
		role = destination_role(&packet);
		if (!role)
			return NEXT;
		if (kind == PACKET_FRAGMENT && fragment_lookup_ports(&packet))
			kind = PACKET_L4;
	}
	if (kind == PACKET_L4)
		return translate_packet(ctx, &packet, role);
	if (kind == PACKET_ICMP_ERROR) {
		outcome = translate_icmp_error(ctx, &packet);
		if (outcome != NOT_FOR_HEDDLE)
			return outcome;
		if (role & ADDRESS_NODE) {
			__u32 mtu = rebuild_inner_from_icmp(ctx, &packet);

			return mtu ? reply_to_drop(ctx, &packet, DROP_TOO_LARGE, mtu, 0) : NEXT;
		}
	}
	if (kind == PACKET_FRAGMENT) {
		outcome = requeue_fragment(ctx);
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
		outcome = check_new_packet(ctx, &packet);
		if (outcome)
			return drop(ctx, &packet, outcome);
		return packet.fragment ? drop(ctx, &packet, DROP_FRAGMENT) : reply_icmp_echo(ctx, &packet);
	case PACKET_FRAGMENT:
		return drop(ctx, &packet, DROP_FRAGMENT);
	case PACKET_INVALID:
	case PACKET_TRUNCATED:
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
INLINE int translate_reply(context *ctx, struct packet *packet)
{
	struct ct_result found = {};
	struct tuple to;
	__u32 state_word;

	if (!reply_filter_hit(packet->tuple.source, packet->tuple.source_port))
		return NEXT;
	if (!ct_lookup(&found, &packet->tuple) || !found.is_reply) {
		note_host_datagram(packet);
		return NEXT;
	}
	state_word = found.entry->state_word;
	if (!ct_has_backend(found.entry, state_word)) {
		/* With a SYN a connection of the pod's own begins between the same ends. */
		if (!(packet->tcp_flags & TCP_SYN) || ct_is_unanswered(ct_state_of(state_word)))
			return drop(ctx, packet, DROP_NO_BACKEND);
		ct_end(found.index, state_word);
		return NEXT;
	}
	if (packet->fragment == FRAGMENT_FIRST)
		fragment_note_ports(packet);
	ct_rev_nat_tuple(&to, found.entry, packet->tuple.protocol);
	if (!ct_still_matches(&found, &packet->tuple))
		return drop(ctx, packet, DROP_TABLE_FULL);
	ct_update(ctx, packet, &found, state_word);
	return rewrite(ctx, packet, &to, 0) ? drop(ctx, packet, DROP_WRITE) : NEXT;
}

SEC("tc") int node_egress(context *ctx)
{
	struct packet packet = {};
	enum packet_kind kind;

	if (ctx->tc_index == TC_INDEX_TRANSLATED) {
		ctx->tc_index = 0;
		return NEXT;
	}
	if (is_of_vlan(ctx))
		return NEXT;
	kind = read_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_FRAGMENT && fragment_lookup_ports(&packet))
		kind = PACKET_L4;
	if (kind == PACKET_L4)
		return translate_reply(ctx, &packet);
	if (kind == PACKET_ICMP_ERROR) {
		struct tuple to = {};
		int reason = translate_inner(ctx, &packet, &to);

		if (reason != NOT_FOR_HEDDLE && reason != IN_TUNNEL && (reason || rewrite(ctx, &packet, &to, 0)))
			return drop(ctx, &packet, DROP_WRITE);
	}
	return NEXT;
}

/*
 * Counts a flow, and lets it be evicted where it may be; one of an earlier version becomes an unconfirmed one where its
 * state shows it.
 */
INLINE void recount_entry(struct ct_table *table, __u32 index, struct ct_entry *entry, __u32 state_word)
{
	if (ct_is_unanswered(ct_state_of(state_word)) && !(state_word & CT_UNCONFIRMED) &&
	    __sync_val_compare_and_swap(&entry->state_word, state_word, state_word | CT_UNCONFIRMED) == state_word)
		state_word |= CT_UNCONFIRMED;
	if (is_confirmed_udp(state_word))
		__sync_fetch_and_add(&table->confirmed_udp, 1);
	if (state_word & CT_UNCONFIRMED)
		ct_allow_eviction(index);
	else if (ct_is_closed(state_word))
		ct_allow_eviction_closed(table, index);
}

/* Enters both keys of a flow. */
static long rebuild_ct_entry(__u32 number, void *unused)
{
	__u32 index = number + 1, state_word;
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry = ct_entry_at(index);
	struct backend *backend;

	if (!entry)
		return 1;
	state_word = entry->state_word;
	backend = backend_by_id(entry->backend_id);
	if (!ct_is_live(state_word) || !backend || !table)
		return 0;
	recount_entry(table, index, entry, state_word);
	if (!(state_word & CT_TUNNELLED))
		ct_insert_tuple(index * 2 + 1, backend->generation);
	ct_insert_tuple(index * 2, backend->generation);
	return 0;
}

/* Run once by the control plane when the index of flows is another one, or when nat_evictable and nat_shares are empty. */
SEC("tc") int rebuild_ct_index(context *ctx)
{
	struct ct_table *table = get_ct_table();

	if (!table)
		return 1;
	table->unconfirmed = table->unconfirmed_udp = table->confirmed_udp = 0;
	return bpf_loop(table->high_water, rebuild_ct_entry, 0, 0) < 0;
}

/*
 * Ends one flow: cb[0] is its index, cb[1] the life that it was read with. Run by the control plane, which must not
 * write flows itself: the programs change them at the same time. Returns 0 if the flow is another one by now.
 */
SEC("tc") int flush_ct_entry(context *ctx)
{
	__u32 index = ctx->cb[0], state_word = ctx->cb[1];

	return ct_is_live(state_word) && ct_release(index, state_word);
}

/*
 * Starts the garbage collection, which from then on goes on by itself as long as the maps are there.
 * Run once by the control plane; again after a new version was loaded, so that that one's code runs.
 */
SEC("tc") int start_gc(context *ctx)
{
	__u32 zero = 0;
	struct nat_timer *timer = bpf_map_lookup_elem(&nat_timer, &zero);

	if (!timer)
		return 1;
	/* Fails when it was done before. */
	bpf_timer_init(&timer->timer, &nat_timer, 1 /* CLOCK_MONOTONIC */);
	if (bpf_timer_set_callback(&timer->timer, gc_timer_callback))
		return 2;
	return bpf_timer_start(&timer->timer, GC_INTERVAL_NS, 0) ? 3 : 0;
}
