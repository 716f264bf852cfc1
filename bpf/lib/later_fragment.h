/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions handle fragments other than the first of their packet. Those that arrive before
 * the first one are requeued several times, so that it can overtake them. After that, those to an
 * address of the node go to its stack, because their port may be the stack's.
 */
#pragma once

#include "drop.h"
#include "fragment.h"

/* Each object that knows pods defines it. */
extern const volatile struct pod_config pod_config;

/* Sets the ports of a later fragment. Returns 0 if the first one has not been seen. */
NOINLINE int fragment_load_ports(struct packet *packet)
{
	struct fragment_ports *ports;
	struct fragment_key key;

	fragment_key(&key, packet);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return 0;
	packet->tuple.source_port = ports->source_port;
	packet->tuple.destination_port = ports->destination_port;
	return 1;
}

/* The number of times that a fragment is requeued. */
#define FRAGMENT_WAITS 8

/*
 * Puts the packet at the end of the interface's queue. Returns 0 if it has been requeued often
 * enough, or if the interface has no queue.
 */
INLINE int requeue_fragment(context *ctx)
{
	/* The packets of a netkit device have no queue, so the first fragment has come. */
	if (pod_config.kind == POD_NETKIT)
		return 0;
	/* Queueing disciplines use the field tc_index; a packet that enters has not passed one. */
	if (ctx->tc_index >= FRAGMENT_WAITS)
		return 0;
	ctx->tc_index++;
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

/* Counts a later fragment that goes to the node's stack. */
NOINLINE long note_early_fragment(const struct packet *packet)
{
	struct fragment_key key;
	__u32 *count, one = 1;

	fragment_key(&key, packet);
	count = bpf_map_lookup_elem(&early_fragments, &key);
	if (!count)
		return bpf_map_update_elem(&early_fragments, &key, &one, BPF_ANY);
	__sync_fetch_and_add(count, 1);
	return 0;
}

/* Returns the count of a packet's early fragments, and deletes it. */
NOINLINE __u32 take_early_fragments(const struct packet *packet)
{
	struct fragment_key key;
	__u32 *noted, count = 0;

	fragment_key(&key, packet);
	noted = bpf_map_lookup_elem(&early_fragments, &key);
	if (noted) {
		count = *noted;
		bpf_map_delete_elem(&early_fragments, &key);
	}
	return count;
}

/* The most fragments of one packet that are counted: 64 KiB in packets of 1280 bytes are 52. */
#define MAX_FRAGMENTS 64

/*
 * Counts the early fragments of a packet as dropped, once its first fragment turns out to be a
 * service's.
 */
GLOBAL int drop_early_fragments(context *ctx, const struct packet *packet)
{
	__u32 count;

	if (!packet)
		return 0;
	count = take_early_fragments(packet);
	for (__u32 i = 0; i < MAX_FRAGMENTS && i < count; i++)
		drop(ctx, packet, DROP_FRAGMENT);
	return 0;
}
