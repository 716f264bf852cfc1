/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These structs describe the paths to the pods of other nodes. */
#pragma once

#include <linux/types.h>

/* A range of addresses, the key of maps by longest prefix. */
struct range_key {
	__u32 prefix_length; /* in bits; an IPv4 prefix of n bits has 96 + n */
	__u8 address[16];
};

/* The path to the pods of another node. */
enum node_path {
	NODE_DIRECT = 1,      /* by the routes of this node */
	NODE_TUNNEL_IPV4 = 2, /* through a tunnel to the node's IPv4 address */
	NODE_TUNNEL_IPV6 = 3,
};

/* Map `node_ranges`: other nodes by the ranges of their pods' addresses. */
struct remote_node {
	__u8 ipv6[16]; /* the node's address; all zero: it has none of the family */
	__be32 ipv4;
	enum node_path path;
};

/* Map `tunnel`: this node's end of all tunnels. */
struct tunnel_end {
	__u8 ipv6[16]; /* the outer source address; all zero: the kernel chooses */
	__be32 ipv4;
	__u32 ifindex;	/* of the tunnel device; 0: there are no tunnels */
	__u32 id;	/* number of the virtual network */
	__u16 mtu_ipv4; /* largest packet in a tunnel between IPv4 addresses */
	__u16 mtu_ipv6;
	__u8 snat_ipv4; /* index in nat_sources of the node's address in tunnels; 0: none */
	__u8 snat_ipv6;
	__u16 reserved;
};

/* Map `no_masquerade`: the choice for packets of pods to the outside, by ranges of destinations. */
enum masquerade {
	MASQUERADE_NEVER = 1, /* The destination sees the pod's address. */
	MASQUERADE_ALWAYS = 2,
};
