/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Most packets are like a recent one: nothing translates them, and network policies have decided
 * about their connection. Their route is in the flow cache. ctx/tc.h is included first.
 */
#pragma once

#include "ct/cache.h"
#include "policy/state.h"

#define TCP_OPENS_OR_CLOSES (TCP_SYN | TCP_FIN | TCP_RST)

/*
 * Returns 1 if the packet changes nothing of its conntrack entry: that has been updated within this
 * tick, both sides have confirmed the connection, and it is neither opened nor closed by the
 * packet. DNS answers are read, so they do not count.
 */
INLINE int keeps_entry(const struct packet *packet, const struct ct_entry *entry, __u32 state_word,
		       __u32 ticks)
{
	enum ct_state state = ct_state_of(state_word);

	if (state_word & CT_UNCONFIRMED || (state_word & CT_SEEN_MASK) != ticks)
		return 0;
	return packet->tuple.protocol == IPPROTO_TCP ?
		       state == CT_TCP_ESTABLISHED && !(packet->tcp_flags & TCP_OPENS_OR_CLOSES) :
		       state == CT_UDP && entry->backend_port != bpf_htons(DNS_PORT);
}

/*
 * Returns 1 if network policies allow the packet as one of a connection that nothing translates,
 * and it changes nothing of the connection's entry. `cached` is valid now.
 */
NOINLINE int is_of_allowed_connection(const struct packet *packet,
				      const struct flow_cache_entry *cached)
{
	/* The cache entry is of this moment, so this saves another call for the time. */
	__u32 ticks = cached->epoch >> (TICK_SHIFT - FLOW_CACHE_EPOCH_SHIFT) & CT_SEEN_MASK;
	__u32 reference = cached->reference;
	__u32 index = reference / 2, state_word;
	struct ct_window *window = bpf_map_lookup_elem(&nat_windows, &index);
	struct policy_state *state = get_policy_state();
	struct ct_entry *entry = ct_entry_at(index);

	if (!window || !state || !entry)
		return 0;
	state_word = entry->state_word;
	return ct_is_direct(entry, state_word) && keeps_entry(packet, entry, state_word, ticks) &&
	       window->policy_epoch == state->epoch && !window->denied &&
	       ct_has_tuple(reference, &packet->tuple);
}

/*
 * Finds the route of a packet like a recent one that nothing translates. Of a policed packet this
 * is one of an allowed connection, and so is the packet. Returns whether there is one.
 */
GLOBAL int recent_route_lookup(context *ctx, struct packet *packet, struct route *route)
{
	struct flow_cache_entry *cached;

	if (!packet || !route || packet->fragment || packet->ttl <= 1 || starts_connection(packet))
		return 0;
	cached = flow_cache_find(ctx, packet);
	/*
	 * The cache does not have the tuple of a packet without an entry. The key of the hash
	 * prevents that a pod finds tuples that share a cache entry.
	 */
	if (!cached || segment_length(ctx, packet) > cached->mtu ||
	    (packet->policed ? !is_of_allowed_connection(packet, cached) :
			       cached->reference != PLAIN_ROUTE))
		return 0;
	packet->judged = packet->policed;
	route->ifindex = cached->ifindex;
	__builtin_memcpy(route->dmac, cached->dmac, ETH_ALEN);
	__builtin_memcpy(route->smac, cached->smac, ETH_ALEN);
	route->result = BPF_FIB_LKUP_RET_SUCCESS;
	return 1;
}
