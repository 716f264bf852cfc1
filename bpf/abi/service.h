/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These structs describe services, their backends and their addresses. */
#pragma once

#include <linux/types.h>

/*
 * The scope is the origin of a lookup. An entry that holds for all clients exists once, with the
 * internal scope; a packet that enters the node from outside the cluster is looked up with the
 * external scope first.
 */
enum service_scope {
	SCOPE_INTERNAL = 0, /* sockets on this node, and packets without an external entry */
	SCOPE_EXTERNAL = 1, /* packets that enter the node */
};

/*
 * Map `services`: a frontend and the slot range of its service. A NodePort has an entry for each
 * address of the node, and one for the unspecified address, which serves loopback and guards
 * bind(). A pod's hostPort has the same entries unless its hostIP is a single address; then it has
 * an entry for that address only.
 */
struct service_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol; /* IPPROTO_* */
	enum service_scope scope : 8;
};

enum service_algorithm {
	ALGORITHM_RANDOM = 0, /* A weighted backend fills several slots. */
	ALGORITHM_ROUND_ROBIN = 1,
	ALGORITHM_LEAST_CONNECTIONS = 2,
	ALGORITHM_HASH = 3, /* by a hash of the client; the slot range is a Maglev table */
};

enum service_flags {
	SERVICE_NO_FLAGS = 0,
	/*
	 * Without endpoints, packets are dropped instead of rejected: other nodes have endpoints
	 * (traffic policy).
	 */
	SERVICE_DROP_IF_EMPTY = 1,
	/*
	 * Packets reach backends on other nodes through a tunnel; the replies do not return through
	 * this node.
	 */
	SERVICE_DSR = 2,
	/*
	 * The frontend is a hostPort: bind() is guarded at each of its addresses, not at the
	 * unspecified one only.
	 */
	SERVICE_HOST_PORT = 4,
	/* The map source_ranges restricts the clients outside the cluster. */
	SERVICE_SOURCE_RANGES = 8,
	/* The map source_ranges restricts pods and processes of this node, too. */
	SERVICE_INTERNAL_SOURCE_RANGES = 16,
};

struct service {
	__u32 id;
	__u32 first_slot;
	__u32 slot_count; /* 0: no endpoints */
	__u32 affinity_seconds;
	enum service_algorithm algorithm;
	/*
	 * The position of round robin. The BPF programs advance it; an update of the entry resets
	 * it.
	 */
	__u32 cursor;
	enum service_flags flags;
};

/* Map `backends`: an array by backend id. Id 0 is never used. A backend belongs to one service. */
enum backend_state {
	BACKEND_GONE = 0,
	BACKEND_ACTIVE = 1,
	BACKEND_DRAINING = 2, /* It keeps its connections and gets no new ones. */
};

struct backend {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	enum backend_state state : 8;
	__u32 service;
	__u32 generation; /* counts the uses of this id, so that a stale reference is recognized */
	__u32 weight;
};

/* Map `backend_stats`: an array by backend id. The BPF programs count in it. */
struct backend_stats {
	__u64 connections; /* an unconnected UDP socket counts once for each peer */
	__u32 active;	   /* open connections; kept for least-connections services only */
	__u32 since;	   /* tick in which the backend got its id */
	__u64 packets;	   /* in both directions, counted where node interfaces translate */
	__u64 bytes;
};

/*
 * Map `address_filter`: bits, 64 in a word. address_filter_hit() in lb/frontend.h computes the bit
 * of an address.
 */
#define ADDRESS_FILTER_WORDS 4096

/* Map `addresses`: the roles of an address, whatever the port. */
enum address_role {
	ADDRESS_SERVICE = 1, /* a ClusterIP; ports without a service are rejected */
	ADDRESS_UDP_BACKEND = 2,
	ADDRESS_NODE = 4,     /* an address of this node: NodePorts, and an SNAT address */
	ADDRESS_EXTERNAL = 8, /* an address of a load balancer, or an externalIP */
	ADDRESS_PEER = 16,    /* an address of another node, whose IP-in-IP tunnels are accepted */
	ADDRESS_OTHER_NODE = 32, /* an address of another node, with the pod network */
};

struct address_key {
	__u8 address[16];
};

/* Map `affinity`: the last backend of a client. */
struct affinity_key {
	/*
	 * The cookie of the client's network namespace, one for each pod; a hash of the address of
	 * an external client.
	 */
	__u64 client;
	__u32 service;
	__u32 reserved;
};

struct affinity {
	__u32 backend;
	__u32 generation;
	__u64 last_used; /* ns of CLOCK_MONOTONIC */
};

/*
 * Map `source_ranges`: the clients of a frontend, by longest prefix. A frontend that is restricted
 * has an entry for all clients that denies, and an entry for each range that allows.
 */
enum source_range {
	RANGE_DENIED = 1,
	RANGE_ALLOWED = 2,
};

struct source_range_key {
	__u32 prefix_length; /* in bits, of all fields that follow; the client's part begins at 160 */
	__u8 frontend[16];
	__be16 port;
	__u8 protocol;
	__u8 reserved;
	__u8 client[16];
};

/*
 * Map `tunnel_backends`: the results of find_service_backend(). Forgotten entries are found again.
 */
struct tunnel_backend_key {
	__u8 address[16];
	__u32 service;
};
