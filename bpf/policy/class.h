/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions find the class of an address and of a port: the set of rules that name it. */
#pragma once

#include "lib/address.h"
#include "lib/packet.h"
#include "maps.h"

/* Returns the class of an address, the index of its vector in `peer_vectors`. */
GLOBAL __u32 find_peer_class(const struct address_key *address)
{
	struct range_key key = { .prefix_length = 128 };
	__u32 *class;

	if (!address)
		return 0;
	copy_address(key.address, address->address);
	/* Before Linux 6.2 a map's key must be on the stack. */
	class = bpf_map_lookup_elem(&policy_peers, key.address);
	if (!class)
		class = bpf_map_lookup_elem(&policy_ranges, &key);
	return class ? *class : 0;
}

/*
 * Returns the number of the word in `policy_ports` that has the class of a port, which is in host
 * order. The class of the lowest port of a word has its lowest 16 bits.
 */
INLINE __u32 policy_port_word(enum policy_port_class protocol, __u32 port)
{
	return (protocol - POLICY_PORTS_TCP) * (65536 / 4) + port / 4;
}

/* Returns the class of a protocol and port, the index of its vector in `port_vectors`. */
GLOBAL enum policy_port_class find_port_class(__u32 protocol, __u32 port)
{
	enum policy_port_class class = protocol == IPPROTO_TCP	? POLICY_PORTS_TCP :
				       protocol == IPPROTO_UDP	? POLICY_PORTS_UDP :
				       protocol == IPPROTO_SCTP ? POLICY_PORTS_SCTP :
								  POLICY_PORTS_OTHER;
	__u32 number, named;
	__u64 *word;

	if (class == POLICY_PORTS_OTHER)
		return class;
	number = policy_port_word(class, port & 0xffff);
	word = bpf_map_lookup_elem(&policy_ports, &number);
	named = word ? *word >> port % 4 * 16 & 0xffff : 0;
	return named ? named : class;
}
