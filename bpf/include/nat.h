/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: making, ageing and removing flows. */
#pragma once

#include "window.h"

/*
 * True when a packet shows that both sides of an unconfirmed flow want it; `tcp_flags` are those believed. UDP shows it
 * by a client that goes on after the answer, but no more than half of the table is for that, as a client's address
 * may be invented; SCTP by what only follows a cookie that the client has sent back (RFC 9260, 5.1).
 */
INLINE int confirms(__u32 life, __u32 tcp_flags, int is_reply)
{
	struct nat_table *table = the_table();
	enum flow_state before = state_of(life);

	if (before == FLOW_UDP)
		return !is_reply && table && (__s32)table->confirmed_udp < (__s32)(config.flows / 2);
	if (before == FLOW_SCTP)
		return life & LIFE_TUNNELLED ? !is_reply : is_reply && !tcp_flags;
	return before <= FLOW_TCP_RESET && tcp_flags & CONFIRMS;
}

/*
 * Notes that a packet of the flow came; `is_new`: the one that it begins with. Of two CPUs that do so at
 * once, one goes unheard.
 */
INLINE void note_packet(context *ctx, const struct packet *packet, const struct found *found, __u32 life)
{
	struct nat_flow *flow = found->flow;
	__u32 id = flow->backend_id, tcp_flags = packet->tcp_flags, state = state_of(life), after;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (packet->key.protocol == IPPROTO_TCP)
		tcp_flags = judge_segment(ctx, packet, found->index * 2 + found->is_reply, life);
	if (!(tcp_flags & NOT_BELIEVED))
		state = life & LIFE_TUNNELLED ? next_tunnelled_state(state, tcp_flags, !found->is_new) :
						next_state(state, tcp_flags, found->is_reply);
	after = (life & ~(LIFE_SEEN_MASK | LIFE_STATE_MASK)) | state << LIFE_STATE_SHIFT | now_in_ticks();

	if (stats) {
		__sync_fetch_and_add(&stats->packets, 1);
		__sync_fetch_and_add(&stats->bytes, length_of(ctx));
	}
	if (is_over(after))
		after &= ~LIFE_COUNTED;
	if (life & LIFE_UNCONFIRMED && confirms(life, tcp_flags, found->is_reply))
		after &= ~LIFE_UNCONFIRMED;
	if (after != life && __sync_val_compare_and_swap(&flow->life, life, after) == life &&
	    (after ^ life) & ~LIFE_SEEN_MASK)
		on_change(found->index, life, after);
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

/*
 * After so many trials a port will do that an unconfirmed flow has: as ports are taken in turn, it is the oldest of
 * those towards the backend.
 */
#define PORT_PATIENCE_UNCONFIRMED 4
/* After so many trials a port will do whose connection is over: the backend may yet remember that one. */
#define PORT_PATIENCE 64

/* Evicts the flow that is named so, if after so many trials its port will do. Returns whether it did. */
INLINE int give_way(__u32 reference, __u32 trials)
{
	struct nat_flow *flow = flow_at(reference / 2);
	__u32 life;

	if (!flow || trials < PORT_PATIENCE_UNCONFIRMED)
		return 0;
	life = flow->life;
	if (!is_alive(life) || !(life & LIFE_UNCONFIRMED || (trials >= PORT_PATIENCE && is_over(life))))
		return 0;
	return evict_flow(reference / 2, life, EVENT_EVICTED_PORT);
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
	if (other && give_way(other, number))
		other = enter_key(trial->flow * 2 + 1, trial->generation);
	trial->found = !other;
	return trial->found;
}

/*
 * True when a search has found no port towards a backend in this tick. It takes a while: once in a tick is enough, or a
 * flood would have it done for each SYN.
 */
GLOBAL int has_no_port(const struct flow_key *to)
{
	__u32 backend = to ? hash_endpoint(to->destination, to->destination_port) : 0, slot = backend % PORT_SEARCHES;
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);

	return search && search->backend == backend && search->in_vain == now_in_ticks();
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

/* Fills a flow's place: a flow of a client's packet that is to be sent on as `to` says. Its keys come first; see evict_flow. */
GLOBAL int fill_flow(__u32 index, const struct packet *packet, const struct flow_key *to, const struct choice *choice,
		     __u32 source)
{
	struct nat_flow *flow = flow_at(index);
	__u32 life;

	if (!flow || !packet || !to || !choice)
		return 0;
	life = source << LIFE_SOURCE_SHIFT | first_state(packet->key.protocol) << LIFE_STATE_SHIFT | LIFE_UNCONFIRMED |
	       mark_of(choice->generation) | (choice->counted ? LIFE_COUNTED : 0) | now_in_ticks();
	copy_address(flow->client, packet->key.source);
	copy_address(flow->frontend, packet->key.destination);
	flow->client_port = packet->key.source_port;
	flow->frontend_port = packet->key.destination_port;
	copy_address(flow->backend, to->destination);
	flow->backend_port = to->destination_port;
	flow->source_port = packet->key.source_port;
	flow->backend_id = choice->backend;
	if (choice->counted)
		count_flow(flow, life, 1);
	flow->life = life;
	allow_eviction(index);
	if (!source)
		expect_replies(to->destination, to->destination_port);
	return 0;
}

/*
 * Makes a flow of a client's packet that is to be sent on as `to` says. The backend sees the address
 * with that index in nat_sources; 0: the client's, and its port if it can be. With SOURCE_TUNNELLED a tunnel
 * is from there, and the flow has no key for replies. Returns 0, with the flow's
 * index in `made`, or the reason for a drop; FLOW_EXISTS when another CPU has just made it.
 */
GLOBAL int make_flow(const struct packet *packet, const struct flow_key *to, const struct choice *choice, __u32 source,
		     __u32 *made)
{
	struct nat_flow *flow;
	__u32 index;
	int outcome;

	if (!packet || !to || !choice || !made)
		return DROP_TABLE_FULL;
	if (source && !(source & SOURCE_TUNNELLED) && has_no_port(to))
		return DROP_NO_PORT;
	index = take_place();
	flow = flow_at(index);
	if (!index || !flow)
		return DROP_TABLE_FULL;
	fill_flow(index, packet, to, choice, source);

	/* A client that keeps its address keeps its port, too, unless it has two flows to that backend. */
	if (!(source & SOURCE_TUNNELLED) && (source || enter_key(index * 2 + 1, choice->generation)) &&
	    !reserve_port(index, hash_endpoint(to->destination, to->destination_port), choice->generation)) {
		end_flow(index, flow->life);
		return DROP_NO_PORT;
	}
	outcome = enter_client_key(index, choice->generation);
	if (outcome) {
		end_flow(index, flow->life);
		return outcome == KEY_NO_ROOM ? DROP_TABLE_FULL : FLOW_EXISTS;
	}
	*made = index;
	return 0;
}
