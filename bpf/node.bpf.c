// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tc programs of the node's network interfaces: packets to a service are translated and forwarded
 * to the backend, and replies are translated back.
 *
 * A backend on this node sees the client's address; its replies leave through node_egress. A
 * backend on another node sees an address and a port of this node (ct/snat.h), so that its replies
 * return through node_ingress. Netfilter sees neither direction, unless it tracks connections
 * (lib/route.h).
 *
 * Where Heddle is the network of pods, packets to a pod of this node go to it past the stack, too
 * (pod/arrival.h).
 */
#include "ctx/tc.h"

#include "ct/gc.h"
#include "pod/arrival.h"
#include "pod/observe.h"
#include "tc/translate.h"
#include "tunnel/decap.h"
#include "tunnel/origin.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};
const volatile struct pod_config pod_config = {};

#define VLAN_ID_MASK 0xfff

/*
 * Returns 1 if the packet belongs to a VLAN, which has an interface of its own above this one. A
 * tag of VLAN 0 only has a priority (IEEE 802.1Q, 9.6); the stack removes it and processes the
 * packet as untagged.
 */
INLINE int is_of_vlan(context *ctx)
{
	return ctx->vlan_present && ctx->vlan_tci & VLAN_ID_MASK;
}

/* Removes a tag of VLAN 0, which would otherwise stay on the packet when it leaves. */
INLINE long pop_priority_tag(context *ctx)
{
	return ctx->vlan_present ? bpf_skb_vlan_pop(ctx) : 0;
}

/* Forwards a packet of that kind from another node or the world, or leaves it to the stack. */
INLINE int forward_arrival(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	struct packet *packet = &pkt->packet;
	int outcome;

	if (is_tunnel(packet, kind)) {
		kind = tunnel_decap(ctx, packet);
		if (kind == PACKET_OTHER)
			return NEXT;
		if (kind == PACKET_FRAGMENT) {
			outcome = requeue_fragment(ctx);
			return outcome ? outcome : NEXT;
		}
		pkt->lb.role = ADDRESS_EXTERNAL;
	} else if (kind != PACKET_L4) {
		pkt->lb.role = destination_role(packet);
		if (!pkt->lb.role && check_policed(packet) != V_OK)
			return drop(ctx, packet, DROP_INVALID_SOURCE);
		if (!pkt->lb.role && !packet->policed)
			return deliver_arrival(ctx, pkt, kind);
		if (kind == PACKET_FRAGMENT && fragment_load_ports(packet))
			kind = PACKET_L4;
		if (packet->policed && !has_connection(kind))
			return deliver_portless(ctx, pkt, kind);
		if (packet->policed)
			kind = PACKET_L4;
		/* The stack has sent the request if no pod has. */
		if (kind == PACKET_ICMP_ECHO_REPLY && pkt->lb.role & ADDRESS_NODE)
			kind = PACKET_L4;
	}
	if (kind == PACKET_L4) {
		outcome = packet->backend || packet->policed ? NEXT : deliver_plain(ctx, packet);
		if (outcome != NEXT)
			return outcome;
		if (!packet->backend && check_policed(packet) != V_OK)
			return drop(ctx, packet, DROP_INVALID_SOURCE);
		if (classify_step(ctx, pkt) == V_OK || packet->policed) {
			enum verdict verdict = decide(ctx, pkt);

			if (verdict != V_PASS || !packet->policed)
				return translate_packet(ctx, pkt, verdict);
			if (!packet->judged)
				return drop(ctx, packet, DROP_POLICY_DEFAULT);
		} else {
			end_for_direct(packet);
		}
		return deliver_arrival(ctx, pkt, kind);
	}
	if (kind == PACKET_ICMP_ERROR) {
		enum verdict verdict = icmp_error_step(ctx, pkt);

		if (verdict != V_PASS)
			return verdict == V_OK ? send_translated(ctx, pkt) :
						 drop(ctx, packet, verdict);
		if (pkt->lb.role & ADDRESS_NODE) {
			__u32 mtu = rebuild_inner_from_icmp(ctx, packet);

			return mtu ? reply_to_drop(ctx, packet, V_DROP(DROP_TOO_LARGE), mtu, 0) :
				     NEXT;
		}
	}
	return end_at_address(ctx, pkt, kind);
}

/* Forwards and observes a packet of that kind from another node or the world. */
INLINE int receive(context *ctx, struct pkt_ctx *pkt, enum packet_kind kind)
{
	int outcome = forward_arrival(ctx, pkt, kind);

	observe(ctx, pkt, kind, outcome);
	return outcome;
}

SEC("tc") int node_ingress(context *ctx)
{
	struct pkt_ctx pkt = {};
	struct packet *packet = &pkt.packet;
	enum packet_kind kind;

	/*
	 * Other packets are frames for other hosts, which a promiscuous interface receives, and
	 * multicast.
	 */
	if (ctx->pkt_type != PACKET_HOST || is_of_vlan(ctx) || pop_priority_tag(ctx) ||
	    (!has_link_header(ctx) && restore_link_header(ctx)))
		return NEXT;
	kind = parse_packet(ctx, ETH_HLEN, packet);
	if (kind == PACKET_OTHER)
		return NEXT;
	return receive(ctx, &pkt, kind);
}

/*
 * The program of the tunnel device: packets out of tunnels from other nodes. The link address of
 * such a frame is not that of the device.
 */
SEC("tc") int from_tunnel(context *ctx)
{
	struct pkt_ctx pkt = {};
	enum packet_kind kind = parse_packet(ctx, ETH_HLEN, &pkt.packet);

	if (kind == PACKET_OTHER || !is_from_its_node(ctx, &pkt.packet))
		return drop(ctx, &pkt.packet, DROP_INVALID_SOURCE);
	return bpf_skb_change_type(ctx, PACKET_HOST) ? DROP : receive(ctx, &pkt, kind);
}

/* Translates what leaves by an interface. */
INLINE int translate_departure(context *ctx)
{
	struct packet packet = {};
	struct ct_result ct = {};
	struct tuple to = {};

	if (ctx->tc_index == TC_INDEX_TRANSLATED) {
		ctx->tc_index = 0;
		return NEXT;
	}
	return translate_for_client(ctx, &packet, parse_packet(ctx, ETH_HLEN, &packet), &ct, &to);
}

SEC("tc") int node_egress(context *ctx)
{
	return is_of_vlan(ctx) ? NEXT : translate_departure(ctx);
}

/*
 * Counts an entry, and allows its eviction if it is unconfirmed or closed. An entry of an earlier
 * version gets the mark CT_UNCONFIRMED here if its state shows it.
 */
INLINE void recount_entry(struct ct_table *table, __u32 index, struct ct_entry *entry,
			  __u32 state_word)
{
	if (ct_is_unanswered(ct_state_of(state_word)) && !(state_word & CT_UNCONFIRMED) &&
	    __sync_val_compare_and_swap(&entry->state_word, state_word,
					state_word | CT_UNCONFIRMED) == state_word)
		state_word |= CT_UNCONFIRMED;
	if (is_confirmed_udp(state_word))
		__sync_fetch_and_add(&table->confirmed_udp, 1);
	if (ct_is_held(state_word))
		ct_count_held(index, state_word, 1);
	if (state_word & CT_UNCONFIRMED)
		ct_allow_eviction(index);
	else if (ct_is_closed(state_word))
		ct_allow_eviction_closed(table, index);
}

/* Inserts both tuples of an entry. */
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

/*
 * Rebuilds the index of tuples and the counters. The control plane runs it once if nat_index,
 * nat_evictable or nat_shares is a new map.
 */
SEC("tc") int rebuild_ct_index(context *ctx)
{
	struct ct_table *table = get_ct_table();

	if (!table)
		return 1;
	table->unconfirmed = table->unconfirmed_udp = table->confirmed_udp = table->held = 0;
	return bpf_loop(table->high_water, rebuild_ct_entry, 0, 0) < 0;
}

/*
 * Ends the entry with the index cb[0] and frees it, if its state word is still cb[1]. Returns 1 if
 * it did. The control plane runs it instead of writing entries itself, because the programs change
 * them at the same time.
 */
SEC("tc") int flush_ct_entry(context *ctx)
{
	__u32 index = ctx->cb[0], state_word = ctx->cb[1];

	return ct_is_live(state_word) && ct_release(index, state_word);
}

/*
 * Starts the timer of the garbage collection, which then runs as long as the maps exist. The
 * control plane runs it once, and again after it has loaded a new version, so that the timer runs
 * the new code.
 */
SEC("tc") int start_gc(context *ctx)
{
	__u32 zero = 0;
	struct nat_timer *timer = bpf_map_lookup_elem(&nat_timer, &zero);

	if (!timer)
		return 1;
	/* This fails if the timer has been initialized before. */
	bpf_timer_init(&timer->timer, &nat_timer, 1 /* CLOCK_MONOTONIC */);
	if (bpf_timer_set_callback(&timer->timer, gc_timer_callback))
		return 2;
	return bpf_timer_start(&timer->timer, GC_INTERVAL_NS, 0) ? 3 : 0;
}
