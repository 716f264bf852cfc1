/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: making, ageing and removing flows. */
#pragma once

#include "index.h"

/* How often an allocation tries again that another CPU has interfered with. */
#define ALLOCATION_ATTEMPTS 8

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

/* Ends a flow, if it still is as `life` says. Its place is free again after the next but one sweep. */
GLOBAL int end_flow(__u32 index, __u32 life)
{
	struct nat_flow *flow = flow_at(index);

	if (!flow || __sync_val_compare_and_swap(&flow->life, life, FLOW_DYING << LIFE_STATE_SHIFT) != life)
		return 0;
	on_change(flow, life, 0);
	forget_key(index * 2, life);
	if (!(life & LIFE_TUNNELLED))
		forget_key(index * 2 + 1, life);
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
	if ((state == FLOW_UDP || state == FLOW_UDP_UNANSWERED) && !has_frontend(flow))
		forget_key(index * 2, life);
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

INLINE __u32 hash_endpoint(const void *address, __be16 port)
{
	const __u32 *words = address;
	__u64 mixed = ((__u64)(words[0] ^ words[2]) << 32 | (words[1] ^ words[3])) + ((__u64)port << 32);

	return mixed * 0x9e3779b97f4a7c15ULL >> 32;
}

/* A port for a flow. */
struct port_trial {
	__u32 flow; /* index */
	__u32 generation;
	__u32 next;
	__u32 found;
};

/* After so many trials a port will do whose connection is over: the backend may yet remember that one. */
#define PORT_PATIENCE 64

/* Ends the flow that is named so, if it is over. Returns whether it did. */
INLINE int give_way(__u32 reference)
{
	struct nat_flow *flow = flow_at(reference / 2);
	__u32 life;

	if (!flow)
		return 0;
	life = flow->life;
	return is_over(life) && end_flow(reference / 2, life);
}

static long try_port(__u32 number, struct port_trial *trial)
{
	__u32 offset = trial->next++ % config.port_count * config.port_stride % config.port_count;
	struct nat_flow *flow = flow_at(trial->flow);
	__u32 other;

	if (!flow)
		return 1;
	flow->source_port = bpf_htons(config.first_port + offset);
	other = enter_key(trial->flow * 2 + 1, trial->generation);
	if (other && number >= PORT_PATIENCE && give_way(other))
		other = enter_key(trial->flow * 2 + 1, trial->generation);
	trial->found = !other;
	return trial->found;
}

/*
 * Gives a flow a port of the node's, and enters its reply's key; `backend` is a hash of the backend's address
 * and port, which services may share. Returns 0 if all ports are taken. The search goes on where the last one
 * ended, in an order that does not show (RFC 6056): so it meets the ports first that were taken longest ago,
 * whose flows are over if any are. Begun anywhere, it would take four trials when three quarters are taken, most
 * of them by connections that are over. Those don't keep a new one from its port when all are taken: if the backend
 * is in TIME-WAIT yet and does not take the SYN for a new one (RFC 6191), the client has to send it again.
 */
NOINLINE int reserve_port(__u32 flow, __u32 backend, __u32 generation)
{
	struct port_trial trial = { .flow = flow, .generation = generation };
	__u32 slot = backend % PORT_SEARCHES, tick = now_in_ticks();
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);
	struct nat_table *table = the_table();

	if (!search || !table)
		return 0;
	/* To search in vain takes a while: once in a tick is enough, or a flood would have it done for each SYN. */
	if (search->backend == backend && search->in_vain == tick)
		return 0;
	trial.next = search->next ? search->next : table->secret[0];
	bpf_loop(config.port_count + PORT_PATIENCE, try_port, &trial, 0);
	search->next = trial.next;
	if (!trial.found) {
		search->backend = backend;
		search->in_vain = tick;
	}
	return trial.found;
}

/* The backend that a new flow is for. */
struct choice {
	__u32 backend; /* id */
	__u32 generation;
	__u16 counted; /* in backend_stats.active */
	__u16 is_dsr;  /* to be tunnelled, if it is on another node */
	__u32 service; /* id; 0 until one is found */
};

/* Word and bit of an address with a port in reply_sources. */
INLINE __u32 reply_bit(const void *address, __be16 port)
{
	return hash_endpoint(address, port) >> 16;
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
	return has_bit(&reply_sources, reply_bit(address, port));
}

#define SOURCE_TUNNELLED (LIFE_TUNNELLED >> LIFE_SOURCE_SHIFT)
#define FLOW_EXISTS 1

/*
 * Makes a flow of a client's packet that is to be sent on as `to` says. The backend sees the address
 * with that index in nat_sources; 0: the client's, and its port if it can be. With SOURCE_TUNNELLED a tunnel
 * is from there, and the flow has no key for replies. Returns 0, with the flow's
 * index in `made`, or the reason for a drop; FLOW_EXISTS when another CPU has just made it.
 */
GLOBAL int make_flow(const struct packet *packet, const struct flow_key *to, const struct choice *choice, __u32 source,
		     __u32 *made)
{
	struct nat_table *table = the_table();
	struct nat_flow *flow;
	__u32 index, life;
	int outcome;

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

	/* A client that keeps its address keeps its port, too, unless it has two flows to that backend. */
	if (!(source & SOURCE_TUNNELLED) && (source || enter_key(index * 2 + 1, choice->generation)) &&
	    !reserve_port(index, hash_endpoint(to->destination, to->destination_port), choice->generation)) {
		end_flow(index, life);
		return DROP_NO_PORT;
	}
	outcome = enter_key(index * 2, choice->generation);
	if (outcome) {
		end_flow(index, life);
		return outcome == KEY_NO_ROOM ? DROP_TABLE_FULL : FLOW_EXISTS;
	}
	*made = index;
	return 0;
}
