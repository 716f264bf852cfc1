/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct that the kernel half and the control plane both know. Addresses are 16 bytes in
 * network byte order, IPv4 as ::ffff:a.b.c.d; __be16 fields are in network byte order too, all
 * other integers in the host's. Structs have no hidden padding: keys are compared byte by byte.
 *
 * A change of layout here is a change of CURRENT_ABI, and so of the folder that maps are pinned in.
 */
#pragma once

#include <linux/types.h>

/*
 * Values only ever grow at their end, so that an upgrade can carry what a map holds over to the new
 * layout; keys never change.
 */
enum heddle_abi {
	CURRENT_ABI = 1,
};

/* Where a service is looked up from. */
enum service_scope {
	SCOPE_INTERNAL = 0, /* a socket on this node */
	SCOPE_EXTERNAL = 1, /* a packet that enters the node */
};

/*
 * services: frontend -> the run of slots that serves it. A NodePort is kept once for each address
 * of the node, and once for the unspecified address, which stands for loopback and guards bind().
 */
struct service_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol; /* IPPROTO_* */
	enum service_scope scope : 8;
};

enum service_algorithm {
	ALGORITHM_RANDOM = 0, /* also weighted: a backend fills slots by its weight */
	ALGORITHM_ROUND_ROBIN = 1,
	ALGORITHM_LEAST_CONNECTIONS = 2,
	ALGORITHM_HASH = 3, /* of the client; the run is a maglev table */
};

struct service {
	__u32 id;
	__u32 first_slot;
	__u32 slot_count; /* 0: no endpoints, refuse */
	__u32 affinity_seconds;
	enum service_algorithm algorithm;
	/* Round robin's position; the kernel's to count, an update starts it anew. */
	__u32 cursor;
};

/* backends: an array by backend id; id 0 is never used. A backend belongs to one service. */
enum backend_state {
	BACKEND_GONE = 0,
	BACKEND_ACTIVE = 1,
	BACKEND_DRAINING = 2, /* keeps what it has, gets nothing new */
};

struct backend {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	enum backend_state state : 8;
	__u32 service;
	__u32 generation; /* counts the uses of this id, so that a stale reference is known as such */
	__u32 weight;
};

/* backend_stats: an array by backend id, counted by the kernel. */
struct backend_stats {
	__u64 connections; /* made since the backend got its id; for unconnected UDP: flows */
	__u32 active;	   /* open now; kept for least-connections services only */
	__u32 reserved;
};

/* addresses: what an address is known as, whatever the port. */
enum address_role {
	ADDRESS_SERVICE = 1, /* a ClusterIP: a port that no service has is refused */
	ADDRESS_UDP_BACKEND = 2,
};

struct address_key {
	__u8 address[16];
};

/* affinity: which backend a client had last. */
struct affinity_key {
	__u64 client; /* cookie of the client's network namespace: one for each pod */
	__u32 service;
	__u32 reserved;
};

struct affinity {
	__u32 backend;
	__u32 generation;
	__u64 last_used; /* ns of CLOCK_MONOTONIC */
};

/* What a socket's traffic with a backend was addressed to. */
struct origin {
	__u8 frontend[16];
	__u8 backend_address[16];
	__be16 frontend_port;
	__be16 backend_port;
	__u32 backend; /* id; 0: the socket itself chose the backend's address */
	__u32 generation;
	__u32 service;
};

/* connections: per socket, of a connected one. */
struct connection {
	struct origin origin;
	__u32 counted; /* in backend_stats.active */
	__u32 reserved;
};

/* flows: per socket, of an unconnected UDP one. */
#define FLOWS_PER_SOCKET 16

struct flow {
	struct origin origin;
	/* Number of the last datagram sent, over all flows of the socket; see recvmsg in socket.bpf.c. */
	__u32 sent;
	__u32 awaiting_reply;
};

struct flows {
	__u32 count;
	__u32 sent;
	__u32 next_evicted;
	__u32 reserved;
	struct flow flow[FLOWS_PER_SOCKET];
};

/* refusals: per-CPU counters by reason. The numbers are Hubble's drop reasons. */
enum refusal_reason {
	REFUSED_UNKNOWN_PORT = 151, /* a service address, but not a port of it */
	REFUSED_NO_BACKEND = 158,   /* no endpoints */
};

#define REFUSAL_REASONS 256

/* What stale.bpf.c reports: a socket that is connected to a backend that is gone. */
struct stale_socket {
	__u64 cookie;  /* of the socket, by which sock_diag knows it, too */
	__u32 netns;   /* inode number of its network namespace */
	__be16 port;   /* of the backend */
	__u16 protocol; /* IPPROTO_* */
};

/* Options of socket.bpf.c, set before it is loaded. */
struct socket_config {
	__u64 node_netns_cookie; /* the network namespace whose loopback and binds are the node's */
	enum heddle_abi abi;	 /* for whoever inspects the map */
	__u32 reserved;
};
