// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tc programs of the node's network interfaces: packets to a service are translated and forwarded
 * to the backend, and replies are translated back.
 *
 * A backend on this node sees the client's address; its replies leave through node_egress. A
 * backend on another node sees an address and a port of this node (ct/snat.h), so that its replies
 * return through node_ingress. Netfilter sees neither direction, unless it tracks connections
 * (lib/route.h).
 */
#include "ctx/tc.h"

#include "ct/gc.h"
#include "ct/icmp_error.h"
#include "lb/refusal.h"
#include "lib/bits.h"
#include "lib/drop.h"
#include "lib/icmp.h"
#include "lib/later_fragment.h"
#include "steps.h"
#include "tunnel/decap.h"
#include "tunnel/origin.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};

#define PACKET_HOST 0 /* of <linux/if_packet.h> */
#define VLAN_ID_MASK 0xfff

/*
 * Ends a packet that was not forwarded: passes it on, or drops it, and replies to its sender where
 * the reason asks for that. `mtu` is the MTU of the link that the packet is too large for,
 * `service` the id of its service, or 0.
 */
GLOBAL int reply_to_drop(context *ctx, const struct packet *packet, enum verdict verdict, __u32 mtu,
			 __u32 service)
{
	if (!packet)
		return DROP;
	if (verdict == V_PASS)
		return NEXT;
	drop(ctx, packet, verdict);
	if (packet->backend)
		return DROP; /* The node that the packet was tunnelled from replies. */
	if (service)
		count_refusal(service, verdict);
	switch ((__u32)verdict) {
	case DROP_TOO_LARGE:
		return packet->ipv4 ? reply_icmp_error(ctx, packet, ICMP_DEST_UNREACH,
						       ICMP_FRAG_NEEDED, mtu) :
				      reply_icmp_error(ctx, packet, ICMPV6_PKT_TOOBIG, 0, mtu);
	case DROP_NO_BACKEND:
		return reply_unreachable(ctx, packet);
	case DROP_UNKNOWN_PORT:
		/* A pod gets the reply that its socket would get; external port scans get none. */
		return is_external_interface(ifindex_of(ctx)) ? DROP :
								reply_unreachable(ctx, packet);
	case DROP_NO_FLOW:
		/*
		 * A SYN gets here if the entry that it has just created is gone already; the client
		 * repeats it.
		 */
		return starts_connection(packet) ? DROP : reply_unreachable(ctx, packet);
	default:
		return DROP;
	}
}

/* Sends a packet out of the interface of its route. */
INLINE int redirect_out(context *ctx, const struct route *route)
{
	return route->ifindex == ctx->ifindex ? send_back(ctx) : bpf_redirect(route->ifindex, 0);
}

/* Forwards a translated packet by its route. */
GLOBAL int forward(context *ctx, const struct route *route)
{
	if (!route)
		return DROP;
	if (route->result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT; /* The destination is this node, or the stack forwards the packet. */
	if (route->result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh next = { .nh_family = is_mapped(route->next_hop) ?
								     AF_INET :
								     AF_INET6 };

		if (next.nh_family == AF_INET)
			next.ipv4_nh = ((const __u32 *)route->next_hop)[3];
		else
			copy_address(next.ipv6_nh, route->next_hop);
		return bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
	}
	return redirect_out(ctx, route);
}

/* Rewrites a packet as decided, and forwards it. */
INLINE int send_translated(context *ctx, struct pkt_ctx *pkt)
{
	if (rewrite_step(ctx, pkt))
		return drop(ctx, &pkt->packet, DROP_WRITE);
	return pkt->ct.origin == CT_CACHED ? redirect_out(ctx, &pkt->route) :
					     forward(ctx, &pkt->route);
}

/*
 * Returns 1 if a packet from that address and port may be a reply that leaves the node. Most
 * packets that leave are not, and the filter, unlike the index of tuples, stays in the processor's
 * cache.
 */
INLINE int reply_filter_hit(const void *address, __be16 port)
{
	return has_bit(&reply_sources, reply_filter_bit(address, port));
}

/* Translates and forwards a packet with ports. */
INLINE int translate_packet(context *ctx, struct pkt_ctx *pkt)
{
	struct packet *packet = &pkt->packet;
	enum verdict verdict;

	if (classify_step(ctx, pkt) != V_OK) {
		if (may_start_flow(packet) &&
		    reply_filter_hit(packet->tuple.destination, packet->tuple.destination_port))
			ct_end_for_direct(packet);
		return NEXT;
	}
	verdict = decide(ctx, pkt);
	if (verdict != V_OK)
		return reply_to_drop(ctx, packet, verdict, pkt->route.mtu - pkt->route.overhead,
				     pkt->lb.service);
	cache_step(ctx, pkt);
	if (packet->fragment == FRAGMENT_FIRST)
		drop_early_fragments(ctx, packet);
	ct_update(ctx, packet, &pkt->ct, pkt->ct.entry->state_word);
	return send_translated(ctx, pkt);
}

/* Translates an ICMP error. Returns V_PASS if it is about no packet that was translated. */
INLINE enum verdict icmp_error_step(context *ctx, struct pkt_ctx *pkt)
{
	enum verdict verdict = icmp_translate_inner(ctx, &pkt->packet, &pkt->to);

	if (verdict == V_TUNNEL)
		return tunnel_route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route);
	return verdict == V_OK ? route_lookup(ctx, &pkt->packet, &pkt->to, &pkt->route) : verdict;
}

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

/* Ends a packet without ports to an address that services have but not the node. */
INLINE int handle_service_address(context *ctx, struct packet *packet, enum packet_kind kind)
{
	enum verdict verdict;

	switch (kind) {
	case PACKET_ICMP_ECHO:
		verdict = check_new_packet(ctx, packet);
		if (verdict != V_OK)
			return drop(ctx, packet, verdict);
		return packet->fragment ? drop(ctx, packet, DROP_FRAGMENT) :
					  reply_icmp_echo(ctx, packet);
	case PACKET_FRAGMENT:
		return drop(ctx, packet, DROP_FRAGMENT);
	case PACKET_INVALID:
	case PACKET_TRUNCATED:
		return drop(ctx, packet, DROP_INVALID);
	case PACKET_EXTENSIONS:
		return drop(ctx, packet, DROP_EXTENSION_HEADER);
	default:
		return drop(ctx, packet, DROP_PROTOCOL);
	}
}

SEC("tc") int node_ingress(context *ctx)
{
	struct pkt_ctx pkt = {};
	struct packet *packet = &pkt.packet;
	enum packet_kind kind;
	int outcome;

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
	if (is_tunnel(packet, kind)) {
		kind = tunnel_decap(ctx, packet);
		if (kind == PACKET_OTHER)
			return NEXT;
		if (kind == PACKET_FRAGMENT) {
			outcome = requeue_fragment(ctx);
			return outcome ? outcome : NEXT;
		}
		pkt.lb.role = ADDRESS_EXTERNAL;
	} else if (kind != PACKET_L4) {
		pkt.lb.role = destination_role(packet);
		if (!pkt.lb.role)
			return NEXT;
		if (kind == PACKET_FRAGMENT && fragment_load_ports(packet))
			kind = PACKET_L4;
		/* The stack has sent the request if no pod has. */
		if (kind == PACKET_ICMP_ECHO_REPLY && pkt.lb.role & ADDRESS_NODE)
			kind = PACKET_L4;
	}
	if (kind == PACKET_L4)
		return translate_packet(ctx, &pkt);
	if (kind == PACKET_ICMP_ERROR) {
		enum verdict verdict = icmp_error_step(ctx, &pkt);

		if (verdict != V_PASS)
			return verdict == V_OK ? send_translated(ctx, &pkt) :
						 drop(ctx, packet, verdict);
		if (pkt.lb.role & ADDRESS_NODE) {
			__u32 mtu = rebuild_inner_from_icmp(ctx, packet);

			return mtu ? reply_to_drop(ctx, packet, V_DROP(DROP_TOO_LARGE), mtu, 0) :
				     NEXT;
		}
	}
	if (kind == PACKET_FRAGMENT) {
		outcome = requeue_fragment(ctx);
		if (outcome)
			return outcome;
	}
	/* The rest is for the stack if the address is the node's. */
	if (pkt.lb.role & ADDRESS_NODE) {
		if (kind == PACKET_FRAGMENT)
			note_early_fragment(packet);
		return NEXT;
	}
	return handle_service_address(ctx, packet, kind);
}

/*
 * The program of the tunnel device: packets out of tunnels from other nodes. The link address of
 * such a frame is not that of the device.
 */
SEC("tc") int from_tunnel(context *ctx)
{
	struct packet packet = {};

	if (parse_packet(ctx, ETH_HLEN, &packet) == PACKET_OTHER || !is_from_its_node(ctx, &packet))
		return drop(ctx, &packet, DROP_INVALID_SOURCE);
	return bpf_skb_change_type(ctx, PACKET_HOST) ? DROP : NEXT;
}

/*
 * Translates a reply of a backend on this node. If the backend has been removed from the service,
 * its packets are dropped: the client's connection was reset, or has another backend. Nor may they
 * reach the client with the pod's own address, which the client does not know.
 */
INLINE int translate_reply(context *ctx, struct packet *packet)
{
	struct ct_result ct = {};
	struct tuple to;
	__u32 state_word;

	if (!reply_filter_hit(packet->tuple.source, packet->tuple.source_port))
		return NEXT;
	if (!ct_lookup(&ct, &packet->tuple) || !ct.is_reply) {
		note_host_datagram(packet);
		return NEXT;
	}
	state_word = ct.entry->state_word;
	if (!ct_has_backend(ct.entry, state_word)) {
		/*
		 * A SYN begins a connection of the pod's own between the same addresses and ports.
		 */
		if (!(packet->tcp_flags & TCP_SYN) || ct_is_unanswered(ct_state_of(state_word)))
			return drop(ctx, packet, DROP_NO_BACKEND);
		ct_end(ct.index, state_word);
		return NEXT;
	}
	if (packet->fragment == FRAGMENT_FIRST)
		fragment_store_ports(packet);
	ct_rev_nat_tuple(&to, ct.entry, packet->tuple.protocol);
	if (!ct_still_matches(&ct, &packet->tuple))
		return drop(ctx, packet, DROP_TABLE_FULL);
	ct_update(ctx, packet, &ct, state_word);
	return rewrite(ctx, packet, &to, 0) ? drop(ctx, packet, DROP_WRITE) : NEXT;
}

/* Translates an ICMP error about a packet of a connection. */
INLINE int translate_icmp_error(context *ctx, struct packet *packet)
{
	struct tuple to = {};
	enum verdict verdict = icmp_translate_inner(ctx, packet, &to);

	if (verdict == V_PASS || verdict == V_TUNNEL)
		return NEXT;
	return verdict != V_OK || rewrite(ctx, packet, &to, 0) ? drop(ctx, packet, DROP_WRITE) :
								 NEXT;
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
	kind = parse_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_FRAGMENT && fragment_load_ports(&packet))
		kind = PACKET_L4;
	if (kind == PACKET_L4)
		return translate_reply(ctx, &packet);
	return kind == PACKET_ICMP_ERROR ? translate_icmp_error(ctx, &packet) : NEXT;
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
