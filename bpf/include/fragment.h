/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments of IP packets: each is translated for itself, by the ports that the first one has. (Two
 * clients whose packets get the node's address could choose the same identification at the same
 * time; then the checksum tells.)
 */
#pragma once

#include "maps.h"
#include "packet.h"

INLINE void fragment_key(struct fragment_key *key, const struct packet *packet)
{
	copy_address(key->source, packet->tuple.source);
	copy_address(key->destination, packet->tuple.destination);
	key->id = packet->fragment_id;
	key->protocol = packet->tuple.protocol;
}

/* Notes the ports of a first fragment for those that follow. */
NOINLINE int fragment_note_ports(const struct packet *packet)
{
	struct fragment_ports ports = { packet->tuple.source_port, packet->tuple.destination_port };
	struct fragment_key key;

	fragment_key(&key, packet);
	return bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

/* Completes a later fragment. Returns 0 if the first one has not been seen. */
NOINLINE int fragment_lookup_ports(struct packet *packet)
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

/* Notes that a later fragment went to the node's stack, as nobody could tell yet whose it is. */
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

/* Returns how many fragments of the packet were noted so, and forgets them. */
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
