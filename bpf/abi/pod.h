/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These structs describe the pods of this node. Both maps are arrays that the control plane
 * indexes itself, because a lookup in a hash costs more than the rest of a delivery. An entry lies
 * in one of POD_PROBES places, beginning with the one that its key names.
 */
#pragma once

#include <linux/types.h>

#define POD_PROBES 4

enum pod_kind {
	POD_VETH = 0,
	POD_NETKIT = 1, /* a netkit device, whose ends have link addresses of zeros */
};

/*
 * Map `pods`: the pods of this node by address, an entry for each address. The last 32 bits of the
 * address, in host order, name the place; addresses of a family have every second place, so that
 * two ranges with the same last bits do not collide. A place that never had an entry is all zero. A
 * removed entry keeps its address, so that the search goes on.
 */
struct pod {
	__u8 address[16];
	__u32 ifindex; /* the pod interface; 0: the entry was removed */
	__u8 mac[6];   /* of the pod's end */
	__u16 mtu;     /* of the pod's end */
	enum pod_kind kind;
	__u32 rates; /* index in `pod_rates`; 0: without limits */
	/* Indexes in `policy_subjects`; 0: no policy selects the pod in that direction. */
	__u32 egress_subject;
	__u32 ingress_subject;
	__u32 netns; /* the id of its network namespace in the node's, plus 1; 0: unknown */
	__u32 reserved[4];
};

/* Map `pod_devices`: the pod interfaces of this node, by ifindex. */
struct pod_device {
	__u32 ifindex; /* 0: the place is free */
	__u8 mac[6];   /* of the pod's end */
	__u16 mtu;     /* of the pod's end */
	__u8 ipv4[16]; /* the pod's addresses; all zero: it has none of the family */
	__u8 ipv6[16];
	enum pod_kind kind;
	__u32 rates;	  /* index in `pod_rates`; 0: without limits */
	__u32 has_policy; /* 1: the pod has a subject in either direction */
	__u32 reserved[2];
};

/* A limit of what passes. */
struct rate {
	__u64 bytes_per_second; /* 0: without limit */
	__u64 next; /* when all that has passed is sent at this rate, in ns (CLOCK_MONOTONIC) */
};

/* Map `pod_rates`: the limits of pods that have some, from index 1. */
struct pod_rates {
	struct rate egress; /* to others; without fq, all that the pod sends */
	struct rate ingress;
	struct rate local; /* to pods of this node, if is_paced: packets in fq do not delay these */
	__u32 is_paced; /* 1: fq at the external interfaces keeps packets until their departure */
	__u32 reserved[3];
};

/* The options of the pod network, set before the programs are loaded. */
struct pod_config {
	__u32 places;	     /* of `pods`, a power of 2 */
	__u32 device_places; /* of `pod_devices`, a power of 2 */
	__u16 enabled;	     /* 1: Heddle is the network of the pods */
	__be16 tunnel_port;  /* UDP port of the tunnels between nodes */
	__u8 gateway_mac[6]; /* of the node's end of each pod interface */
	__u16 kind; /* enum pod_kind, of the pod interfaces that the object's programs are at */
};
