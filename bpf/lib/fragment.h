/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Each fragment of an IP packet is translated on its own, by the ports of the first one. Two
 * clients whose packets get the node's address could choose the same identification at the same
 * time; then the receiver's checksum fails.
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

/* Stores the ports of a first fragment for the later ones. */
NOINLINE int fragment_store_ports(const struct packet *packet)
{
	struct fragment_ports ports = { packet->tuple.source_port, packet->tuple.destination_port };
	struct fragment_key key;

	fragment_key(&key, packet);
	return bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}
