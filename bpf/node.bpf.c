// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tc programs on the node's own devices: traffic from outside to a service. What enters for one is
 * translated and sent on to the backend; what comes back is turned into the service's again.
 *
 * A backend on this node sees the client's address: its replies leave through node_egress. One on
 * another node sees this node's address and a port that stands for the client (nat.h), so that its
 * replies enter through node_ingress. Neither is known to netfilter.
 */
#include "answer.h"
#include "fragment.h"
#include "nat.h"
#include "refusal.h"

LICENSE("Dual BSD/GPL");

const volatile struct node_config config = {};
const volatile struct crc32c_powers crc32c_powers = {};

#define NEXT TC_ACT_UNSPEC /* the packet is none of ours: the next program, then the stack */

#define ROUTE_SOURCE (1u << 4) /* BPF_FIB_LOOKUP_SRC, Linux 6.7; the headers here may not have it yet */
#define EINVAL 22
#define PACKET_HOST 0 /* of <linux/if_packet.h> */

/* tc_index of a packet on its way from node_ingress to node_egress of the same device. */
#define TRANSLATED 0x4865

/* A function, so that the record's layout is in the object's BTF, of which the bindings are made. */
NOINLINE long report_drop(const struct drop_event *event)
{
	return bpf_ringbuf_output(&drop_events, event, sizeof(*event), 0);
}

GLOBAL int drop(struct __sk_buff *ctx, const struct packet *packet, enum drop_reason reason)
{
	struct nat_table *table = the_table();
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&drops, &key);

	if (!packet)
		return TC_ACT_SHOT;
	if (count)
		(*count)++;
	if (table && table->watched) {
		struct drop_event event = {
			.key = packet->key,
			.reason = reason,
			.ifindex = ctx->ifindex,
			.length = ctx->len,
		};

		report_drop(&event);
	}
	return TC_ACT_SHOT;
}

/* Drops the packet and tells the sender so. */
GLOBAL int reject(struct __sk_buff *ctx, const struct packet *packet, enum drop_reason reason)
{
	if (!packet)
		return TC_ACT_SHOT;
	drop(ctx, packet, reason);
	return answer_unreachable(ctx, packet);
}

INLINE void ask_route(struct bpf_fib_lookup *route, struct __sk_buff *ctx, const void *source, const void *destination,
		      int ipv4)
{
	const __u32 *from = source, *to = destination;

	route->ifindex = ctx->ifindex;
	if (ipv4) {
		route->family = AF_INET;
		route->ipv4_src = from[3];
		route->ipv4_dst = to[3];
	} else {
		route->family = AF_INET6;
		copy_address(route->ipv6_src, from);
		copy_address(route->ipv6_dst, to);
	}
}

/* Length of the largest packet that this one is or will be cut into. */
INLINE __u32 segment_length(struct __sk_buff *ctx, const struct packet *packet)
{
	if (!ctx->gso_size)
		return packet->length;
	return packet->transport - packet->network + packet->transport_length + ctx->gso_size;
}

/* Where things are in a frame, in words of 16 bits. */
#define TTL_WORD ((ETH_HLEN + 8) / 2)	    /* and the protocol */
#define HOP_LIMIT_WORD ((ETH_HLEN + 6) / 2) /* its second byte */
#define CHECKSUM_WORD ((ETH_HLEN + 10) / 2)

INLINE int is_front(__u32 ifindex)
{
	enum device_role *role = bpf_map_lookup_elem(&node_devices, &ifindex);

	return role && *role == DEVICE_FRONT;
}

/*
 * Whether a translated packet for that device must take the stack's way. Replies of a backend on this
 * node do: if netfilter tracks connections and has not seen the request, it takes them for invalid,
 * which rules drop, or for a connection of the backend's own, which rules masquerade.
 */
INLINE int passes_netfilter(__u32 ifindex)
{
	struct nat_table *table = the_table();

	return table && table->tracked && !is_front(ifindex);
}

/* Sends a translated packet on its way, as a router does. */
GLOBAL int forward(struct __sk_buff *ctx, struct packet *packet)
{
	struct bpf_fib_lookup route = {};
	__u16 start[CHECKSUM_WORD + 1];
	__u32 length;
	long result;

	if (!packet)
		return TC_ACT_SHOT;
	length = segment_length(ctx, packet);
	route.l4_protocol = packet->key.protocol;
	route.sport = packet->key.source_port;
	route.dport = packet->key.destination_port;
	route.tot_len = length > 0xffff ? 0xffff : length;
	ask_route(&route, ctx, packet->key.source, packet->key.destination, packet->ipv4);
	result = bpf_fib_lookup(ctx, &route, sizeof(route), 0);
	if (result == BPF_FIB_LKUP_RET_NOT_FWDED)
		return NEXT; /* to this node itself */
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		drop(ctx, packet, DROP_TOO_LARGE);
		return packet->ipv4 ? answer_error(ctx, packet, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, route.mtu_result)
				    : answer_error(ctx, packet, ICMPV6_PKT_TOOBIG, 0, route.mtu_result);
	}
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return drop(ctx, packet, DROP_NO_ROUTE);
	if (passes_netfilter(route.ifindex))
		return NEXT;

	if (packet->ttl <= 1)
		return drop(ctx, packet, DROP_TTL);
	packet->ttl--;
	if (load_bytes(ctx, 0, start, sizeof(start)))
		return drop(ctx, packet, DROP_WRITE);
	if (packet->ipv4) {
		/* The time to live is the first byte of its checksum word. */
		start[TTL_WORD] -= bpf_htons(0x100);
		start[CHECKSUM_WORD] = ~fold_checksum((__u64)(__u16)~start[CHECKSUM_WORD] + (__u16)~bpf_htons(0x100));
	} else {
		start[HOP_LIMIT_WORD] -= bpf_htons(1);
	}

	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		__builtin_memcpy(start, route.dmac, ETH_ALEN);
		__builtin_memcpy(start + 3, route.smac, ETH_ALEN);
	}
	/* All that changes in the two headers, in one go. */
	if (bpf_skb_store_bytes(ctx, 0, start, sizeof(start), 0))
		return drop(ctx, packet, DROP_WRITE);
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh next = { .nh_family = route.family };

		if (route.family == AF_INET)
			next.ipv4_nh = route.ipv4_dst;
		else
			copy_address(next.ipv6_nh, route.ipv6_dst);
		return bpf_redirect_neigh(route.ifindex, &next, sizeof(next), 0);
	}
	/* Nothing is left to do for node_egress. */
	if (route.ifindex == ctx->ifindex)
		ctx->tc_index = TRANSLATED;
	return bpf_redirect(route.ifindex, 0);
}

/* Index in nat_sources of an address; 0 if it isn't there. */
NOINLINE __u32 find_source(const __u32 *address)
{
	for (__u32 i = 1; i < NAT_SOURCES; i++) {
		__u32 index = i;
		struct nat_source *source = bpf_map_lookup_elem(&nat_sources, &index);

		if (source && same_address(source->address, address))
			return i;
	}
	return 0;
}

/*
 * The address that a backend shall see, as an index in nat_sources; 0: the client's own. That serves
 * while the replies pass here in any case, which is so when the backend is on this node, or the client is.
 */
GLOBAL __u32 choose_source(struct __sk_buff *ctx, const struct packet *packet, const struct origin *origin)
{
	struct nat_table *table = the_table();
	struct bpf_fib_lookup route = {};
	__u32 source = 0, address[4];
	int knows_source;
	long result;

	if (!table || !packet || !origin || !is_front(ctx->ifindex))
		return 0;
	route.l4_protocol = packet->key.protocol;
	ask_route(&route, ctx, packet->key.source, origin->backend_address, packet->ipv4);
	result = bpf_fib_lookup(ctx, &route, sizeof(route), ROUTE_SOURCE);
	knows_source = result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH;
	if (result == -EINVAL)
		result = bpf_fib_lookup(ctx, &route, sizeof(route), 0);
	if (result == BPF_FIB_LKUP_RET_NOT_FWDED || !is_front(route.ifindex))
		return 0;
	if (knows_source) {
		if (packet->ipv4)
			map_ipv4(address, route.ipv4_src);
		else
			copy_address(address, route.ipv6_src);
		source = find_source(address);
	}
	if (source)
		return source;
	return packet->ipv4 ? table->source_ipv4 : table->source_ipv6;
}

/* Translates a packet of a flow towards the backend. */
GLOBAL int to_backend(struct __sk_buff *ctx, struct packet *packet, __u32 index)
{
	struct nat_flow *flow = flow_at(index);
	struct flow_key reply, key;
	__u32 life;

	if (!packet || !flow)
		return TC_ACT_SHOT;
	life = flow->life;
	if (!reply_key(&reply, flow, life, packet->key.protocol))
		return drop(ctx, packet, DROP_NO_FLOW);
	invert(&key, &reply);
	note_packet(flow, life, packet->tcp_flags, 0, ctx->len);
	if (rewrite(ctx, packet, &key))
		return drop(ctx, packet, DROP_WRITE);
	return forward(ctx, packet);
}

/* Translates a reply. */
NOINLINE int to_client(struct __sk_buff *ctx, struct packet *packet, struct nat_flow *flow)
{
	struct flow_key key, back;

	client_key(&key, flow, packet->key.protocol);
	invert(&back, &key);
	note_packet(flow, flow->life, packet->tcp_flags, 1, ctx->len);
	return rewrite(ctx, packet, &back);
}

/* What the lookup of a packet's key comes to. */
struct found {
	struct nat_flow *flow;
	__u32 index;
	__u32 generation;
	int is_reply;
};

/* Finds the packet's flow. What is found must be asked whether it still is the one. */
INLINE int find_flow(struct found *found, const struct flow_key *key)
{
	struct flow_reference *reference = bpf_map_lookup_elem(&nat_index, key);
	__u32 state;

	if (!reference)
		return 0;
	found->index = reference->flow / 2;
	found->is_reply = reference->flow & 1;
	found->generation = reference->generation;
	found->flow = flow_at(found->index);
	if (!found->flow)
		return 0;
	state = state_of(found->flow->life);
	return state != FLOW_FREE && state != FLOW_DYING;
}

/* Whether a connection begins with the packet: a SYN, or an INIT of SCTP. UDP knows no beginning. */
INLINE int is_first(const struct packet *packet)
{
	return packet->key.protocol != IPPROTO_UDP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

INLINE void count_connection(__u32 backend)
{
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &backend);

	if (stats)
		__sync_fetch_and_add(&stats->connections, 1);
}

/* Whether the frontend is for this client (loadBalancerSourceRanges). */
NOINLINE int may_enter(const struct packet *packet)
{
	struct source_range_key key = {
		.prefix_length = 8 * (sizeof(key) - sizeof(key.prefix_length)),
		.port = packet->key.destination_port,
		.protocol = (__u8)packet->key.protocol,
	};
	enum source_range *range;

	copy_address(key.frontend, packet->key.destination);
	copy_address(key.client, packet->key.source);
	range = bpf_map_lookup_elem(&source_ranges, &key);
	return !range || *range == RANGE_ALLOWED;
}

/*
 * A packet to a service that belongs to no flow. Returns what becomes of it; if that is `BEGUN`, a flow
 * was made, whose index is in `index`.
 */
#define BEGUN 256

/* What of a service is refused is counted for it, too. */
INLINE int refuse(struct __sk_buff *ctx, const struct packet *packet, __u32 service, enum drop_reason reason)
{
	count_refusal(service, reason);
	return reason == DROP_NO_FLOW || reason == DROP_NO_BACKEND ? reject(ctx, packet, reason)
								    : drop(ctx, packet, reason);
}

GLOBAL int begin_flow(struct __sk_buff *ctx, const struct packet *packet, __u32 role, __u32 *index)
{
	struct service_key key = {};
	struct origin origin = {};
	struct service *service;
	struct found found = {};
	struct flow_key flow;
	int chosen, outcome;
	__u32 id;

	if (!packet || !index)
		return TC_ACT_SHOT;
	copy_address(key.address, packet->key.destination);
	key.port = packet->key.destination_port;
	key.protocol = (__u8)packet->key.protocol;
	key.scope = SCOPE_EXTERNAL;
	service = bpf_map_lookup_elem(&services, &key);
	if (!service) {
		key.scope = SCOPE_INTERNAL;
		service = bpf_map_lookup_elem(&services, &key);
	}
	if (!service)
		return role & ADDRESS_NODE ? NEXT : drop(ctx, packet, DROP_UNKNOWN_PORT);
	id = service->id;
	if (!may_enter(packet))
		return refuse(ctx, packet, id, DROP_SOURCE_RANGE);
	if (packet->key.protocol != IPPROTO_UDP && !is_first(packet))
		return refuse(ctx, packet, id, DROP_NO_FLOW);
	if (!service->slot_count && service->flags & SERVICE_SILENT)
		return refuse(ctx, packet, id, DROP_NOT_LOCAL);
	chosen = choose_backend(&key, &origin, client_of_address(packet->key.source), hash_flow(&packet->key));
	if (!chosen)
		return refuse(ctx, packet, id, DROP_NO_BACKEND);
	outcome = make_flow(packet, &origin, choose_source(ctx, packet, &origin), chosen == 2);
	if (outcome > FLOW_EXISTS)
		return refuse(ctx, packet, id, outcome);
	flow = packet->key;
	if (!find_flow(&found, &flow))
		return drop(ctx, packet, DROP_NO_FLOW);
	if (!outcome)
		count_connection(origin.backend);
	*index = found.index;
	return BEGUN;
}

/*
 * Whether a packet from the client goes on with the flow that has its key. If not, the flow is ended:
 * because its backend is gone, or because a connection begins anew from the port of one that is over.
 */
INLINE int goes_on(const struct packet *packet, const struct found *found)
{
	__u32 life = found->flow->life, id = found->flow->backend_id;
	struct backend *backend = backend_by_id(id);
	enum flow_state state = state_of(life);

	if (backend && backend->generation == found->generation && backend->state != BACKEND_GONE) {
		if (!is_first(packet))
			return 1;
		/* Also the first try of a connection may have met a backend that drains by now. */
		if (!is_closed(state) && (state != FLOW_TCP_SYN || backend->state == BACKEND_ACTIVE))
			return 1;
	}
	end_flow(found->index, life);
	return 0;
}

/*
 * An ICMP error may be about a packet that was translated: then it is for who sent that, in words that
 * it knows. Returns 0 if the error is about something else, 1 if it was translated, or -1.
 */
GLOBAL int translate_error(struct __sk_buff *ctx, struct packet *packet)
{
	struct flow_key outer, to = {}, inverse = {};
	struct packet inner = {};
	struct found found = {};
	int kind;

	if (!packet)
		return 0;
	outer = packet->key;
	kind = read_packet(ctx, packet->transport + 8, &inner);
	if ((kind != PACKET_FLOW && kind != PACKET_CUT) || packet->fragment)
		return 0;
	invert(&inverse, &inner.key);
	if (!find_flow(&found, &inverse))
		return 0;
	if (found.is_reply) {
		/* About a packet that went to the backend. */
		client_key(&to, found.flow, inner.key.protocol);
		copy_address(outer.destination, found.flow->client);
		if (same_address(outer.source, found.flow->backend))
			copy_address(outer.source, found.flow->frontend);
	} else {
		if (!reply_key(&to, found.flow, found.flow->life, inner.key.protocol))
			return 0;
		copy_address(outer.destination, found.flow->backend);
		if (same_address(outer.source, found.flow->client))
			copy_address(outer.source, to.destination);
	}
	return rewrite_error(ctx, packet, &inner, &to, &outer) ? -1 : 1;
}

/* Whether the packet is of a VLAN, which has a device of its own above this one. */
INLINE int is_of_vlan(struct __sk_buff *ctx)
{
	return ctx->vlan_present;
}

SEC("tc") int node_ingress(struct __sk_buff *ctx)
{
	struct packet packet = {};
	struct found found = {};
	enum packet_kind kind;
	__u32 *role;
	int outcome;

	/* A frame for somebody else is here by promiscuity; multicast is no service's. */
	if (ctx->pkt_type != PACKET_HOST || is_of_vlan(ctx))
		return NEXT;
	kind = read_packet(ctx, ETH_HLEN, &packet);
	if (kind == PACKET_OTHER)
		return NEXT;
	role = bpf_map_lookup_elem(&addresses, packet.key.destination);
	if (!role || !(*role & (ADDRESS_SERVICE | ADDRESS_EXTERNAL | ADDRESS_NODE)))
		return NEXT;
	if (kind == PACKET_FRAGMENT && recall_ports(&packet))
		kind = PACKET_FLOW;
	if (kind == PACKET_FLOW) {
		int is_known = find_flow(&found, &packet.key);

		if (packet.fragment == FRAGMENT_FIRST)
			remember_ports(&packet);
		if (!is_known || (!found.is_reply && !goes_on(&packet, &found))) {
			if (packet.fragment == FRAGMENT_LATER)
				return *role & ADDRESS_NODE ? NEXT : drop(ctx, &packet, DROP_FRAGMENT);
			outcome = begin_flow(ctx, &packet, *role, &found.index);
			if (outcome != BEGUN)
				return outcome;
			found.is_reply = 0;
		}
		if (!found.is_reply)
			return to_backend(ctx, &packet, found.index);
		return to_client(ctx, &packet, found.flow) ? drop(ctx, &packet, DROP_WRITE) : forward(ctx, &packet);
	}
	if (kind == PACKET_ICMP_ERROR) {
		outcome = translate_error(ctx, &packet);
		if (outcome)
			return outcome < 0 ? drop(ctx, &packet, DROP_WRITE) : forward(ctx, &packet);
	}
	if (kind == PACKET_FRAGMENT) {
		outcome = wait_for_first(ctx);
		if (outcome)
			return outcome;
	}
	/* The rest is the node's own affair where the address is its own. */
	if (*role & ADDRESS_NODE)
		return NEXT;
	switch (kind) {
	case PACKET_ICMP_ECHO:
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

SEC("tc") int node_egress(struct __sk_buff *ctx)
{
	struct packet packet = {};
	struct found found = {};
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
	if (kind == PACKET_FLOW) {
		if (!find_flow(&found, &packet.key) || !found.is_reply)
			return NEXT;
		if (packet.fragment == FRAGMENT_FIRST)
			remember_ports(&packet);
		if (to_client(ctx, &packet, found.flow))
			return drop(ctx, &packet, DROP_WRITE);
	} else if (kind == PACKET_ICMP_ERROR && translate_error(ctx, &packet) < 0) {
		return drop(ctx, &packet, DROP_WRITE);
	}
	return NEXT;
}

/*
 * Starts the garbage collection, which from then on goes on by itself as long as the maps are there.
 * Run once by the control plane; again after a new version was loaded, so that that one's code runs.
 */
SEC("tc") int start_sweeping(struct __sk_buff *ctx)
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
