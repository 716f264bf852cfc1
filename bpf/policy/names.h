/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules may name hosts as peers. The addresses of these are known from the answers of name servers
 * (dns/answer.h). Only rules of the tier Admin name hosts (network-policy-api, NPEP-133).
 */
#pragma once

#include "dns/inside.h"
#include "dns/state.h"
#include "lib/address.h"
#include "search.h"

/* The classes of the names that an address belongs to; 0: the place is unused. */
struct name_classes {
	__u32 classes[DNS_GRANTS];
};

/* The names of the peer that a program decides about. They would need too much of the stack. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct name_classes);
} peer_names SEC(".maps");

INLINE struct name_classes *get_peer_names(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&peer_names, &zero);
}

/*
 * Notes the classes of the names that a peer's address belongs to. Returns 1 if there are some. An
 * address that has expired counts for a connection that was open before only.
 */
GLOBAL int find_peer_names(const struct address_key *address, __u32 is_new)
{
	struct dns_state *state = get_dns_state();
	struct name_classes *names = get_peer_names();
	struct dns_grants *grants;
	struct address_key key;
	__u32 now, found = 0;

	if (!address || !names || !state || !state->names)
		return 0;
	key = *address;
	grants = bpf_map_lookup_elem(&policy_grants, &key);
	/* A pod, node or service may have got the address since the answer. */
	if (!grants || is_inside(&key))
		return 0;
	now = is_new ? now_seconds() : 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DNS_GRANTS; i++) {
		__u32 index = grants->grants[i].index, expires = grants->grants[i].expires;
		struct dns_name_class *name = bpf_map_lookup_elem(&name_classes, &index);

		names->classes[i] = 0;
		if (!expires || expires < now || !name ||
		    name->generation != grants->grants[i].generation)
			continue;
		names->classes[i] = name->class;
		found = 1;
	}
	return found;
}

/*
 * Returns the lower one of the rule `found`, plus 1, and the lowest rule of the words up to `end`
 * that a subject and a class of ports have in common with the names of the peer.
 */
INLINE __u32 find_named_rule(const struct policy_vector *subject, const struct policy_vector *port,
			     __u32 end, __u32 found)
{
	struct name_classes *names = get_peer_names();

	if (!names)
		return found;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DNS_GRANTS; i++) {
		__u32 class = names->classes[i], rule;
		struct policy_vector *peer = bpf_map_lookup_elem(&peer_vectors, &class);

		if (!class || !peer)
			continue;
		rule = policy_find(subject, peer, port, 0, end);
		if (rule && (!found || rule < found))
			found = rule;
	}
	return found;
}
