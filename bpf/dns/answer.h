/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the answers of name servers. An answer grants addresses to the name that was asked for, and
 * to no other: records of other owners count only if a chain of CNAMEs leads to them. ctx/tc.h or
 * ctx/xdp.h is included first.
 */
#pragma once

#include "ct/entry.h"
#include "inside.h"
#include "message.h"
#include "state.h"

#define DNS_PORT 53
/* A response without error to a standard query; the other bits do not matter. */
#define DNS_FLAGS_MASK 0xf80f
#define DNS_FLAGS_ANSWER 0x8000
#define DNS_CLASS_IN 1
#define DNS_TYPE_A 1
#define DNS_TYPE_CNAME 5
#define DNS_TYPE_AAAA 28
/* The bytes between the name of a record and its data: type, class, TTL and length. */
#define DNS_RECORD_BYTES 10
#define DNS_MAX_RECORDS 64

INLINE void count_dns_event(enum dns_event event)
{
	__u32 key = event;
	__u64 *count = bpf_map_lookup_elem(&dns_events, &key);

	if (count)
		(*count)++;
}

/* Returns how long an answer counts, in seconds. */
INLINE __u32 granted_seconds(const struct dns_state *state, __u32 seconds)
{
	if (seconds < state->min_seconds)
		return state->min_seconds;
	return seconds > state->max_seconds ? state->max_seconds : seconds;
}

/*
 * Writes a grant into its own place, or a free one, or that of the grant that expires first. A
 * place is one word, so that it changes atomically.
 */
INLINE void write_grant(struct dns_grants *grants, const struct dns_grant *grant, __u32 now)
{
	__u32 place = 0, first = ~0;
	union {
		struct dns_grant grant;
		__u64 word;
	} written;

	for (__u32 i = 0; i < DNS_GRANTS; i++) {
		const struct dns_grant *each = &grants->grants[i];
		__u32 rank = each->expires;

		if (each->expires && each->index == grant->index &&
		    each->generation == grant->generation) {
			if (each->expires >= grant->expires)
				return;
			place = i;
			first = 0;
			break;
		}
		if (each->expires < now)
			rank = 0;
		if (rank < first) {
			first = rank;
			place = i;
		}
	}
	if (first)
		count_dns_event(DNS_REPLACED);
	written.grant = *grant;
	*(volatile __u64 *)&grants->grants[place & (DNS_GRANTS - 1)] = written.word;
}

/* Remembers that an address belongs to a name of a rule. */
GLOBAL int grant_address(const struct address_key *address)
{
	struct dns_scratch *scratch = get_dns_scratch();
	struct dns_state *state = get_dns_state();
	__u32 now = now_seconds();
	struct dns_grants *grants;
	struct dns_grant grant = {};
	struct address_key key;

	if (!scratch || !state || !address)
		return 0;
	key = *address;
	grant.index = scratch->rule.index;
	grant.generation = scratch->rule.generation;
	grant.expires = now + granted_seconds(state, scratch->seconds);
	grants = bpf_map_lookup_elem(&policy_grants, &key);
	if (grants) {
		write_grant(grants, &grant, now);
	} else {
		scratch->first.grants[0] = grant;
		if (bpf_map_update_elem(&policy_grants, &key, &scratch->first, BPF_NOEXIST)) {
			/* Another CPU has just entered the address. */
			grants = bpf_map_lookup_elem(&policy_grants, &key);
			if (grants)
				write_grant(grants, &grant, now);
		}
	}
	count_dns_event(DNS_GRANTED);
	return 0;
}

/* Grants the address in the data of a record. */
INLINE void grant_record(const struct dns_scratch *scratch, __u32 at, int is_ipv4)
{
	struct address_key address = {};

	if (is_ipv4) {
		map_ipv4(address.address, bpf_htonl(dns_u32(scratch, at)));
	} else {
		for (__u32 i = 0; i < 16; i++)
			address.address[i] = dns_byte(scratch, at + i);
		/* It would be confused with IPv4. */
		if (is_mapped(address.address))
			return;
	}
	if (!is_inside(&address))
		grant_address(&address);
}

/* Reads the next record of the answer. Returns 1 at the end. */
static long dns_record_step(__u32 number, void *unused)
{
	struct dns_scratch *scratch = get_dns_scratch();
	__u32 at, type, length, data, seconds;
	__u64 owner;

	if (!scratch)
		return 1;
	/* A name that no rule can have is skipped below only if it is none of the chain. */
	at = dns_read_name(scratch->next);
	if (!at || at + DNS_RECORD_BYTES > scratch->length)
		return 1;
	owner = scratch->name.hash;
	type = dns_u16(scratch, at);
	seconds = dns_u32(scratch, at + 4);
	length = dns_u16(scratch, at + 8);
	data = at + DNS_RECORD_BYTES;
	if (data + length > scratch->length)
		return 1;
	scratch->next = data + length;
	if (owner == scratch->current && dns_u16(scratch, at + 2) == DNS_CLASS_IN) {
		/* A TTL with the highest bit counts as 0 (RFC 2181, 8). */
		if (seconds >> 31)
			seconds = 0;
		if (type == DNS_TYPE_CNAME) {
			if (seconds < scratch->seconds)
				scratch->seconds = seconds;
			if (dns_read_name(data) != scratch->next)
				return 1;
			scratch->current = scratch->name.hash;
		} else if ((type == DNS_TYPE_A && length == 4) ||
			   (type == DNS_TYPE_AAAA && length == 16)) {
			__u32 chain = scratch->seconds;

			if (seconds < chain)
				scratch->seconds = seconds;
			grant_record(scratch, data, type == DNS_TYPE_A);
			scratch->seconds = chain;
		}
	}
	scratch->is_valid++;
	return 0;
}

/*
 * Reads the message of a UDP packet whose DNS header is at offset `at`, and grants the addresses of
 * the name that it is about, if a rule has that name.
 */
GLOBAL int dns_read_answer(context *ctx, __u32 at, __u32 end)
{
	struct dns_scratch *scratch = get_dns_scratch();
	struct dns_name *name;
	__u32 length, records;

	if (!scratch || end < at + DNS_HEADER_BYTES)
		return 0;
	length = end - at;
	if (length > DNS_MESSAGE_BYTES - 1)
		length = DNS_MESSAGE_BYTES - 1;
	barrier_var(length);
	if (length < DNS_HEADER_BYTES || length > DNS_MESSAGE_BYTES - 1 ||
	    load_bytes(ctx, at, scratch->message, length))
		return 0;
	scratch->length = length;
	records = dns_u16(scratch, 6);
	if ((dns_u16(scratch, 2) & DNS_FLAGS_MASK) != DNS_FLAGS_ANSWER ||
	    dns_u16(scratch, 4) != 1 || !records)
		return 0;
	at = dns_read_name(DNS_HEADER_BYTES);
	if (!at || at + 4 > length || dns_u16(scratch, at + 2) != DNS_CLASS_IN)
		return 0;
	name = find_rule_name();
	if (!name)
		return 0;
	scratch->rule = *name;
	scratch->current = scratch->name.hash;
	scratch->next = at + 4;
	scratch->seconds = ~0U;
	scratch->is_valid = 0;
	if (records > DNS_MAX_RECORDS)
		records = DNS_MAX_RECORDS;
	bpf_loop(records, dns_record_step, 0, 0);
	if (scratch->is_valid < records)
		count_dns_event(DNS_MALFORMED);
	return 0;
}

/* Returns 1 if the answers of a name server count. */
NOINLINE int is_resolver(const void *address)
{
	struct address_key key;

	copy_address(key.address, address);
	return bpf_map_lookup_elem(&dns_resolvers, &key) != 0;
}

/*
 * Reads a reply of a connection to a name server, if it is one to a pod of this node whose policies
 * may name hosts. `server` is the server's own address.
 */
INLINE void dns_learn(context *ctx, const struct packet *packet, const void *client,
		      const void *server)
{
	struct dns_state *state = get_dns_state();
	struct pod *pod;

	if (!state || !state->names || packet->fragment)
		return;
	pod = find_local_pod(client);
	if (!pod || !pod->egress_subject || !is_resolver(server))
		return;
	dns_read_answer(ctx, packet->transport + 8, packet->network + packet->length);
}
