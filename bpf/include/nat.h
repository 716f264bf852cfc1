/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: finding, making, ageing and removing flows. */
#pragma once

#include "balance.h"
#include "maps.h"
#include "packet.h"

extern const volatile struct node_config config;

/* How often an allocation tries again that another CPU has interfered with. */
#define ALLOCATION_ATTEMPTS 8

INLINE struct nat_table *the_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nat_table, &zero);
}

INLINE struct nat_flow *flow_at(__u32 flow)
{
	return bpf_map_lookup_elem(&nat_flows, &flow);
}

/* The clock of the last timer interrupt will do. */
INLINE __u32 now_in_ticks(void)
{
	return (bpf_ktime_get_coarse_ns() >> TICK_SHIFT) & LIFE_SEEN_MASK;
}

INLINE enum flow_state state_of(__u32 life)
{
	return (life & LIFE_STATE_MASK) >> LIFE_STATE_SHIFT;
}

INLINE __u32 source_of(__u32 life)
{
	return life >> LIFE_SOURCE_SHIFT & 0x7f;
}

/* Whether the backend is on this node, and sees the client's own address: its replies leave by node_egress. */
INLINE int is_local(__u32 life)
{
	return !source_of(life);
}

INLINE int is_unanswered(enum flow_state state)
{
	return state == FLOW_TCP_SYN || state == FLOW_TCP_SYN_ACK || state == FLOW_UDP_UNANSWERED ||
	       state == FLOW_SCTP_UNANSWERED;
}

INLINE int is_closed(enum flow_state state)
{
	return state >= FLOW_TCP_CLOSED_BY_CLIENT && state <= FLOW_TCP_RESET;
}

INLINE __u32 protocol_of(enum flow_state state)
{
	return state <= FLOW_TCP_RESET ? IPPROTO_TCP : state <= FLOW_UDP ? IPPROTO_UDP : IPPROTO_SCTP;
}

/* Whether a connection is over. Of one that is tunnelled only the client's FIN is seen. */
INLINE int is_over(__u32 life)
{
	enum flow_state state = state_of(life);

	return is_closed(state) || (life & LIFE_TUNNELLED && state == FLOW_TCP_CLIENT_FIN);
}

/* How long a flow may be idle, in ticks, as if it were in that state. */
INLINE __u32 timeout_of(__u32 life, enum flow_state state)
{
	if (life & LIFE_TUNNELLED) {
		/* What the backend's node keeps does not depend on it, and many a client has one packet to send. */
		if (is_unanswered(state))
			return config.timeouts[state % FLOW_STATES] / 4;
		if (state == FLOW_TCP_CLIENT_FIN)
			state = FLOW_TCP_CLOSED_BY_BACKEND;
	}
	return config.timeouts[state % FLOW_STATES];
}

/* The state that a new flow begins with. */
INLINE enum flow_state first_state(__u32 protocol)
{
	return protocol == IPPROTO_TCP ? FLOW_TCP_SYN : protocol == IPPROTO_UDP ? FLOW_UDP_UNANSWERED : FLOW_SCTP_UNANSWERED;
}

/*
 * The state after a packet. As a packet's place in the stream isn't checked, a reset only shortens
 * the time that the flow may be idle (RFC 5961's concern): one that goes on is kept. A FIN of a client
 * that has not acknowledged the backend's answer says nothing: who invents addresses must not come by
 * the long timeout of a connection that is half closed, nor out of the share of unanswered flows.
 */
GLOBAL __u32 next_state(enum flow_state state, __u32 tcp_flags, __u32 is_reply)
{
	if (state == FLOW_UDP_UNANSWERED)
		return is_reply ? FLOW_UDP : state;
	if (state == FLOW_SCTP_UNANSWERED)
		return is_reply ? FLOW_SCTP : state;
	if (state > FLOW_TCP_RESET)
		return state;
	if (tcp_flags & TCP_RST)
		return FLOW_TCP_RESET;
	if (!is_reply && state == FLOW_TCP_SYN)
		return state;
	if (!is_reply && state == FLOW_TCP_SYN_ACK) {
		if ((tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_ACK)
			return state;
		return tcp_flags & TCP_FIN ? FLOW_TCP_CLIENT_FIN : FLOW_TCP_ESTABLISHED;
	}
	/* The client's last acknowledgement: the backend has forgotten it now. */
	if (!is_reply && state == FLOW_TCP_CLOSED_BY_CLIENT && !(tcp_flags & (TCP_FIN | TCP_SYN)))
		return FLOW_TCP_RESET;
	if (tcp_flags & TCP_FIN) {
		if (state == FLOW_TCP_CLIENT_FIN)
			return is_reply ? FLOW_TCP_CLOSED_BY_CLIENT : state;
		if (state == FLOW_TCP_BACKEND_FIN)
			return is_reply ? state : FLOW_TCP_CLOSED_BY_BACKEND;
		if (state <= FLOW_TCP_ESTABLISHED)
			return is_reply ? FLOW_TCP_BACKEND_FIN : FLOW_TCP_CLIENT_FIN;
		return state;
	}
	if (state == FLOW_TCP_SYN && tcp_flags & TCP_SYN)
		return FLOW_TCP_SYN_ACK;
	return state;
}

/*
 * The same for a flow that is tunnelled, whose backend isn't heard: a second packet of the client, other
 * than one that begins a connection anew, shows that it was answered.
 */
GLOBAL __u32 next_tunnelled_state(enum flow_state state, __u32 tcp_flags, __u32 is_second)
{
	if (state == FLOW_UDP_UNANSWERED && is_second)
		return FLOW_UDP;
	if (state == FLOW_SCTP_UNANSWERED && is_second && !(tcp_flags & TCP_SYN))
		return FLOW_SCTP;
	if (state == FLOW_TCP_SYN && !(tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) && tcp_flags & TCP_ACK)
		return FLOW_TCP_ESTABLISHED;
	return next_state(state, tcp_flags, 0);
}

/* Whether its place is a flow's: not free, nor about to be. */
INLINE int is_alive(__u32 life)
{
	return state_of(life) != FLOW_FREE && state_of(life) != FLOW_DYING;
}

/* A backend's generation, as far as a flow's `life` has room for it. */
INLINE __u32 mark_of(__u32 generation)
{
	return (generation % 7 + 1) << LIFE_BACKEND_SHIFT;
}

/* Whether the flow's backend is there, and its id not another's by now. */
INLINE int has_backend(const struct nat_flow *flow, __u32 life)
{
	__u32 id = flow->backend_id, mark = life & LIFE_BACKEND_MASK;
	struct backend *backend = backend_by_id(id);

	return backend && backend->state != BACKEND_GONE && (!mark || mark == mark_of(backend->generation));
}

INLINE void count_flow(const struct nat_flow *flow, __u32 life, __s32 change)
{
	__u32 id = flow->backend_id;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (stats && has_backend(flow, life))
		__sync_fetch_and_add(&stats->active, change);
}

/* Does what follows from a flow's change of state, which its `life` has just gone through. */
INLINE void on_change(const struct nat_flow *flow, __u32 before, __u32 after)
{
	struct nat_table *table = the_table();

	if (table && is_unanswered(state_of(before)) && !is_unanswered(state_of(after)))
		__sync_fetch_and_add(&table->unanswered, -1);
	if (before & LIFE_COUNTED && !(after & LIFE_COUNTED))
		count_flow(flow, before, -1);
}

/*
 * Notes that a packet of the flow came; `is_new`: the one that it begins with. Of two CPUs that do so at
 * once, one goes unheard.
 */
INLINE void note_packet(struct nat_flow *flow, __u32 life, __u8 tcp_flags, int is_reply, int is_new, __u32 bytes)
{
	__u32 id = flow->backend_id;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);
	__u32 state = life & LIFE_TUNNELLED ? next_tunnelled_state(state_of(life), tcp_flags, !is_new)
					    : next_state(state_of(life), tcp_flags, is_reply);
	__u32 after = (life & ~(LIFE_SEEN_MASK | LIFE_STATE_MASK)) | state << LIFE_STATE_SHIFT | now_in_ticks();

	if (stats) {
		__sync_fetch_and_add(&stats->packets, 1);
		__sync_fetch_and_add(&stats->bytes, bytes);
	}
	if (is_over(after))
		after &= ~LIFE_COUNTED;
	if (after != life && __sync_val_compare_and_swap(&flow->life, life, after) == life)
		on_change(flow, life, after);
}

/* The two keys of a flow. */
INLINE void client_key(struct flow_key *key, const struct nat_flow *flow, __u32 protocol)
{
	copy_address(key->source, flow->client);
	copy_address(key->destination, flow->frontend);
	key->source_port = flow->client_port;
	key->destination_port = flow->frontend_port;
	key->protocol = protocol;
}

/* The key of what the client gets. */
INLINE void answer_key(struct flow_key *key, const struct nat_flow *flow, __u32 protocol)
{
	copy_address(key->source, flow->frontend);
	copy_address(key->destination, flow->client);
	key->source_port = flow->frontend_port;
	key->destination_port = flow->client_port;
	key->protocol = protocol;
}

/* Returns 0 if the source's address is unknown, which can't be. */
INLINE int reply_key(struct flow_key *key, const struct nat_flow *flow, __u32 life, __u32 protocol)
{
	__u32 index = source_of(life);
	struct nat_source *source = bpf_map_lookup_elem(&nat_sources, &index);

	if (!source)
		return 0;
	copy_address(key->source, flow->backend);
	copy_address(key->destination, index ? source->address : flow->client);
	key->source_port = flow->backend_port;
	key->destination_port = flow->source_port;
	key->protocol = protocol;
	return 1;
}

/* Takes a key away if it still is the flow's. */
INLINE void forget_key(const struct flow_key *key, __u32 reference)
{
	struct flow_reference *held = bpf_map_lookup_elem(&nat_index, key);

	if (held && held->flow == reference)
		bpf_map_delete_elem(&nat_index, key);
}

/* Ends a flow, if it still is as `life` says. Its place is free again after the next but one sweep. */
GLOBAL int end_flow(__u32 index, __u32 life)
{
	__u32 protocol = protocol_of(state_of(life));
	struct nat_flow *flow = flow_at(index);
	struct flow_key key;

	if (!flow || __sync_val_compare_and_swap(&flow->life, life, FLOW_DYING << LIFE_STATE_SHIFT) != life)
		return 0;
	on_change(flow, life, 0);
	client_key(&key, flow, protocol);
	forget_key(&key, index * 2);
	if (reply_key(&key, flow, life, protocol))
		forget_key(&key, index * 2 + 1);
	return 1;
}

/* Takes a free place; 0: there is none. */
GLOBAL __u32 take_flow(void)
{
	struct nat_table *table = the_table();

	if (!table)
		return 0;
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;
		struct nat_flow *flow;

		if (!(__u32)head)
			break;
		flow = flow_at((__u32)head);
		if (!flow)
			break;
		/* If the flow is taken meanwhile, `backend_id` is no link; but then the count has changed. */
		if (__sync_val_compare_and_swap(&table->free, head, ((head >> 32) + 1) << 32 | flow->backend_id) == head) {
			__sync_fetch_and_add(&table->used, 1);
			return (__u32)head;
		}
	}
	if (table->used_once + 1 < config.flows) {
		__u32 flow = __sync_fetch_and_add(&table->used_once, 1) + 1;

		if (flow < config.flows) {
			__sync_fetch_and_add(&table->used, 1);
			return flow;
		}
		__sync_fetch_and_add(&table->used_once, -1);
	}
	return 0;
}

/* Makes a place free. Returns 0 when others interfered too often; then the next sweep does it. */
INLINE int give_flow(struct nat_table *table, __u32 index, struct nat_flow *flow)
{
	for (int i = 0; i < ALLOCATION_ATTEMPTS; i++) {
		__u64 head = table->free;

		flow->backend_id = (__u32)head;
		if (__sync_val_compare_and_swap(&table->free, head, ((head >> 32) + 1) << 32 | index) == head) {
			__sync_fetch_and_add(&table->used, -1);
			return 1;
		}
	}
	return 0;
}

/*
 * Whether the address and port that a UDP client asked still are a service's. It would go on asking there
 * for ever, where a TCP connection that began in time has an end.
 */
NOINLINE int has_frontend(const struct nat_flow *flow)
{
	const __u32 *frontend = (const __u32 *)flow->frontend;
	struct service_key key = {
		.port = flow->frontend_port,
		.protocol = IPPROTO_UDP,
		.scope = SCOPE_EXTERNAL,
	};
	__u32 *address = (__u32 *)key.address;

	copy_address(address, frontend);
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	key.scope = SCOPE_INTERNAL;
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	/* A NodePort that was asked at an address that the node doesn't have, or no more. */
	if (address[0] || address[1] || address[2] != bpf_htonl(0xffff))
		address[0] = address[1] = address[2] = 0;
	address[3] = 0;
	return bpf_map_lookup_elem(&services, &key) != 0;
}

/* A slice of the garbage collection. */
struct sweep {
	__u32 is_tight; /* more than half of the table is used */
};

/* One look at one flow by the garbage collection. */
static long sweep_flow(__u32 number, struct sweep *sweep)
{
	struct nat_table *table = the_table();
	struct nat_flow *flow;
	__u32 index, life, state;

	if (!table)
		return 1;
	index = table->swept + 1;
	if (index > table->used_once || index >= config.flows) {
		table->swept = 0;
		return 1;
	}
	table->swept = index;
	flow = flow_at(index);
	if (!flow)
		return 1;
	life = flow->life;
	state = state_of(life);
	if (state == FLOW_FREE)
		return 0;
	if (state == FLOW_DYING) {
		/* First a mark, at the next sweep free: by then no program looks at it. */
		if (!(life & LIFE_SEEN_MASK)) {
			flow->life = life | 1;
			return 0;
		}
		flow->life = 0;
		if (!give_flow(table, index, flow))
			flow->life = life;
		return 0;
	}
	/*
	 * Without its backend a flow has no future; who still uses it gets a reset, or another one. But a
	 * pod of this node may not know yet, and what it sends must not leave by its own address: as long as
	 * there is room, its flow stays for as long as it would have otherwise.
	 */
	if (!has_backend(flow, life) && (sweep->is_tight || !is_local(life)))
		state = FLOW_TCP_RESET;
	/* What the client sends belongs to no flow from then on; what a pod still answers does, for a while. */
	if ((state == FLOW_UDP || state == FLOW_UDP_UNANSWERED) && !has_frontend(flow)) {
		struct flow_key key;

		client_key(&key, flow, IPPROTO_UDP);
		forget_key(&key, index * 2);
	}
	if (((now_in_ticks() - life) & LIFE_SEEN_MASK) > timeout_of(life, state))
		end_flow(index, life);
	return 0;
}

/* Flows that one slice of the garbage collection looks at, and how long it rests in between. */
#define SWEEP_SLICE 2048
#define SWEEP_REST_NS 50000000ULL

static int on_sweep_timer(void *map, __u32 *key, struct nat_timer *timer)
{
	struct nat_table *table = the_table();
	struct sweep sweep = { .is_tight = table && table->used * 2 > config.flows };

	bpf_loop(SWEEP_SLICE, sweep_flow, &sweep, 0);
	bpf_timer_start(&timer->timer, SWEEP_REST_NS, 0);
	return 0;
}

INLINE __u32 hash_flow(const struct flow_key *key)
{
	return hash_client(client_of_address(key->source) + ((__u64)key->source_port << 16) + key->destination_port);
}

/* Search for a free port, walking a permutation of all. */
struct port_search {
	struct flow_key reply; /* with the port that is tried */
	struct flow_reference reference;
	__u32 at;
	__u32 stride; /* odd, so that it meets every number below `mask` once */
	__u32 mask;
	__u32 found;
};

static long try_port(__u32 number, struct port_search *search)
{
	__u32 offset = search->at & search->mask;

	search->at += search->stride;
	if (offset >= config.port_count)
		return 0;
	search->reply.destination_port = bpf_htons(config.first_port + offset);
	if (bpf_map_update_elem(&nat_index, &search->reply, &search->reference, BPF_NOEXIST))
		return 0;
	search->found = 1;
	return 1;
}

/*
 * Reserves the reply's key with a port of the node's. Returns it, or 0 if all are taken. The reply's
 * other fields are filled in.
 */
NOINLINE __be16 reserve_port(const struct flow_key *reply, const struct flow_reference *reference, __u32 hash)
{
	struct port_search search = { .reply = *reply, .reference = *reference };
	__u32 mask = config.port_count - 1;

	mask |= mask >> 1;
	mask |= mask >> 2;
	mask |= mask >> 4;
	mask |= mask >> 8;
	search.mask = mask;
	search.at = hash;
	search.stride = hash >> 16 | 1;
	bpf_loop(mask + 1, try_port, &search, 0);
	return search.found ? search.reply.destination_port : 0;
}

/* The backend that a new flow is for. */
struct choice {
	__u32 backend; /* id */
	__u32 generation;
	__u16 counted; /* in backend_stats.active */
	__u16 is_dsr;  /* to be tunnelled, if it is on another node */
	__u32 service; /* id; 0 until one is found */
};

/*
 * Makes a flow of a client's packet that is to be sent on as `to` says. The backend sees the address
 * with that index in nat_sources; 0: the client's, and its port if it can be. With SOURCE_TUNNELLED a tunnel
 * is from there, and the flow has no key for replies. Returns 0, with the flow's
 * index in `made`, or the reason for a drop; FLOW_EXISTS when another CPU has just made it.
 */
#define FLOW_EXISTS 1

/* Word and bit of an address with a port in reply_sources. */
INLINE __u32 reply_bit(const void *address, __be16 port)
{
	const __u32 *words = address;
	__u64 mixed = ((__u64)(words[0] ^ words[2]) << 32 | (words[1] ^ words[3])) + ((__u64)port << 32);

	return mixed * 0x9e3779b97f4a7c15ULL >> 48;
}

/* Notes that replies will leave the node from there. */
INLINE void expect_replies(const void *address, __be16 port)
{
	__u32 bit = reply_bit(address, port), word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(&reply_sources, &word);

	if (bits && !(*bits >> bit % 64 & 1))
		__sync_fetch_and_or(bits, 1ULL << bit % 64);
}

/*
 * Whether a packet from there may be a reply that leaves the node. Most packets that leave it are none:
 * a bit tells, of a few that stay in the processor's cache, where the index of flows does not.
 */
INLINE int may_reply(const void *address, __be16 port)
{
	__u32 bit = reply_bit(address, port), word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(&reply_sources, &word);

	return bits && *bits >> bit % 64 & 1;
}
#define SOURCE_TUNNELLED (LIFE_TUNNELLED >> LIFE_SOURCE_SHIFT)

GLOBAL int make_flow(const struct packet *packet, const struct flow_key *to, const struct choice *choice, __u32 source,
		     __u32 *made)
{
	struct flow_reference reference = {};
	struct nat_table *table = the_table();
	struct nat_flow *flow;
	struct flow_key key;
	__u32 index, life, slot;
	__u64 *exhausted, mark;

	if (!table || !packet || !to || !choice || !made)
		return DROP_TABLE_FULL;
	if (__sync_fetch_and_add(&table->unanswered, 1) >= config.unanswered_limit) {
		__sync_fetch_and_add(&table->unanswered, -1);
		return DROP_UNANSWERED_LIMIT;
	}
	index = take_flow();
	flow = flow_at(index);
	if (!index || !flow) {
		__sync_fetch_and_add(&table->unanswered, -1);
		return DROP_TABLE_FULL;
	}
	life = source << LIFE_SOURCE_SHIFT | first_state(packet->key.protocol) << LIFE_STATE_SHIFT |
	       mark_of(choice->generation) | (choice->counted ? LIFE_COUNTED : 0) | now_in_ticks();
	copy_address(flow->client, packet->key.source);
	copy_address(flow->frontend, packet->key.destination);
	copy_address(flow->backend, to->destination);
	flow->client_port = packet->key.source_port;
	flow->frontend_port = packet->key.destination_port;
	flow->backend_port = to->destination_port;
	flow->source_port = packet->key.source_port;
	flow->backend_id = choice->backend;
	if (choice->counted)
		count_flow(flow, life, 1);
	flow->life = life;
	if (!source)
		expect_replies(to->destination, to->destination_port);

	if (!reply_key(&key, flow, life, packet->key.protocol)) {
		end_flow(index, life);
		return DROP_TABLE_FULL;
	}
	reference.generation = choice->generation;
	reference.flow = index * 2 + 1;
	/* To search in vain takes a while: once in a tick is enough, or a flood would have it done for each SYN. */
	slot = choice->backend % EXHAUSTED_BACKENDS;
	exhausted = bpf_map_lookup_elem(&nat_exhausted, &slot);
	mark = (__u64)choice->backend << 32 | (life & LIFE_SEEN_MASK);
	/* A client that keeps its address keeps its port, too, unless it has two flows to that backend. */
	if (!(source & SOURCE_TUNNELLED) &&
	    (source || bpf_map_update_elem(&nat_index, &key, &reference, BPF_NOEXIST))) {
		__be16 port = 0;

		if (!exhausted || *exhausted != mark)
			port = reserve_port(&key, &reference, hash_flow(&packet->key));
		if (!port) {
			if (exhausted)
				*exhausted = mark;
			end_flow(index, life);
			return DROP_NO_PORT;
		}
		flow->source_port = port;
	}
	key = packet->key;
	reference.flow = index * 2;
	if (bpf_map_update_elem(&nat_index, &key, &reference, BPF_NOEXIST)) {
		end_flow(index, life);
		return bpf_map_lookup_elem(&nat_index, &key) ? FLOW_EXISTS : DROP_TABLE_FULL;
	}
	*made = index;
	return 0;
}
