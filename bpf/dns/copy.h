/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copies the answers of name servers to pods, for those who observe names. */
#pragma once

#include "answer.h"
#include "ct/entry.h"

/* The answers that a CPU copies in a second. */
#define DNS_COPIES_PER_SECOND 500

struct dns_copier {
	struct dns_copy copy;
	__u32 second; /* of CLOCK_MONOTONIC */
	__u32 copies; /* in this second */
};

/* Programs do not interrupt each other on a CPU, so one value for each suffices. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct dns_copier);
} dns_copier SEC(".maps");

/* This is a function so that the object's BTF has the struct. */
NOINLINE long write_dns_copy(const struct dns_copy *copy)
{
	return bpf_ringbuf_output(&dns_answers, copy, sizeof(*copy), 0);
}

/* Returns 1 if the CPU may copy another answer in this second. */
INLINE int may_copy(struct dns_copier *copier)
{
	__u32 now = now_seconds();

	if (copier->second != now) {
		copier->second = now;
		copier->copies = 0;
	}
	return copier->copies++ < DNS_COPIES_PER_SECOND;
}

/*
 * Copies the message of a UDP packet whose DNS header is at offset `at`, if the entry that a
 * reference names is of a pod of this node.
 */
GLOBAL int dns_copy_answer(context *ctx, __u32 reference, __u32 at, __u32 end)
{
	struct ct_entry *entry = ct_entry_at(reference / 2);
	struct ct_table *table = get_ct_table();
	__u32 zero = 0, length;
	struct dns_copier *copier = bpf_map_lookup_elem(&dns_copier, &zero);

	if (!table || !(table->watched & WATCHED_DNS) || !entry || !copier ||
	    end < at + DNS_HEADER_BYTES || !find_local_pod(entry->client))
		return 0;
	length = end - at;
	copier->copy.length = length > 0xffff ? 0xffff : length;
	if (length > DNS_COPY_BYTES)
		length = DNS_COPY_BYTES;
	barrier_var(length);
	if (length < DNS_HEADER_BYTES || length > DNS_COPY_BYTES ||
	    load_bytes(ctx, at, copier->copy.message, length))
		return 0;
	copy_address(copier->copy.server, entry->backend);
	copy_address(copier->copy.client, entry->client);
	copier->copy.client_port = entry->client_port;
	if (!may_copy(copier) || write_dns_copy(&copier->copy))
		count_dns_event(DNS_UNCOPIED);
	return 0;
}

/* Copies a packet of the entry that a reference names, if it may be an answer. */
INLINE void dns_copy(context *ctx, const struct packet *packet, __u32 reference)
{
	if (reference & 1 && packet->tuple.protocol == IPPROTO_UDP && !packet->fragment &&
	    packet->tuple.source_port == bpf_htons(DNS_PORT))
		dns_copy_answer(ctx, reference, packet->transport + 8,
				packet->network + packet->length);
}
