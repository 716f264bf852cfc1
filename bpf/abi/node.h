/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These structs describe the node's network interfaces, and the options of node.bpf.c and
 * xdp.bpf.c.
 */
#pragma once

#include "ct.h"

/* Map `node_devices`: the role of a network interface, by ifindex. */
enum interface_role {
	/*
	 * External traffic enters and leaves here; connections that leave again get an SNAT
	 * address.
	 */
	INTERFACE_EXTERNAL = 1,
	/*
	 * Packets of pods enter here. They reach what a socket of the node would, and keep their
	 * address.
	 */
	INTERFACE_POD = 2,
};

/* Map `xdp_devices`: the external interfaces that run the XDP program, by ifindex. */
struct xdp_device {
	__u8 address[6]; /* link address; XDP sees all frames, also those for other hosts */
	__u16 reserved;
};

/*
 * The words are the effect of 1, 2, 4, ... zero bytes on a CRC32c with a single bit set; see
 * lib/sctp.h.
 */
#define CRC32C_POWERS 16

struct crc32c_powers {
	__u32 bits[CRC32C_POWERS * 32];
};

/* The options of node.bpf.c and xdp.bpf.c, set before they are loaded. */
struct node_config {
	__u32 flows;		 /* size of nat_flows */
	__u32 unconfirmed_limit; /* beyond it a new entry evicts the oldest unconfirmed one */
	__u32 first_port;	 /* the range of SNAT ports */
	__u32 port_count;
	__u32 port_stride; /* step between ports that are tried in turn; prime to port_count */
	__u32 tunnel_age;  /* ticks after which a new backend may be tunnelled to */
	__u16 timeouts[CT_STATES]; /* by state, in ticks */
	__u64 cache_key[2];	   /* random: the key of the hash of the flow cache */
	__u32 visibility;	   /* 1: connections of pods without policies have entries, too */
};
