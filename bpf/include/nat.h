/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: making, ageing and removing flows. */
#pragma once

#include "window.h"

/*
 * True when a packet shows that both sides of an unconfirmed flow want it; `tcp_flags` are those believed. UDP shows it
 * by a client that goes on after the answer, but no more than half of the table is for that, as a client's address
 * may be invented; SCTP by what only follows a cookie that the client has sent back (RFC 9260, 5.1).
 */
INLINE int packet_confirms(__u32 state_word, __u32 tcp_flags, int is_reply)
{
	struct ct_table *table = get_ct_table();
	enum ct_state before = ct_state_of(state_word);

	if (before == CT_UDP)
		return !is_reply && table && (__s32)table->confirmed_udp < (__s32)(config.flows / 2);
	if (before == CT_SCTP)
		return state_word & CT_TUNNELLED ? !is_reply : is_reply && !tcp_flags;
	return before <= CT_TCP_RESET && tcp_flags & TCP_CONFIRMS;
}

/*
 * Notes that a packet of the flow came; `is_new`: the one that it begins with. Of two CPUs that do so at
 * once, one goes unheard.
 */
INLINE void ct_update(context *ctx, const struct packet *packet, const struct ct_result *found, __u32 state_word)
{
	struct ct_entry *entry = found->entry;
	__u32 id = entry->backend_id, tcp_flags = packet->tcp_flags, state = ct_state_of(state_word), after;
	struct backend_stats *stats = bpf_map_lookup_elem(&backend_stats, &id);

	if (packet->tuple.protocol == IPPROTO_TCP)
		tcp_flags = tcp_track_segment(ctx, packet, found->index * 2 + found->is_reply, state_word);
	if (!(tcp_flags & TCP_INVALID))
		state = state_word & CT_TUNNELLED ? ct_next_state_tunnelled(state, tcp_flags, !found->is_new) :
						ct_next_state(state, tcp_flags, found->is_reply);
	after = (state_word & ~(CT_SEEN_MASK | CT_STATE_MASK)) | state << CT_STATE_SHIFT | now_ticks();

	if (stats) {
		__sync_fetch_and_add(&stats->packets, 1);
		__sync_fetch_and_add(&stats->bytes, frame_length(ctx));
	}
	if (ct_is_closed(after))
		after &= ~CT_COUNTED;
	if (state_word & CT_UNCONFIRMED && packet_confirms(state_word, tcp_flags, found->is_reply))
		after &= ~CT_UNCONFIRMED;
	if (after != state_word && __sync_val_compare_and_swap(&entry->state_word, state_word, after) == state_word &&
	    (after ^ state_word) & ~CT_SEEN_MASK)
		ct_on_transition(found->index, state_word, after);
}

/*
 * Whether the address and port that a UDP client asked still are a service's. It would go on asking there
 * for ever, where a TCP connection that began in time has an end.
 */
NOINLINE int ct_has_frontend(const struct ct_entry *entry)
{
	const __u32 *frontend = (const __u32 *)entry->frontend;
	struct service_key key = {
		.port = entry->frontend_port,
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
struct gc_slice {
	__u32 is_tight; /* more than half of the table is used */
};

/* One look at one flow by the garbage collection. */
static long gc_step(__u32 number, struct gc_slice *slice)
{
	struct ct_table *table = get_ct_table();
	struct ct_entry *entry;
	__u32 index, state_word, state;

	if (!table)
		return 1;
	index = table->gc_position + 1;
	if (index > table->high_water || index >= config.flows) {
		table->gc_position = 0;
		return 1;
	}
	table->gc_position = index;
	entry = ct_entry_at(index);
	if (!entry)
		return 1;
	state_word = entry->state_word;
	state = ct_state_of(state_word);
	if (state == CT_FREE)
		return 0;
	if (state == CT_DYING) {
		/* First a mark, at the next sweep free: by then no program looks at it. */
		if (!(state_word & CT_SEEN_MASK)) {
			entry->state_word = state_word | 1;
			return 0;
		}
		entry->state_word = 0;
		if (!ct_give_back(table, index, entry))
			entry->state_word = state_word;
		return 0;
	}
	/*
	 * Without its backend a flow has no future; who still uses it gets a reset, or another one. But a
	 * pod of this node may not know yet, and what it sends must not leave by its own address: as long as
	 * there is room, its flow stays for as long as it would have otherwise.
	 */
	if (!ct_has_backend(entry, state_word) && (slice->is_tight || !ct_is_local(state_word)))
		state = CT_TCP_RESET;
	/* What the client sends belongs to no flow from then on; what a pod still answers does, for a while. */
	if ((state == CT_UDP || state == CT_UDP_UNANSWERED) && !ct_has_frontend(entry))
		ct_remove_tuple(index * 2, state_word);
	if (((now_ticks() - state_word) & CT_SEEN_MASK) > ct_timeout(state_word, state))
		ct_end(index, state_word);
	return 0;
}

/* Flows that one slice of the garbage collection looks at, and how long it rests in between. */
#define GC_SLICE 2048
#define GC_INTERVAL_NS 50000000ULL

static int gc_timer_callback(void *map, __u32 *key, struct nat_timer *timer)
{
	struct ct_table *table = get_ct_table();
	struct gc_slice slice = { .is_tight = table && table->used * 2 > config.flows };

	bpf_loop(GC_SLICE, gc_step, &slice, 0);
	bpf_timer_start(&timer->timer, GC_INTERVAL_NS, 0);
	return 0;
}

INLINE __u32 lb_hash(const struct tuple *key)
{
	return client_hash(client_of_address(key->source) + ((__u64)key->source_port << 16) + key->destination_port);
}

INLINE __u32 endpoint_hash(const void *address, __be16 port)
{
	const __u32 *words = address;
	__u64 mixed = ((__u64)(words[0] ^ words[2]) << 32 | (words[1] ^ words[3])) + ((__u64)port << 32);

	return mixed * 0x9e3779b97f4a7c15ULL >> 32;
}

/* A port for a flow. */
struct port_probe {
	__u32 entry; /* index */
	__u32 generation;
	__u32 next;
	__u32 found;
};

/*
 * After so many trials a port will do that an unconfirmed flow has: as ports are taken in turn, it is the oldest of
 * those towards the backend.
 */
#define PORT_PROBES_UNCONFIRMED 4
/* After so many trials a port will do whose connection is over: the backend may yet remember that one. */
#define PORT_PROBES_CLOSED 64

/* Evicts the flow that is named so, if after so many trials its port will do. Returns whether it did. */
INLINE int evict_for_port(__u32 reference, __u32 trials)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	__u32 state_word;

	if (!entry || trials < PORT_PROBES_UNCONFIRMED)
		return 0;
	state_word = entry->state_word;
	if (!ct_is_live(state_word) || !(state_word & CT_UNCONFIRMED || (trials >= PORT_PROBES_CLOSED && ct_is_closed(state_word))))
		return 0;
	return ct_evict(reference / 2, state_word, CT_EVICTED_PORT);
}

static long probe_port(__u32 number, struct port_probe *trial)
{
	__u32 offset = trial->next++ % config.port_count * config.port_stride % config.port_count;
	struct ct_entry *entry = ct_entry_at(trial->entry);
	__u32 other;

	if (!entry)
		return 1;
	entry->source_port = bpf_htons(config.first_port + offset);
	other = ct_insert_tuple(trial->entry * 2 + 1, trial->generation);
	if (other && evict_for_port(other, number))
		other = ct_insert_tuple(trial->entry * 2 + 1, trial->generation);
	trial->found = !other;
	return trial->found;
}

/*
 * True when a search has found no port towards a backend in this tick. It takes a while: once in a tick is enough, or a
 * flood would have it done for each SYN.
 */
GLOBAL int snat_ports_exhausted(const struct tuple *to)
{
	__u32 backend = to ? endpoint_hash(to->destination, to->destination_port) : 0, slot = backend % PORT_SEARCHES;
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);

	return search && search->backend == backend && search->exhausted_at == now_ticks();
}

/*
 * Gives a flow a port of the node's, and enters its reply's key; `backend` is a hash of the backend's address
 * and port, which services may share. Returns 0 if all ports are taken. The search goes on where the last one
 * ended, in an order that does not show (RFC 6056): so it meets the ports first that were taken longest ago,
 * whose flows are over if any are. Begun anywhere, it would take four trials when three quarters are taken, most
 * of them by connections that are over. Those don't keep a new one from its port when all are taken: if the backend
 * is in TIME-WAIT yet and does not take the SYN for a new one (RFC 6191), the client has to send it again.
 */
NOINLINE int snat_reserve_port(__u32 entry, __u32 backend, __u32 generation)
{
	struct port_probe trial = { .entry = entry, .generation = generation };
	__u32 slot = backend % PORT_SEARCHES, tick = now_ticks();
	struct port_search *search = bpf_map_lookup_elem(&port_searches, &slot);
	struct ct_table *table = get_ct_table();

	if (!search || !table)
		return 0;
	if (search->backend == backend && search->exhausted_at == tick)
		return 0;
	trial.next = search->next ? search->next : table->secret[0];
	bpf_loop(config.port_count + PORT_PROBES_CLOSED, probe_port, &trial, 0);
	search->next = trial.next;
	if (!trial.found) {
		search->backend = backend;
		search->exhausted_at = tick;
	}
	return trial.found;
}

/* The backend that a new flow is for. */
struct lb_choice {
	__u32 backend; /* id */
	__u32 generation;
	__u16 counted; /* in backend_stats.active */
	__u16 is_dsr;  /* to be tunnelled, if it is on another node */
	__u32 service; /* id; 0 until one is found */
};

/* Word and bit of an address with a port in reply_sources. */
INLINE __u32 reply_filter_bit(const void *address, __be16 port)
{
	return endpoint_hash(address, port) >> 16;
}

/* Notes that replies will leave the node from there. */
INLINE void reply_filter_add(const void *address, __be16 port)
{
	__u32 bit = reply_filter_bit(address, port), word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(&reply_sources, &word);

	if (bits && !(*bits >> bit % 64 & 1))
		__sync_fetch_and_or(bits, 1ULL << bit % 64);
}

/*
 * Whether a packet from there may be a reply that leaves the node. Most packets that leave it are none:
 * a bit tells, of a few that stay in the processor's cache, where the index of flows does not.
 */
INLINE int reply_filter_hit(const void *address, __be16 port)
{
	return has_bit(&reply_sources, reply_filter_bit(address, port));
}

#define SNAT_TUNNELLED (CT_TUNNELLED >> CT_SNAT_SHIFT)
#define CT_EXISTS 1

/* Fills a flow's place: a flow of a client's packet that is to be sent on as `to` says. Its keys come first; see ct_evict. */
GLOBAL int ct_fill(__u32 index, const struct packet *packet, const struct tuple *to, const struct lb_choice *choice,
		     __u32 source)
{
	struct ct_entry *entry = ct_entry_at(index);
	__u32 state_word;

	if (!entry || !packet || !to || !choice)
		return 0;
	state_word = source << CT_SNAT_SHIFT | ct_initial_state(packet->tuple.protocol) << CT_STATE_SHIFT | CT_UNCONFIRMED |
	       ct_backend_gen(choice->generation) | (choice->counted ? CT_COUNTED : 0) | now_ticks();
	copy_address(entry->client, packet->tuple.source);
	copy_address(entry->frontend, packet->tuple.destination);
	entry->client_port = packet->tuple.source_port;
	entry->frontend_port = packet->tuple.destination_port;
	copy_address(entry->backend, to->destination);
	entry->backend_port = to->destination_port;
	entry->source_port = packet->tuple.source_port;
	entry->backend_id = choice->backend;
	if (choice->counted)
		ct_count_active(entry, state_word, 1);
	entry->state_word = state_word;
	ct_allow_eviction(index);
	if (!source)
		reply_filter_add(to->destination, to->destination_port);
	return 0;
}

/*
 * Makes a flow of a client's packet that is to be sent on as `to` says. The backend sees the address
 * with that index in nat_sources; 0: the client's, and its port if it can be. With SNAT_TUNNELLED a tunnel
 * is from there, and the flow has no key for replies. Returns 0, with the flow's
 * index in `made`, or the reason for a drop; CT_EXISTS when another CPU has just made it.
 */
GLOBAL int ct_create(const struct packet *packet, const struct tuple *to, const struct lb_choice *choice, __u32 source,
		     __u32 *made)
{
	struct ct_entry *entry;
	__u32 index;
	int outcome;

	if (!packet || !to || !choice || !made)
		return DROP_TABLE_FULL;
	if (source && !(source & SNAT_TUNNELLED) && snat_ports_exhausted(to))
		return DROP_NO_PORT;
	index = ct_alloc();
	entry = ct_entry_at(index);
	if (!index || !entry)
		return DROP_TABLE_FULL;
	ct_fill(index, packet, to, choice, source);

	/* A client that keeps its address keeps its port, too, unless it has two flows to that backend. */
	if (!(source & SNAT_TUNNELLED) && (source || ct_insert_tuple(index * 2 + 1, choice->generation)) &&
	    !snat_reserve_port(index, endpoint_hash(to->destination, to->destination_port), choice->generation)) {
		ct_end(index, entry->state_word);
		return DROP_NO_PORT;
	}
	outcome = ct_insert_original_tuple(index, choice->generation);
	if (outcome) {
		ct_end(index, entry->state_word);
		return outcome == CT_BUCKET_FULL ? DROP_TABLE_FULL : CT_EXISTS;
	}
	*made = index;
	return 0;
}
