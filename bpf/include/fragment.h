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
	copy_address(key->source, packet->key.source);
	copy_address(key->destination, packet->key.destination);
	key->id = packet->fragment_id;
	key->protocol = packet->key.protocol;
}

/* Notes the ports of a first fragment for those that follow. */
NOINLINE int remember_ports(const struct packet *packet)
{
	struct fragment_ports ports = { packet->key.source_port, packet->key.destination_port };
	struct fragment_key key;

	fragment_key(&key, packet);
	return bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

/* Completes a later fragment. Returns 0 if the first one has not been seen. */
NOINLINE int recall_ports(struct packet *packet)
{
	struct fragment_ports *ports;
	struct fragment_key key;

	fragment_key(&key, packet);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return 0;
	packet->key.source_port = ports->source_port;
	packet->key.destination_port = ports->destination_port;
	return 1;
}
